// Where a field may have density at all: a bit for each cell of a coarse grid over contracted space (occupancy.py).
#pragma once
#include "grid.h"

namespace unscene {

constexpr int OCCUPANCY_RESOLUTION = 128;

// 1 where density may be and 0 where not; no words: it may be everywhere.
UNSCENE_INLINE Floats occupied(const unsigned* words, Points points) {
    if (!words) return (Floats)1.0f;
    constexpr float SIDE = (float)OCCUPANCY_RESOLUTION;
    const Unsigneds x = cells_along(points.x * SIDE, OCCUPANCY_RESOLUTION);
    const Unsigneds y = cells_along(points.y * SIDE, OCCUPANCY_RESOLUTION);
    const Unsigneds z = cells_along(points.z * SIDE, OCCUPANCY_RESOLUTION);
    alignas(64) unsigned cells[LANES];
    *(Unsigneds*)cells = (z * (unsigned)OCCUPANCY_RESOLUTION + y) * (unsigned)OCCUPANCY_RESOLUTION + x;
    Floats occupied;
    for (int i = 0; i < LANES; ++i) occupied[i] = (float)(words[cells[i] >> 5] >> (cells[i] & 31) & 1);
    return occupied;
}

}  // namespace unscene
