// The multiresolution hash encoding on sixteen points at a time. Neighbours along x lie side by side in the table
// (dense levels, and hashed ones by "add"), so that one load brings both.
#pragma once
#include "lanes.h"

namespace unscene {

struct Level {
    int resolution, offset, hashed, mask;
};

// Rows of the four corners with the smaller x, and how much of each edge along x a point takes.
struct Cells {
    Unsigneds rows[4];
    Floats shares[4];
    Floats along_x;
};

// The cell of positions along one axis, never negative ones. What is not a number gets the last cell.
UNSCENE_INLINE Unsigneds cells_along(Floats position, int resolution) {
    const Floats last = (float)(resolution - 1), bounded = position < last ? position : last;
    return (Unsigneds)__builtin_convertvector(bounded, Ints);
}

UNSCENE_INLINE Floats as_floats(Unsigneds x) { return __builtin_convertvector((Ints)x, Floats); }

UNSCENE_INLINE Cells cells_of(Points points, Level level) {
    const float resolution = (float)level.resolution;
    const Floats qx = points.x * resolution, qy = points.y * resolution, qz = points.z * resolution;
    const Unsigneds x = cells_along(qx, level.resolution);
    const Unsigneds y = cells_along(qy, level.resolution);
    const Unsigneds z = cells_along(qz, level.resolution);
    const Floats u = qx - as_floats(x), v = qy - as_floats(y), w = qz - as_floats(z);
    Cells cells = {{}, {(1.0f - v) * (1.0f - w), v * (1.0f - w), (1.0f - v) * w, v * w}, u};
    const unsigned offset = (unsigned)level.offset;
    if (level.hashed) {
        const Unsigneds mask = (Unsigneds)(unsigned)level.mask;
        const Unsigneds y0 = y * 2654435761u, y1 = y0 + 2654435761u, z0 = z * 805459861u, z1 = z0 + 805459861u;
        cells.rows[0] = ((x + (y0 ^ z0)) & mask) + offset;
        cells.rows[1] = ((x + (y1 ^ z0)) & mask) + offset;
        cells.rows[2] = ((x + (y0 ^ z1)) & mask) + offset;
        cells.rows[3] = ((x + (y1 ^ z1)) & mask) + offset;
    } else {
        const unsigned side = (unsigned)level.resolution + 1, square = side * side;
        const Unsigneds row = x + y * side + z * square + offset;
        cells.rows[0] = row;
        cells.rows[1] = row + side;
        cells.rows[2] = row + square;
        cells.rows[3] = row + side + square;
    }
    return cells;
}

// Two neighbouring rows of a table.
template <int FEATURES> struct Pair {
    typedef float Both __attribute__((ext_vector_type(2 * FEATURES)));
    typedef Both Loose __attribute__((aligned(4)));
    typedef float One __attribute__((ext_vector_type(FEATURES)));
    typedef One LooseOne __attribute__((aligned(4)));
};

// Interpolated features of sixteen points, `stride` floats from one point to the next.
template <int FEATURES>
UNSCENE_INLINE void interpolate(const float* table, const Cells& cells, float* features, int stride) {
    typedef Pair<FEATURES> P;
    alignas(64) unsigned rows[4][LANES];
    alignas(64) float shares[4][LANES], along_x[LANES];
    for (int c = 0; c < 4; ++c) {
        *(Unsigneds*)rows[c] = cells.rows[c];
        *(Floats*)shares[c] = cells.shares[c];
    }
    *(Floats*)along_x = cells.along_x;
    for (int i = 0; i < LANES; ++i) {
        typename P::Both pair = *(const typename P::Loose*)(table + (unsigned long)rows[0][i] * FEATURES) * shares[0][i];
        for (int c = 1; c < 4; ++c)
            pair += *(const typename P::Loose*)(table + (unsigned long)rows[c][i] * FEATURES) * shares[c][i];
        typename P::One left, right;
        __builtin_memcpy(&left, &pair, sizeof(float) * FEATURES);
        __builtin_memcpy(&right, (const float*)&pair + FEATURES, sizeof(float) * FEATURES);
        *(typename P::LooseOne*)(features + i * stride) = left + (right - left) * along_x[i];
    }
}

// Adds the gradients of sixteen points' features, FEATURES floats a point, to the table's gradient.
template <int FEATURES>
UNSCENE_INLINE void add_gradient(float* table_gradient, const Cells& cells, const float* features_gradient) {
    typedef Pair<FEATURES> P;
    alignas(64) unsigned rows[4][LANES];
    alignas(64) float shares[4][LANES], along_x[LANES];
    for (int c = 0; c < 4; ++c) {
        *(Unsigneds*)rows[c] = cells.rows[c];
        *(Floats*)shares[c] = cells.shares[c];
    }
    *(Floats*)along_x = cells.along_x;
    for (int i = 0; i < LANES; ++i) {
        const typename P::One gradient = *(const typename P::LooseOne*)(features_gradient + i * FEATURES);
        const typename P::One right = gradient * along_x[i], left = gradient - right;
        typename P::Both pair;
        __builtin_memcpy(&pair, &left, sizeof(float) * FEATURES);
        __builtin_memcpy((float*)&pair + FEATURES, &right, sizeof(float) * FEATURES);
        for (int c = 0; c < 4; ++c) {
            typename P::Loose* both = (typename P::Loose*)(table_gradient + (unsigned long)rows[c][i] * FEATURES);
            *both = *both + pair * shares[c][i];
        }
    }
}

// The same as `interpolate` for one feature, in lanes.
UNSCENE_INLINE Floats interpolated(const float* table, const Cells& cells) {
    typedef double Doubles __attribute__((ext_vector_type(LANES / 2)));  // a pair of floats each
    typedef double LooseDouble __attribute__((aligned(4)));
    alignas(64) unsigned rows[4][LANES];
    for (int c = 0; c < 4; ++c) *(Unsigneds*)rows[c] = cells.rows[c];
    Floats left = 0.0f, right = 0.0f;
    for (int c = 0; c < 4; ++c) {
        Doubles pairs[2];
#pragma unroll
        for (int i = 0; i < LANES; ++i) pairs[i / 8][i % 8] = *(const LooseDouble*)(table + rows[c][i]);
        Floats low, high;
        __builtin_memcpy(&low, &pairs[0], sizeof low);
        __builtin_memcpy(&high, &pairs[1], sizeof high);
        left += cells.shares[c] *
                __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        right += cells.shares[c] *
                 __builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    }
    return left + (right - left) * cells.along_x;
}

}  // namespace unscene
