// Which splats each tile has, nearest first: a radix sort by depth, then a counting sort into tiles.
#pragma once
#include "splats.h"

namespace unscene {

typedef unsigned long long Key;  // depth's bits above, the Gaussian's number below: equal depths in a fixed order

struct SplatListArguments {
    const Box* boxes;
    const float* depths;
    const int* counts;
    Key *keys, *spare;  // N each
    Box* sorted_boxes;  // of those that are seen, nearest first
    int *order, *seen;  // their numbers; how many, one number
    int* tile_counts;   // tiles
    const int* starts;  // tiles + 1
    int *cursors, *lists;  // tiles; all tiles' lists
    int count, columns, rows, stripes;
};

constexpr int DIGIT = 11, DIGITS = 1 << DIGIT;

// All that are seen, by depth: three passes of eleven bits, as no depth is negative.
inline void sort_splats(const SplatListArguments& a, int) {
    static_assert(3 * DIGIT >= 32, "");
    unsigned places[3][DIGITS] = {};
    long seen = 0;
    for (int i = 0; i < a.count; ++i) {
        if (!a.counts[i]) continue;
        unsigned bits;
        __builtin_memcpy(&bits, a.depths + i, sizeof bits);
        a.keys[seen++] = (Key)bits << 32 | (unsigned)i;
        for (int pass = 0; pass < 3; ++pass) ++places[pass][bits >> pass * DIGIT & (DIGITS - 1)];
    }
    Key *from = a.keys, *to = a.spare;
    for (int pass = 0; pass < 3; ++pass) {
        unsigned before = 0;
        for (int d = 0; d < DIGITS; ++d) {
            const unsigned here = places[pass][d];
            places[pass][d] = before;
            before += here;
        }
        for (long k = 0; k < seen; ++k) to[places[pass][from[k] >> (32 + pass * DIGIT) & (DIGITS - 1)]++] = from[k];
        Key* other = from;
        from = to;
        to = other;
    }
    for (long k = 0; k < seen; ++k) {
        a.order[k] = (int)(from[k] & 0xffffffffu);
        a.sorted_boxes[k] = a.boxes[a.order[k]];
    }
    *a.seen = (int)seen;
}

struct Stripe {
    int top, bottom;
};

UNSCENE_INLINE Stripe stripe_of(const SplatListArguments& a, int stripe) {
    return {(int)((long)a.rows * stripe / a.stripes), (int)((long)a.rows * (stripe + 1) / a.stripes)};
}

// One stripe of rows of tiles: how many splats each tile has.
inline void count_splats(const SplatListArguments& a, int stripe) {
    const Stripe s = stripe_of(a, stripe);
    for (int k = 0; k < *a.seen; ++k) {
        const Box box = a.sorted_boxes[k];
        const int top = box.top > s.top ? box.top : s.top, bottom = box.bottom < s.bottom ? box.bottom : s.bottom;
        for (int y = top; y < bottom; ++y)
            for (int x = box.left; x < box.right; ++x) ++a.tile_counts[y * a.columns + x];
    }
}

// The same stripe: which they are.
inline void list_splats(const SplatListArguments& a, int stripe) {
    const Stripe s = stripe_of(a, stripe);
    for (int y = s.top; y < s.bottom; ++y)
        for (int x = 0; x < a.columns; ++x) a.cursors[y * a.columns + x] = a.starts[y * a.columns + x];
    for (int k = 0; k < *a.seen; ++k) {
        const Box box = a.sorted_boxes[k];
        const int top = box.top > s.top ? box.top : s.top, bottom = box.bottom < s.bottom ? box.bottom : s.bottom;
        for (int y = top; y < bottom; ++y)
            for (int x = box.left; x < box.right; ++x) a.lists[a.cursors[y * a.columns + x]++] = a.order[k];
    }
}

}  // namespace unscene
