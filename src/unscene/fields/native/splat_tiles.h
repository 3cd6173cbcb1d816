// Splats composited front to back, a tile of 16 x 16 pixels at a time, in patches of 4 x 4 pixels side by side.
//
// Backward goes front to back too: with T the light that is left and D what the gradient makes of all that is yet to
// come (it starts as gradient . final colour), nothing of the forward pass but its result is kept.
#pragma once
#include "splats.h"

namespace unscene {

constexpr int PATCH = 4, PATCHES = TILE / PATCH;
constexpr int LOOK_EVERY = 16;        // splats between two looks whether a whole tile is done

// 2^x for x in [-9, 0] to a ten-millionth.
UNSCENE_INLINE Floats power_of_two(Floats x) {
    const Floats n = __builtin_elementwise_roundeven(x), f = x - n;
    Floats p = multiply_add(f, 0.001340043217f, 0.009676037098f);
    p = multiply_add(p, f, 0.05550327214f);
    p = multiply_add(p, f, 0.2402210736f);
    p = multiply_add(p, f, 0.6931472067f);
    p = multiply_add(p, f, 1.000000075f);
    Ints bits;
    __builtin_memcpy(&bits, &p, sizeof bits);
    bits += __builtin_convertvector(n, Ints) << 23;
    __builtin_memcpy(&p, &bits, sizeof p);
    return p;
}

// What is to be looked at soon: Gaussians lie in memory in no order that tiles know.
template <int CHANNELS, bool WITH_SLOTS> UNSCENE_INLINE void prefetch(const SplatTileArguments& a, int k, int end) {
    constexpr int AHEAD = 8;
    if (k + AHEAD >= end) return;
    const int n = a.lists[k + AHEAD];
    __builtin_prefetch(a.splats + n);
    if (WITH_SLOTS) {
        __builtin_prefetch(a.boxes + n);
        __builtin_prefetch(a.first_slots + n);
        if (k + 2 < end) __builtin_prefetch(a.slots + (long)a.first_slots[a.lists[k + 2]] * (6 + CHANNELS), 1);
    }
    __builtin_prefetch(a.channels + (long)n * CHANNELS);
    __builtin_prefetch(a.channels + (long)n * CHANNELS + CHANNELS - 1);
}

// A patch's pixels, four rows of four, and where they are.
struct Tile {
    int left, top, right, bottom;  // pixels, the last two excluded
    Floats xs, ys;                 // centres of the first patch's pixels, from the tile's corner

    UNSCENE_INLINE Tile of(const SplatTileArguments& a, int tile) {
        Tile t;
        t.left = tile % a.columns * TILE, t.top = tile / a.columns * TILE;
        t.right = t.left + TILE < a.width ? t.left + TILE : a.width;
        t.bottom = t.top + TILE < a.height ? t.top + TILE : a.height;
        for (int i = 0; i < LANES; ++i) t.xs[i] = (float)(i % PATCH) + 0.5f, t.ys[i] = (float)(i / PATCH) + 0.5f;
        return t;
    }

    // Calls what(patch, lane, pixel) for each pixel of the window.
    template <typename What> inline __attribute__((always_inline)) void each(int width, What what) const {
        for (int y = top; y < bottom; ++y)
            for (int x = left; x < right; ++x) {
                const int u = x - left, v = y - top;
                what(v / PATCH * PATCHES + u / PATCH, v % PATCH * PATCH + u % PATCH, (long)y * width + x);
            }
    }
};

// A splat over a tile: the patches that it reaches, and what all pixels share of its exponent.
struct Reached {
    float x, y, opacity;
    int left, top, right, bottom;  // patches, the last two excluded
    float a, b, c;                 // of the exponent of two

    UNSCENE_INLINE int inside(float at) {
        const int patch = (int)at;
        return patch < 0 ? 0 : patch > PATCHES ? PATCHES : patch;
    }

    UNSCENE_INLINE Reached of(const Splat& s, const Tile& tile) {
        constexpr float log2_e = 1.44269504f;
        Reached r = {s.x - (float)tile.left, s.y - (float)tile.top, s.opacity, 0, 0, 0, 0,
                     -0.5f * log2_e * s.a, -log2_e * s.b, -0.5f * log2_e * s.c};
        const float far = 2.0f * TILE;  // what lies beyond is not told apart
        const float low_x = r.x - s.reach_x, low_y = r.y - s.reach_y;
        const float high_x = r.x + s.reach_x, high_y = r.y + s.reach_y;
        // the first centre at or after the low end, the last at or before the high one
        r.left = inside(((low_x < 0.0f ? 0.0f : low_x > far ? far : low_x) + 0.5f - 1.0f / 1024) * (1.0f / PATCH));
        r.top = inside(((low_y < 0.0f ? 0.0f : low_y > far ? far : low_y) + 0.5f - 1.0f / 1024) * (1.0f / PATCH));
        r.right = high_x < 0.5f ? 0 : inside((high_x > far ? far : high_x - 0.5f) * (1.0f / PATCH)) + 1;
        r.bottom = high_y < 0.5f ? 0 : inside((high_y > far ? far : high_y - 0.5f) * (1.0f / PATCH)) + 1;
        r.right = r.right > PATCHES ? PATCHES : r.right;
        r.bottom = r.bottom > PATCHES ? PATCHES : r.bottom;
        return r;
    }
};

// Opacity times the Gaussian, before it is held below MOST_ALPHA; and what comes of it, nothing below LEAST_ALPHA.
UNSCENE_INLINE Floats alpha_of(Floats raw) {
    const Floats held = at_most(raw, MOST_ALPHA);
    return chosen(raw >= LEAST_ALPHA, held, (Floats)0.0f);
}

template <int CHANNELS> struct SplatTiles {
    static constexpr int SLOT = 6 + CHANNELS;
    static constexpr int ALL = PATCHES * PATCHES;

    // Patches that light still reaches, a bit each.
    UNSCENE_INLINE unsigned reached(const Floats* light) {
        unsigned patches = 0;
        for (int p = 0; p < ALL; ++p) patches |= (unsigned)any(light[p] > LEAST_LIGHT) << p;
        return patches;
    }

    // Light that is left before anything: none outside the window, so that nothing waits for pixels that are not there.
    UNSCENE_INLINE void clear(const Tile& tile, int width, Floats* light) {
        alignas(64) float whole[ALL][LANES] = {};
        tile.each(width, [&](int patch, int lane, long) { whole[patch][lane] = 1.0f; });
        __builtin_memcpy(light, whole, sizeof whole);
    }

    static void forward(const SplatTileArguments& a, int number) {
        const Tile tile = Tile::of(a, number);
        alignas(64) Floats light[ALL], sums[ALL][CHANNELS] = {};
        clear(tile, a.width, light);
        const int end = a.starts[number + 1];
        int k = a.starts[number];
        unsigned lit = ~0u;
        for (int look = 0; k < end; ++k, ++look) {
            if (look % LOOK_EVERY == LOOK_EVERY - 1 && !(lit = reached(light))) break;
            prefetch<CHANNELS, false>(a, k, end);
            const int n = a.lists[k];
            const Reached r = Reached::of(a.splats[n], tile);
            const float* channels = a.channels + (long)n * CHANNELS;
            for (int column = r.left; column < r.right; ++column) {
                const Floats dx = tile.xs + ((float)(column * PATCH) - r.x);
                const Floats in_x = dx * dx * r.a, cross = dx * r.b;
                for (int row = r.top; row < r.bottom; ++row) {
                    const int patch = row * PATCHES + column;
                    if (!(lit >> patch & 1)) continue;
                    const Floats dy = tile.ys + ((float)(row * PATCH) - r.y);
                    const Floats exponent = multiply_add(multiply_add(dy, r.c, cross), dy, in_x);
                    const Floats raw = power_of_two(at_least(exponent, -9.0f)) * r.opacity;
                    const Floats left = light[patch];
                    const Floats w = chosen(left > LEAST_LIGHT, alpha_of(raw) * left, (Floats)0.0f);
                    light[patch] = left - w;
                    for (int c = 0; c < CHANNELS; ++c) sums[patch][c] = multiply_add(w, channels[c], sums[patch][c]);
                }
            }
        }
        a.ends[number] = k;
        tile.each(a.width, [&](int patch, int lane, long pixel) {
            a.transmittance[pixel] = light[patch][lane];
            for (int c = 0; c < CHANNELS; ++c) a.image[pixel * CHANNELS + c] = sums[patch][c][lane];
        });
    }

    static void backward(const SplatTileArguments& a, int number) {
        const Tile tile = Tile::of(a, number);
        alignas(64) Floats light[ALL];
        alignas(64) float gradients[ALL][CHANNELS][LANES] = {}, ahead[ALL][LANES] = {};
        clear(tile, a.width, light);
        tile.each(a.width, [&](int patch, int lane, long pixel) {
            float sum = a.transmittance_gradient[pixel] * a.transmittance[pixel];
            for (int c = 0; c < CHANNELS; ++c) {
                gradients[patch][c][lane] = a.image_gradient[pixel * CHANNELS + c];
                sum += a.image_gradient[pixel * CHANNELS + c] * a.image[pixel * CHANNELS + c];
            }
            ahead[patch][lane] = sum;
        });
        unsigned lit = ~0u;
        for (int k = a.starts[number]; k < a.starts[number + 1]; ++k) {
            if ((k - a.starts[number]) % LOOK_EVERY == LOOK_EVERY - 1 && k < a.ends[number]) lit = reached(light);
            prefetch<CHANNELS, true>(a, k, a.starts[number + 1]);
            const int n = a.lists[k];
            const Box box = a.boxes[n];
            const int tile_x = tile.left / TILE - box.left, tile_y = tile.top / TILE - box.top;
            float* slot = a.slots + ((long)a.first_slots[n] + tile_y * (box.right - box.left) + tile_x) * SLOT;
            if (k >= a.ends[number]) {
                for (int i = 0; i < SLOT; ++i) slot[i] = 0.0f;
                continue;
            }
            const Splat& splat = a.splats[n];
            const Reached r = Reached::of(splat, tile);
            const float* channels = a.channels + (long)n * CHANNELS;
            Floats s = 0.0f, sx = 0.0f, sxx = 0.0f, sy = 0.0f, syy = 0.0f, sxy = 0.0f;
            Floats to_channels[CHANNELS < 2 ? 2 : CHANNELS] = {};  // with the six, eight at least
            for (int column = r.left; column < r.right; ++column) {
                const Floats dx = tile.xs + ((float)(column * PATCH) - r.x);
                const Floats in_x = dx * dx * r.a, cross = dx * r.b;
                Floats v0 = 0.0f, v1 = 0.0f, v2 = 0.0f;  // sums of v, v dy, v dy dy
                for (int row = r.top; row < r.bottom; ++row) {
                    const int patch = row * PATCHES + column;
                    if (!(lit >> patch & 1)) continue;
                    const Floats dy = tile.ys + ((float)(row * PATCH) - r.y);
                    const Floats exponent = multiply_add(multiply_add(dy, r.c, cross), dy, in_x);
                    const Floats raw = power_of_two(at_least(exponent, -9.0f)) * r.opacity;
                    const Floats left = light[patch];
                    const Floats alpha = chosen(left > LEAST_LIGHT, alpha_of(raw), (Floats)0.0f);
                    const Floats w = alpha * left;
                    Floats along = 0.0f;
                    for (int c = 0; c < CHANNELS; ++c) {
                        const Floats gradient = *(Floats*)gradients[patch][c];
                        along = multiply_add(gradient, channels[c], along);
                        to_channels[c] = multiply_add(w, gradient, to_channels[c]);
                    }
                    const Floats behind = *(Floats*)ahead[patch] - w * along;
                    *(Floats*)ahead[patch] = behind;
                    light[patch] = left - w;
                    Floats v = (left * along - behind / (1.0f - alpha)) * alpha;
                    v = chosen(raw < MOST_ALPHA, v, (Floats)0.0f);
                    v0 += v;
                    const Floats vy = v * dy;
                    v1 += vy;
                    v2 = multiply_add(vy, dy, v2);
                }
                s += v0, sy += v1, syy += v2;
                sx += v0 * dx, sxy += v1 * dx, sxx += v0 * dx * dx;
            }
            const Floats all[8] = {s, sx, sy, sxx, sxy, syy, to_channels[0], to_channels[1]};
            alignas(64) float sums[8];
            sums_of_eight(all, sums);
            slot[0] = splat.a * sums[1] + splat.b * sums[2];
            slot[1] = splat.b * sums[1] + splat.c * sums[2];
            slot[2] = -0.5f * sums[3];
            slot[3] = -sums[4];
            slot[4] = -0.5f * sums[5];
            slot[5] = sums[0] / splat.opacity;
            for (int c = 0; c < CHANNELS; ++c) slot[6 + c] = c < 2 ? sums[6 + c] : sum(to_channels[c]);
        }
    }
};

// Where half of what a pixel stops is stopped: the depth of the splat there, infinite where nothing is.
inline void splat_median_depth(const SplatTileArguments& a, int number) {
    constexpr int ALL = PATCHES * PATCHES;
    const Tile tile = Tile::of(a, number);
    alignas(64) Floats light[ALL];
    alignas(64) float half[ALL][LANES] = {}, depth[ALL][LANES];
    SplatTiles<1>::clear(tile, a.width, light);
    for (int p = 0; p < ALL; ++p) *(Floats*)depth[p] = __builtin_inff();
    tile.each(a.width, [&](int patch, int lane, long pixel) {
        half[patch][lane] = 0.5f * (1.0f + a.transmittance[pixel]);
    });
    for (int k = a.starts[number]; k < a.ends[number]; ++k) {
        const int n = a.lists[k];
        const Reached r = Reached::of(a.splats[n], tile);
        for (int column = r.left; column < r.right; ++column) {
            const Floats dx = tile.xs + ((float)(column * PATCH) - r.x);
            const Floats in_x = dx * dx * r.a, cross = dx * r.b;
            for (int row = r.top; row < r.bottom; ++row) {
                const Floats dy = tile.ys + ((float)(row * PATCH) - r.y);
                const Floats raw = power_of_two(at_least(multiply_add(multiply_add(dy, r.c, cross), dy, in_x), -9.0f)) * r.opacity;
                const int patch = row * PATCHES + column;
                const Floats left = light[patch], middle = *(Floats*)half[patch];
                const Floats w = chosen(left > LEAST_LIGHT, alpha_of(raw) * left, (Floats)0.0f);
                light[patch] = left - w;
                const Ints here = (left > middle) & (light[patch] <= middle);
                *(Floats*)depth[patch] = chosen(here, (Floats)a.depths[n], *(Floats*)depth[patch]);
            }
        }
    }
    tile.each(a.width, [&](int patch, int lane, long pixel) { a.median_depth[pixel] = depth[patch][lane]; });
}

}  // namespace unscene
