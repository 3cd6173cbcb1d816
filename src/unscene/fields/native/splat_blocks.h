// Splats composited front to back on CUDA: a block of 256 threads a tile, a thread a pixel.
//
// Backward goes front to back too, as in splat_tiles.h. A splat's gradients are summed within each warp by shuffles and
// between warps in shared memory, in a fixed order, and written to the slot of this splat and tile: no atomics.
#pragma once
#include "splats.h"

namespace unscene {

constexpr int BLOCK = TILE * TILE, WARP = 32, WARPS = BLOCK / WARP;

// A thread's pixel.
struct Pixel {
    int tile, x, y;
    bool is_inside;
    long at;

    UNSCENE_INLINE Pixel of(const SplatTileArguments& a, int thread) {
        Pixel p;
        p.tile = thread / BLOCK;
        const int within = thread % BLOCK;
        p.x = p.tile % a.columns * TILE + within % TILE;
        p.y = p.tile / a.columns * TILE + within / TILE;
        p.is_inside = p.x < a.width && p.y < a.height;
        p.at = (long)p.y * a.width + p.x;
        return p;
    }
};

// Opacity times the Gaussian at a pixel's centre, before it is held below MOST_ALPHA.
UNSCENE_INLINE float raw_alpha(const Splat& s, const Pixel& p, float* dx, float* dy) {
    *dx = (float)p.x + 0.5f - s.x, *dy = (float)p.y + 0.5f - s.y;
    return s.opacity * expf(-0.5f * (s.a * *dx * *dx + s.c * *dy * *dy) - s.b * *dx * *dy);
}

UNSCENE_INLINE float alpha_of(float raw) { return raw >= LEAST_ALPHA ? at_most(raw, MOST_ALPHA) : 0.0f; }

UNSCENE_INLINE float warp_sum(float x) {
    for (int offset = WARP / 2; offset > 0; offset /= 2) x += __shfl_down_sync(0xffffffffu, x, offset);
    return x;
}

template <int CHANNELS> struct SplatBlocks {
    static constexpr int SLOT = 6 + CHANNELS;
    static constexpr int BATCH = 32;  // splats between two looks whether a whole tile is done
    static_assert(CHANNELS <= 32, "what a block sums has to fit into its shared memory");

    // A batch of a tile's splats in shared memory, brought there by the first threads.
    struct Batch {
        Splat splats[BATCH];
        float channels[BATCH][CHANNELS];
        int numbers[BATCH];

        __device__ __forceinline__ int bring(const SplatTileArguments& a, int first, int end) {
            const int count = end - first < BATCH ? end - first : BATCH;
            __syncthreads();
            if ((int)threadIdx.x < count) {
                const int n = a.lists[first + threadIdx.x];
                numbers[threadIdx.x] = n;
                splats[threadIdx.x] = a.splats[n];
                for (int c = 0; c < CHANNELS; ++c) channels[threadIdx.x][c] = a.channels[(long)n * CHANNELS + c];
            }
            __syncthreads();
            return count;
        }
    };

    static __device__ void forward(const SplatTileArguments& a, int thread) {
        __shared__ Batch batch;
        const Pixel p = Pixel::of(a, thread);
        float light = p.is_inside ? 1.0f : 0.0f, sums[CHANNELS] = {};
        const int end = a.starts[p.tile + 1];
        int first = a.starts[p.tile];
        for (; first < end; first += BATCH) {
            if (__syncthreads_count(light > LEAST_LIGHT) == 0) break;
            const int count = batch.bring(a, first, end);
            for (int s = 0; s < count && light > LEAST_LIGHT; ++s) {
                float dx, dy;
                const float w = alpha_of(raw_alpha(batch.splats[s], p, &dx, &dy)) * light;
                light -= w;
                for (int c = 0; c < CHANNELS; ++c) sums[c] += w * batch.channels[s][c];
            }
        }
        if (threadIdx.x == 0) a.ends[p.tile] = first < end ? first : end;
        if (!p.is_inside) return;
        a.transmittance[p.at] = light;
        for (int c = 0; c < CHANNELS; ++c) a.image[p.at * CHANNELS + c] = sums[c];
    }

    static __device__ void backward(const SplatTileArguments& a, int thread) {
        __shared__ Batch batch;
        __shared__ float partial[WARPS][BATCH][SLOT];
        const Pixel p = Pixel::of(a, thread);
        float light = p.is_inside ? 1.0f : 0.0f, ahead = 0.0f, gradient[CHANNELS] = {};
        if (p.is_inside) {
            ahead = a.transmittance_gradient[p.at] * a.transmittance[p.at];
            for (int c = 0; c < CHANNELS; ++c) {
                gradient[c] = a.image_gradient[p.at * CHANNELS + c];
                ahead += gradient[c] * a.image[p.at * CHANNELS + c];
            }
        }
        const int warp = threadIdx.x / WARP, in_warp = threadIdx.x % WARP;
        const int last = a.ends[p.tile], end = a.starts[p.tile + 1];
        for (int first = a.starts[p.tile]; first < end; first += BATCH) {
            const int count = batch.bring(a, first, end);
            for (int s = 0; s < count; ++s) {
                float own[SLOT] = {};
                const Splat& splat = batch.splats[s];
                float dx, dy;
                const float raw = first + s < last ? raw_alpha(splat, p, &dx, &dy) : 0.0f;
                const float alpha = light > LEAST_LIGHT ? alpha_of(raw) : 0.0f;
                if (alpha > 0.0f) {
                    const float w = alpha * light;
                    float along = 0.0f;
                    for (int c = 0; c < CHANNELS; ++c) {
                        along += gradient[c] * batch.channels[s][c];
                        own[6 + c] = w * gradient[c];
                    }
                    ahead -= w * along;
                    const float v = raw < MOST_ALPHA ? (light * along - ahead / (1.0f - alpha)) * alpha : 0.0f;
                    light -= w;
                    own[0] = v * (splat.a * dx + splat.b * dy), own[1] = v * (splat.b * dx + splat.c * dy);
                    own[2] = -0.5f * v * dx * dx, own[3] = -v * dx * dy, own[4] = -0.5f * v * dy * dy;
                    own[5] = v / splat.opacity;
                }
                const bool any = __any_sync(0xffffffffu, alpha > 0.0f);
                for (int k = 0; k < SLOT; ++k) {
                    const float sum = any ? warp_sum(own[k]) : 0.0f;
                    if (in_warp == 0) partial[warp][s][k] = sum;
                }
            }
            __syncthreads();
            for (int i = threadIdx.x; i < count * SLOT; i += BLOCK) {
                const int s = i / SLOT, k = i % SLOT, n = batch.numbers[s];
                float sum = 0.0f;
                for (int w = 0; w < WARPS; ++w) sum += partial[w][s][k];
                const Box box = a.boxes[n];
                const int tile_x = p.tile % a.columns - box.left, tile_y = p.tile / a.columns - box.top;
                a.slots[((long)a.first_slots[n] + tile_y * (box.right - box.left) + tile_x) * SLOT + k] = sum;
            }
        }
    }
};

// Where half of what a pixel stops is stopped.
static __device__ void splat_median_depth(const SplatTileArguments& a, int thread) {
    const Pixel p = Pixel::of(a, thread);
    if (!p.is_inside) return;
    const float half = 0.5f * (1.0f + a.transmittance[p.at]);
    float light = 1.0f, depth = __int_as_float(0x7f800000);  // infinite
    for (int k = a.starts[p.tile]; k < a.ends[p.tile] && light > half; ++k) {
        const int n = a.lists[k];
        float dx, dy;
        light -= alpha_of(raw_alpha(a.splats[n], p, &dx, &dy)) * light;
        if (light <= half && half < 1.0f) depth = a.depths[n];
    }
    a.median_depth[p.at] = depth;
}

}  // namespace unscene
