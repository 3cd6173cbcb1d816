// Which splats each tile has, nearest first: a radix sort by depth, then a counting sort into tiles.
#pragma once
#include "splats.h"

namespace unscene {

typedef unsigned long long Key;  // depth's bits above, the Gaussian's number below: equal depths in a fixed order

struct SplatListArguments {
    const Box* boxes;
    const float* depths;
    Key *keys, *spare;            // N + 1 a stripe
    int *steps, *starts, *lists;  // (rows + stripes) (columns + 1); tiles + 1; all tiles' lists
    int count, columns, rows, stripes;
};

constexpr int DIGIT = 11, DIGITS = 1 << DIGIT, PASSES = 3;

// Some rows of tiles, and what of a box lies in them.
struct Stripe {
    int top, bottom;

    UNSCENE_INLINE Stripe of(const SplatListArguments& a, int stripe) {
        return {(int)((long)a.rows * stripe / a.stripes), (int)((long)a.rows * (stripe + 1) / a.stripes)};
    }

    short held(short y) const { return (short)(y < top ? top : y > bottom ? bottom : y); }

    Box clipped(Box box) const { return {box.left, held(box.top), box.right, held(box.bottom)}; }
};

// Sorted by depth: passes of eleven bits, as no depth is negative. Returns where the sorted ones are.
inline const Key* sorted(Key* keys, Key* spare, long count, unsigned (*places)[DIGITS]) {
    static_assert(PASSES * DIGIT >= 32, "");
    for (int pass = 0; pass < PASSES; ++pass) {
        unsigned before = 0;
        for (int d = 0; d < DIGITS; ++d) {
            const unsigned here = places[pass][d];
            places[pass][d] = before;
            before += here;
        }
        for (long k = 0; k < count; ++k)
            spare[places[pass][keys[k] >> (32 + pass * DIGIT) & (DIGITS - 1)]++] = keys[k];
        Key* other = keys;
        keys = spare;
        spare = other;
    }
    return keys;
}

// One stripe of rows of tiles: what lies in it, sorted, and dealt out to its tiles. No stripe waits for another: each
// counts what the ones above it have, and so knows where its own lists start. Until it deals it branches on no single
// Gaussian: neighbours in memory lie anywhere in the picture, and a branch guessed wrong costs more than the rest.
inline void list_splats(const SplatListArguments& a, int number) {
    const Stripe stripe = Stripe::of(a, number);
    const int width = a.columns + 1, rows = stripe.bottom - stripe.top;
    int* steps = a.steps + (stripe.top + number) * width;  // of the numbers of Gaussians, from tile to tile
    for (int k = 0; k < (rows + 1) * width; ++k) steps[k] = 0;
    Key *keys = a.keys + (long)number * (a.count + 1), *spare = a.spare + (long)number * (a.count + 1);
    long start = 0, seen = 0;
    for (int i = 0; i < a.count; ++i) {
        const Box box = a.boxes[i];
        const int top = box.top < stripe.top ? box.top : stripe.top;
        const int bottom = box.bottom < stripe.top ? box.bottom : stripe.top;
        start += (bottom - top) * (box.right - box.left);
        unsigned bits;
        __builtin_memcpy(&bits, a.depths + i, sizeof bits);
        keys[seen] = (Key)bits << 32 | (unsigned)i;  // there is room for one too many
        seen += (box.top < stripe.bottom) & (box.bottom > stripe.top) & (box.left < box.right);
    }
    unsigned places[PASSES][DIGITS] = {};
    for (long k = 0; k < seen; ++k) {
        const unsigned bits = (unsigned)(keys[k] >> 32);
        for (int pass = 0; pass < PASSES; ++pass) ++places[pass][bits >> pass * DIGIT & (DIGITS - 1)];
        const Box box = stripe.clipped(a.boxes[(unsigned)keys[k]]);
        int *top = steps + (box.top - stripe.top) * width, *bottom = steps + (box.bottom - stripe.top) * width;
        ++top[box.left], --top[box.right], --bottom[box.left], ++bottom[box.right];
    }
    for (int y = 0; y < rows; ++y)
        for (int x = 0, along = 0; x < width; ++x) {
            along += steps[y * width + x];
            steps[y * width + x] = along + (y ? steps[(y - 1) * width + x] : 0);
        }
    int* starts = a.starts + stripe.top * a.columns;
    for (int y = 0; y < rows; ++y)
        for (int x = 0; x < a.columns; ++x) {
            const int here = steps[y * width + x];
            starts[y * a.columns + x] = steps[y * width + x] = (int)start;
            start += here;
        }
    if (stripe.bottom == a.rows) starts[rows * a.columns] = (int)start;
    const Key* nearest_first = sorted(keys, spare, seen, places);
    for (long k = 0; k < seen; ++k) {
        const int i = (int)(nearest_first[k] & 0xffffffffu);
        const Box box = stripe.clipped(a.boxes[i]);
        for (int y = box.top - stripe.top; y < box.bottom - stripe.top; ++y)
            for (int x = box.left; x < box.right; ++x) a.lists[steps[y * width + x]++] = i;
    }
}

}  // namespace unscene
