// One number where a processor has sixteen side by side: what lanes.h has, for a thread of CUDA's.
#pragma once

namespace unscene {

constexpr int LANES = 1;
typedef float Floats;
typedef int Ints;

#define UNSCENE_INLINE static __device__ __forceinline__
#define UNSCENE_FUNCTION static __device__

UNSCENE_INLINE float at_least(float x, float low) { return low > x ? low : x; }
UNSCENE_INLINE float at_most(float x, float high) { return high < x ? high : x; }
UNSCENE_INLINE float root(float x) { return sqrtf(x); }
UNSCENE_INLINE float floor_of(float x) { return floorf(x); }
UNSCENE_INLINE int whole(float x) { return (int)x; }
UNSCENE_INLINE float chosen(int where, float x, float otherwise) { return where ? x : otherwise; }
UNSCENE_INLINE float logarithm(float x) { return logf(x); }
UNSCENE_INLINE float exponential(float x) { return expf(at_most(at_least(x, -87.0f), 87.0f)); }
UNSCENE_INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

}  // namespace unscene
