// Sixteen numbers side by side, and the field's geometry on them.
//
// Clang's vector types compile to AVX2, AVX-512, NEON or scalar code, whatever the processor has: no intrinsics here.
// Selections are written so that NaN survives them.
#pragma once

namespace unscene {

constexpr int LANES = 16;
typedef float Floats __attribute__((ext_vector_type(LANES)));
typedef int Ints __attribute__((ext_vector_type(LANES)));
typedef unsigned Unsigneds __attribute__((ext_vector_type(LANES)));
typedef Floats LooseFloats __attribute__((aligned(4)));  // at any float's address

#define UNSCENE_INLINE static inline __attribute__((always_inline))
#define UNSCENE_FUNCTION inline

UNSCENE_INLINE Floats load(const float* address) { return *(const LooseFloats*)address; }
UNSCENE_INLINE void store(float* address, Floats x) { *(LooseFloats*)address = x; }
UNSCENE_INLINE Floats at_least(Floats x, float low) { return low > x ? (Floats)low : x; }
UNSCENE_INLINE Floats at_most(Floats x, float high) { return high < x ? (Floats)high : x; }
UNSCENE_INLINE Floats larger(Floats x, Floats y) { return x > y ? x : y; }

UNSCENE_INLINE Floats root(Floats x) { return __builtin_elementwise_sqrt(x); }
UNSCENE_INLINE Floats floor_of(Floats x) { return __builtin_elementwise_floor(x); }
UNSCENE_INLINE Ints whole(Floats x) { return __builtin_convertvector(x, Ints); }
UNSCENE_INLINE Floats chosen(Ints where, Floats x, Floats otherwise) { return where ? x : otherwise; }
UNSCENE_INLINE float logarithm(float x) { return __builtin_logf(x); }

// x y + z in one operation where the processor has it: the compiler makes none of its own here.
UNSCENE_INLINE Floats multiply_add(Floats x, Floats y, Floats z) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_elementwise_fma(x, y, z);
#else
    return x * y + z;
#endif
}

// e^x to the last digit or two: 2^n e^r with |r| <= ln(2) / 2, e^r by Cephes' polynomial. x is held within +-87.
UNSCENE_INLINE Floats exponential(Floats x) {
    x = at_most(at_least(x, -87.0f), 87.0f);
    const Floats n = __builtin_elementwise_roundeven(x * 1.44269504f);
    const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
    Floats scale;
    __builtin_memcpy(&scale, &exponent, sizeof scale);
    return p * scale;
}

// The density of a raw output: thin at the start, so that light reaches the background.
UNSCENE_INLINE Floats density(Floats raw) { return exponential(at_most(at_least(raw - 1.0f, -15.0f), 15.0f)); }

UNSCENE_INLINE Floats sigmoid(Floats x) { return 1.0f / (1.0f + exponential(-x)); }

// Lane i of `x` moves to lane i + COUNT; zeros move in.
template <int COUNT> UNSCENE_INLINE Floats shifted_up(Floats x) {
    constexpr int Z = LANES;  // a lane of the zeros
#define UNSCENE_FROM(i) (i < COUNT ? Z : i - COUNT)
    return __builtin_shufflevector(
        x, (Floats)0.0f, UNSCENE_FROM(0), UNSCENE_FROM(1), UNSCENE_FROM(2), UNSCENE_FROM(3), UNSCENE_FROM(4),
        UNSCENE_FROM(5), UNSCENE_FROM(6), UNSCENE_FROM(7), UNSCENE_FROM(8), UNSCENE_FROM(9), UNSCENE_FROM(10),
        UNSCENE_FROM(11), UNSCENE_FROM(12), UNSCENE_FROM(13), UNSCENE_FROM(14), UNSCENE_FROM(15));
#undef UNSCENE_FROM
}

UNSCENE_INLINE Floats reversed(Floats x) {
    return __builtin_shufflevector(x, x, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

// Sums of all lanes before each lane.
UNSCENE_INLINE Floats sums_before(Floats x) {
    x = shifted_up<1>(x);
    x += shifted_up<1>(x);
    x += shifted_up<2>(x);
    x += shifted_up<4>(x);
    x += shifted_up<8>(x);
    return x;
}

// Sums of all lanes after each lane; not the total less what came before, which would cancel.
UNSCENE_INLINE Floats sums_after(Floats x) { return reversed(sums_before(reversed(x))); }

// Whether a comparison holds in any lane. Compares and ors only: a reduction of numbers goes lane by lane.
UNSCENE_INLINE bool any(Ints holds) { return __builtin_reduce_or(holds) != 0; }

UNSCENE_INLINE float sum(Floats x) {
    x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    return (x[0] + x[2]) + (x[1] + x[3]);
}

// The sums of eight, folded together: a quarter of the work of one after the other.
UNSCENE_INLINE void sums_of_eight(const Floats* x, float* sums) {
    Floats halves[4], quarters[2];
    for (int i = 0; i < 4; ++i) {
        const Floats a = x[2 * i], b = x[2 * i + 1];
        halves[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                    __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
    for (int i = 0; i < 2; ++i) {
        const Floats a = halves[2 * i], b = halves[2 * i + 1];
        quarters[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
                      __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
    const Floats a = quarters[0], b = quarters[1];
    const Floats pairs = __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
                         __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
    for (int i = 0; i < 8; ++i) sums[i] = pairs[2 * i] + pairs[2 * i + 1];
}

// Where rays begin and end, in the spacing of their samples: linear in distance up to one radius, in disparity beyond.
struct Spacing {
    float near, span;
};

// Normalised to metric distance.
UNSCENE_INLINE Floats distance(Floats edge, Spacing spacing) {
    const Floats s = edge * spacing.span + spacing.near;
    return s < 0.5f ? s * 2.0f : 1.0f / at_least(2.0f - s * 2.0f, 1e-6f);
}

struct Points {
    Floats x, y, z;
};

// All of space into the unit cube: mip-NeRF 360's contraction in the maximum norm (eq. 10).
UNSCENE_INLINE Points contracted(Points p) {
    const Floats farthest = larger(larger(__builtin_elementwise_abs(p.x), __builtin_elementwise_abs(p.y)),
                                   __builtin_elementwise_abs(p.z));
    const Floats reach = at_least(farthest, 1.0f);
    const Floats scale = (2.0f - 1.0f / reach) / reach;
    return {p.x * scale * 0.25f + 0.5f, p.y * scale * 0.25f + 0.5f, p.z * scale * 0.25f + 0.5f};
}

// Contracted points at a distance along rays.
UNSCENE_INLINE Points along(Points origins, Points directions, Floats distance) {
    return contracted({origins.x + directions.x * distance, origins.y + directions.y * distance,
                       origins.z + directions.z * distance});
}

}  // namespace unscene
