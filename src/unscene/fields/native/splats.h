// Gaussians into a view: projection (EWA splatting, Zwicker et al. 2002), colours by spherical harmonics, and the way
// back from gradients in the picture. On processors sixteen at a time, on CUDA one a thread: the same code.
#pragma once
#ifdef __CUDACC__
#include "lane.h"
#else
#include "lanes.h"
#endif

namespace unscene {

constexpr int TILE = 16;         // pixels along a tile's side
constexpr int SPECTRUM = 16;     // coefficients of degree 3
constexpr float BLUR = 0.3f;     // pixels squared that are added to every Gaussian's variance
constexpr float LEAST_ALPHA = 1.0f / 255.0f;
constexpr float MOST_ALPHA = 0.99f;
constexpr float LEAST_LIGHT = 1e-4f;  // a pixel is done once no more than this passes

struct SplatCamera {
    float rotation[9], center[3];  // camera from world, row by row; the camera's place in the world
    float focal[2], principal[2];  // pixels, from the window's corner
    float limits[4];               // least and most of x / z, of y / z, beyond which a Gaussian's shape is not followed
    float near;
    int width, height;  // of the window
};

// A Gaussian in the picture: alpha at an offset (u, v) from its centre is
// opacity * exp(-(a u u + 2 b u v + c v v) / 2), and nothing beyond its reach.
struct Splat {
    float x, y, a, b, c, opacity, reach_x, reach_y;
};

struct Box {
    short left, top, right, bottom;  // tiles, the last two excluded
};

struct SplatArguments {
    const float *means, *log_scales, *quaternions, *logits, *harmonics;  // N 3, N 3, N 4, N, N coefficients 3
    Splat* splats;
    Box* boxes;
    float *depths, *shown;    // N, N channels: the colours among them first
    int* counts;              // N: tiles that a Gaussian may touch, 0 where it is not seen
    const int* first_slots;   // N: of each Gaussian's gradients
    const float* slots;       // 6 + channels numbers each: x, y, a, b, c, opacity, channels
    float *means_gradient, *scales_gradient, *quaternions_gradient, *logits_gradient, *harmonics_gradient;
    float *channels_gradient;  // N channels
    int count, coefficients, channels, has_colors;  // has_colors: the first three channels are colours by harmonics
    SplatCamera camera;
};

struct SplatTileArguments {
    const Splat* splats;
    const Box* boxes;
    const float *depths, *channels;  // N, N channels
    const int *starts, *lists;
    const int* first_slots;
    int* ends;                       // tiles: where in the lists the last pixel was done
    float *image, *transmittance, *median_depth;  // H W channels, H W, H W
    const float *image_gradient, *transmittance_gradient;
    float* slots;
    int columns, width, height;
};

struct Vector {
    Floats x, y, z;
};

// Rows of K numbers, one a Gaussian, as K columns of lanes; zeros where there are fewer rows than lanes. By way of
// arrays, whose loops compile to shuffles: an element of a vector at a time would wait for the one before.
template <int K> UNSCENE_INLINE void columns_of(const float* rows, int valid, Floats* columns) {
    alignas(64) float padded[LANES * K] = {}, turned[K][LANES];
    if (valid < LANES) {
        for (int i = 0; i < valid * K; ++i) padded[i] = rows[i];
        rows = padded;
    }
    for (int i = 0; i < LANES; ++i)
        for (int k = 0; k < K; ++k) turned[k][i] = rows[i * K + k];
    for (int k = 0; k < K; ++k) columns[k] = *(Floats*)turned[k];
}

// The way back, zeros where `counts` is zero.
template <int K> UNSCENE_INLINE void to_rows(const Floats* columns, const int* counts, int valid, float* rows) {
    alignas(64) float turned[K][LANES];
    for (int k = 0; k < K; ++k) *(Floats*)turned[k] = columns[k];
    for (int i = 0; i < valid; ++i)
        for (int k = 0; k < K; ++k) rows[i * K + k] = counts[i] ? turned[k][i] : 0.0f;
}

UNSCENE_INLINE Vector vectors(const float* values, int valid) {
    Floats v[3];
    columns_of<3>(values, valid, v);
    return {v[0], v[1], v[2]};
}

// What a Gaussian looks like from a camera, and all that the way back needs of it.
struct Projected {
    Vector seen;           // the mean in the camera's axes
    Floats inverse_depth, px, py, cx, cy;  // x / z, y / z as they are, and held within the limits
    Vector scales;
    Floats q[4], length;   // unit quaternion, length before
    Floats turn[9];        // own axes to world
    Floats axes[2][3];     // own axes, scaled, in the picture: their sum of squares is the covariance
    Floats view_axes[9];   // own axes in the camera's, without scales
    Floats s00, s01, s11, determinant, opacity;
};

UNSCENE_INLINE Projected projected(const SplatArguments& a, long first, int valid) {
    const SplatCamera& camera = a.camera;
    const float* R = camera.rotation;
    Projected p;
    Vector m = vectors(a.means + 3 * first, valid);
    m = {m.x - camera.center[0], m.y - camera.center[1], m.z - camera.center[2]};
    p.seen = {R[0] * m.x + R[1] * m.y + R[2] * m.z, R[3] * m.x + R[4] * m.y + R[5] * m.z,
              R[6] * m.x + R[7] * m.y + R[8] * m.z};
    p.inverse_depth = 1.0f / p.seen.z;
    p.px = p.seen.x * p.inverse_depth;
    p.py = p.seen.y * p.inverse_depth;
    p.cx = at_most(at_least(p.px, camera.limits[0]), camera.limits[1]);
    p.cy = at_most(at_least(p.py, camera.limits[2]), camera.limits[3]);
    const Vector l = vectors(a.log_scales + 3 * first, valid);
    p.scales = {exponential(l.x), exponential(l.y), exponential(l.z)};
    columns_of<4>(a.quaternions + 4 * first, valid, p.q);
    p.length = root(p.q[0] * p.q[0] + p.q[1] * p.q[1] + p.q[2] * p.q[2] + p.q[3] * p.q[3]);
    for (int k = 0; k < 4; ++k) p.q[k] /= p.length;
    const Floats w = p.q[0], x = p.q[1], y = p.q[2], z = p.q[3];
    p.turn[0] = 1.0f - 2.0f * (y * y + z * z), p.turn[1] = 2.0f * (x * y - w * z), p.turn[2] = 2.0f * (x * z + w * y);
    p.turn[3] = 2.0f * (x * y + w * z), p.turn[4] = 1.0f - 2.0f * (x * x + z * z), p.turn[5] = 2.0f * (y * z - w * x);
    p.turn[6] = 2.0f * (x * z - w * y), p.turn[7] = 2.0f * (y * z + w * x), p.turn[8] = 1.0f - 2.0f * (x * x + y * y);
    for (int r = 0; r < 3; ++r)
        for (int c = 0; c < 3; ++c)
            p.view_axes[3 * r + c] =
                R[3 * r] * p.turn[c] + R[3 * r + 1] * p.turn[3 + c] + R[3 * r + 2] * p.turn[6 + c];
    const Floats fx = camera.focal[0] * p.inverse_depth, fy = camera.focal[1] * p.inverse_depth;
    const Floats scale[3] = {p.scales.x, p.scales.y, p.scales.z};
    for (int c = 0; c < 3; ++c) {
        p.axes[0][c] = fx * (p.view_axes[c] - p.cx * p.view_axes[6 + c]) * scale[c];
        p.axes[1][c] = fy * (p.view_axes[3 + c] - p.cy * p.view_axes[6 + c]) * scale[c];
    }
    p.s00 = p.axes[0][0] * p.axes[0][0] + p.axes[0][1] * p.axes[0][1] + p.axes[0][2] * p.axes[0][2] + BLUR;
    p.s01 = p.axes[0][0] * p.axes[1][0] + p.axes[0][1] * p.axes[1][1] + p.axes[0][2] * p.axes[1][2];
    p.s11 = p.axes[1][0] * p.axes[1][0] + p.axes[1][1] * p.axes[1][1] + p.axes[1][2] * p.axes[1][2] + BLUR;
    p.determinant = p.s00 * p.s11 - p.s01 * p.s01;
    Floats logit;
    columns_of<1>(a.logits + first, valid, &logit);
    p.opacity = sigmoid(logit);
    return p;
}

// The first sixteen spherical harmonics of a unit direction, with the signs of the 3DGS files.
UNSCENE_INLINE void harmonics_of(Vector d, Floats* basis) {
    const Floats x = d.x, y = d.y, z = d.z, xx = x * x, yy = y * y, zz = z * z;
    basis[0] = 0.28209479f;
    basis[1] = -0.48860251f * y, basis[2] = 0.48860251f * z, basis[3] = -0.48860251f * x;
    basis[4] = 1.09254843f * x * y, basis[5] = -1.09254843f * y * z;
    basis[6] = 0.31539157f * (2.0f * zz - xx - yy);
    basis[7] = -1.09254843f * x * z, basis[8] = 0.54627422f * (xx - yy);
    basis[9] = -0.59004359f * y * (3.0f * xx - yy), basis[10] = 2.89061144f * x * y * z;
    basis[11] = -0.45704580f * y * (4.0f * zz - xx - yy);
    basis[12] = 0.37317633f * z * (2.0f * zz - 3.0f * xx - 3.0f * yy);
    basis[13] = -0.45704580f * x * (4.0f * zz - xx - yy), basis[14] = 1.44530572f * z * (xx - yy);
    basis[15] = -0.59004359f * x * (xx - 3.0f * yy);
}

// The gradient of sum(weights * basis) in the direction.
UNSCENE_INLINE Vector harmonics_slope(Vector d, const Floats* g, int coefficients) {
    const Floats x = d.x, y = d.y, z = d.z, xx = x * x, yy = y * y, zz = z * z;
    Vector s = {(Floats)0.0f, (Floats)0.0f, (Floats)0.0f};
    if (coefficients > 1) s = {-0.48860251f * g[3], -0.48860251f * g[1], 0.48860251f * g[2]};
    if (coefficients > 4) {
        s.x += 1.09254843f * (y * g[4] - z * g[7]) - 0.63078313f * x * g[6] + 1.09254843f * x * g[8];
        s.y += 1.09254843f * (x * g[4] - z * g[5]) - 0.63078313f * y * g[6] - 1.09254843f * y * g[8];
        s.z += 1.26156626f * z * g[6] - 1.09254843f * (y * g[5] + x * g[7]);
    }
    if (coefficients > 9) {
        const Floats q = 4.0f * zz - xx - yy;
        s.x += -3.54026154f * x * y * g[9] + 2.89061144f * y * z * g[10] + 0.91409160f * x * y * g[11] -
               2.23905798f * x * z * g[12] - 0.45704580f * (q - 2.0f * xx) * g[13] + 2.89061144f * x * z * g[14] -
               1.77013077f * (xx - yy) * g[15];
        s.y += -1.77013077f * (xx - yy) * g[9] + 2.89061144f * x * z * g[10] - 0.45704580f * (q - 2.0f * yy) * g[11] -
               2.23905798f * y * z * g[12] + 0.91409160f * x * y * g[13] - 2.89061144f * y * z * g[14] +
               3.54026154f * x * y * g[15];
        s.z += 2.89061144f * x * y * g[10] - 3.65636640f * y * z * g[11] +
               1.11952899f * (2.0f * zz - xx - yy) * g[12] - 3.65636640f * x * z * g[13] +
               1.44530572f * (xx - yy) * g[14];
    }
    return s;
}

UNSCENE_INLINE Vector unit(Vector v, Floats* inverse_length) {
    *inverse_length = 1.0f / root(v.x * v.x + v.y * v.y + v.z * v.z);
    return {v.x * *inverse_length, v.y * *inverse_length, v.z * *inverse_length};
}

// One block of Gaussians: their splats, tiles and colours.
UNSCENE_FUNCTION void project_splats(const SplatArguments& a, int block) {
    const SplatCamera& camera = a.camera;
    const long first = (long)block * LANES;
    const int valid = a.count - first < LANES ? (int)(a.count - first) : LANES;
    const Projected p = projected(a, first, valid);
    const Floats x = camera.focal[0] * p.px + camera.principal[0], y = camera.focal[1] * p.py + camera.principal[1];
    const Floats inverse = 1.0f / p.determinant;
    // where alpha falls below what counts; Cephes' logarithm is not worth having for that: a scalar one, below
    alignas(64) float opacities[LANES], thresholds[LANES];
    *(Floats*)opacities = p.opacity;
    for (int i = 0; i < LANES; ++i) {
        const float ratio = opacities[i] * 255.0f;
        thresholds[i] = ratio > 1.0f ? 2.0f * logarithm(ratio) : 0.0f;
    }
    const Floats threshold = *(Floats*)thresholds;
    const Floats reach_x = root(threshold * p.s00), reach_y = root(threshold * p.s11);
    const float columns = (float)((camera.width + TILE - 1) / TILE), rows = (float)((camera.height + TILE - 1) / TILE);
    const Floats low = 0.0f;
    // whatever is no number fails one of these
    const Ints seen = (p.seen.z > camera.near) & (p.determinant > 0.0f) & (threshold > 0.0f) & (x + reach_x > 0.0f) &
                      (x - reach_x < (float)camera.width) & (y + reach_y > 0.0f) &
                      (y - reach_y < (float)camera.height) & (inverse < 1e30f);
    const float side = 1.0f / TILE;
    const Floats left = at_least(at_most(floor_of((x - reach_x) * side), columns), 0.0f);
    const Floats top = at_least(at_most(floor_of((y - reach_y) * side), rows), 0.0f);
    const Floats right = at_least(at_most(floor_of((x + reach_x) * side) + 1.0f, columns), 0.0f);
    const Floats bottom = at_least(at_most(floor_of((y + reach_y) * side) + 1.0f, rows), 0.0f);
    const Floats ca = p.s11 * inverse, cb = -p.s01 * inverse, cc = p.s00 * inverse;
    alignas(64) float splats[8][LANES], depths[LANES];
    const Floats splat[8] = {x, y, ca, cb, cc, p.opacity, reach_x, reach_y};
    for (int k = 0; k < 8; ++k) *(Floats*)splats[k] = splat[k];
    *(Floats*)depths = p.seen.z;
    alignas(64) int boxes[4][LANES];
    const Floats box[4] = {left, top, right, bottom};
    for (int k = 0; k < 4; ++k) *(Ints*)boxes[k] = whole(chosen(seen, box[k], low));
    for (int i = 0; i < valid; ++i) {
        float* to = (float*)(a.splats + first + i);
        for (int k = 0; k < 8; ++k) to[k] = splats[k][i];
        a.boxes[first + i] = {(short)boxes[0][i], (short)boxes[1][i], (short)boxes[2][i], (short)boxes[3][i]};
        a.depths[first + i] = depths[i];
        a.counts[first + i] = (boxes[2][i] - boxes[0][i]) * (boxes[3][i] - boxes[1][i]);
    }
    if (!a.has_colors) return;
    Floats inverse_length;
    Vector m = vectors(a.means + 3 * first, valid);
    const Vector direction = unit({m.x - camera.center[0], m.y - camera.center[1], m.z - camera.center[2]}, &inverse_length);
    alignas(64) float basis[SPECTRUM][LANES];
    harmonics_of(direction, (Floats*)basis);
    for (int i = 0; i < valid; ++i) {
        if (!a.counts[first + i]) continue;
        const float* spectrum = a.harmonics + (first + i) * a.coefficients * 3;
        float even[3] = {0.5f, 0.5f, 0.5f}, odd[3] = {};  // two sums: neither waits for the other
        for (int k = 0; k < a.coefficients; ++k)
            for (int c = 0; c < 3; ++c) (k & 1 ? odd : even)[c] += spectrum[3 * k + c] * basis[k][i];
        for (int c = 0; c < 3; ++c) {
            const float color = even[c] + odd[c];
            a.shown[(first + i) * a.channels + c] = color > 0.0f ? color : 0.0f;
        }
    }
}

// One block of Gaussians: gradients of the splats, summed over their slots, back to what the Gaussians are made of.
UNSCENE_FUNCTION void project_splats_backward(const SplatArguments& a, int block) {
    const SplatCamera& camera = a.camera;
    const long first = (long)block * LANES;
    const int valid = a.count - first < LANES ? (int)(a.count - first) : LANES;
    const int width = 6 + a.channels;
    alignas(64) float sums[6][LANES] = {}, color_sums[3][LANES] = {};
    int any = 0;
    for (int i = 0; i < valid; ++i) {
        const long n = first + i;
        any |= a.counts[n];
        const float* slot = a.slots + (long)a.first_slots[n] * width;
        float* channels = a.channels_gradient + n * a.channels;
        for (int c = 0; c < a.channels; ++c) channels[c] = 0.0f;
        for (int s = 0; s < a.counts[n]; ++s, slot += width) {
            for (int k = 0; k < 6; ++k) sums[k][i] += slot[k];
            for (int c = 0; c < a.channels; ++c) channels[c] += slot[6 + c];
        }
    }
    if (!any) {
        for (long n = first; n < first + valid; ++n) {
            for (int k = 0; k < 3; ++k) a.means_gradient[3 * n + k] = a.scales_gradient[3 * n + k] = 0.0f;
            for (int k = 0; k < 4; ++k) a.quaternions_gradient[4 * n + k] = 0.0f;
            a.logits_gradient[n] = 0.0f;
            if (a.has_colors)
                for (int k = 0; k < 3 * a.coefficients; ++k) a.harmonics_gradient[3 * a.coefficients * n + k] = 0.0f;
        }
        return;
    }
    const Projected p = projected(a, first, valid);
    const float* R = camera.rotation;
    const Floats gx = *(Floats*)sums[0], gy = *(Floats*)sums[1];
    // the inverse covariance's gradient, to the covariance: -Q G Q
    const Floats inverse = 1.0f / p.determinant;
    const Floats qa = p.s11 * inverse, qb = -p.s01 * inverse, qc = p.s00 * inverse;
    const Floats ga = *(Floats*)sums[2], gb = *(Floats*)sums[3] * 0.5f, gc = *(Floats*)sums[4];
    const Floats h00 = ga * qa + gb * qb, h01 = ga * qb + gb * qc, h10 = gb * qa + gc * qb, h11 = gb * qb + gc * qc;
    const Floats d00 = -(qa * h00 + qb * h10), d01 = -(qa * h01 + qb * h11), d11 = -(qb * h01 + qc * h11);
    // to the scaled axes in the picture: 2 D A; then through the projection of each axis
    const Floats fx = camera.focal[0] * p.inverse_depth, fy = camera.focal[1] * p.inverse_depth;
    const Floats scale[3] = {p.scales.x, p.scales.y, p.scales.z};
    Floats to_scale[3], to_turn[9], to_cx = 0.0f, to_cy = 0.0f, to_inverse_depth = 0.0f;
    for (int c = 0; c < 3; ++c) {
        const Floats u = 2.0f * (d00 * p.axes[0][c] + d01 * p.axes[1][c]);
        const Floats v = 2.0f * (d01 * p.axes[0][c] + d11 * p.axes[1][c]);
        to_scale[c] = u * p.axes[0][c] + v * p.axes[1][c];  // of its logarithm
        to_inverse_depth += (u * p.axes[0][c] + v * p.axes[1][c]);
        const Floats us = u * fx * scale[c], vs = v * fy * scale[c];
        to_cx -= us * p.view_axes[6 + c];
        to_cy -= vs * p.view_axes[6 + c];
        const Floats g0 = us, g1 = vs, g2 = -(us * p.cx + vs * p.cy);  // of the axis in the camera
        for (int r = 0; r < 3; ++r) to_turn[3 * r + c] = R[r] * g0 + R[3 + r] * g1 + R[6 + r] * g2;
    }
    const Floats w = p.q[0], x = p.q[1], y = p.q[2], z = p.q[3];
    const Floats* t = to_turn;
    Floats to_q[4] = {
        2.0f * (x * (t[7] - t[5]) + y * (t[2] - t[6]) + z * (t[3] - t[1])),
        2.0f * (-2.0f * x * (t[4] + t[8]) + y * (t[3] + t[1]) + z * (t[6] + t[2]) + w * (t[7] - t[5])),
        2.0f * (x * (t[3] + t[1]) - 2.0f * y * (t[0] + t[8]) + z * (t[7] + t[5]) + w * (t[2] - t[6])),
        2.0f * (x * (t[6] + t[2]) + y * (t[7] + t[5]) - 2.0f * z * (t[0] + t[4]) + w * (t[3] - t[1])),
    };
    const Floats along = w * to_q[0] + x * to_q[1] + y * to_q[2] + z * to_q[3];
    for (int k = 0; k < 4; ++k) to_q[k] = (to_q[k] - p.q[k] * along) / p.length;
    // x / z and y / z: from the centre in the picture, and from the shape where it follows them
    Floats to_px = gx * camera.focal[0], to_py = gy * camera.focal[1];
    to_px += chosen((p.px > camera.limits[0]) & (p.px < camera.limits[1]), to_cx, (Floats)0.0f);
    to_py += chosen((p.py > camera.limits[2]) & (p.py < camera.limits[3]), to_cy, (Floats)0.0f);
    const Vector to_seen = {to_px * p.inverse_depth, to_py * p.inverse_depth,
                            -(to_px * p.px + to_py * p.py + to_inverse_depth) * p.inverse_depth};
    Vector to_mean = {R[0] * to_seen.x + R[3] * to_seen.y + R[6] * to_seen.z,
                      R[1] * to_seen.x + R[4] * to_seen.y + R[7] * to_seen.z,
                      R[2] * to_seen.x + R[5] * to_seen.y + R[8] * to_seen.z};
    const Floats to_logit = *(Floats*)sums[5] * p.opacity * (1.0f - p.opacity);
    if (a.has_colors) {
        Floats inverse_length;
        Vector m = vectors(a.means + 3 * first, valid);
        const Vector d = unit({m.x - camera.center[0], m.y - camera.center[1], m.z - camera.center[2]}, &inverse_length);
        alignas(64) float basis[SPECTRUM][LANES], along_basis[SPECTRUM][LANES] = {};
        harmonics_of(d, (Floats*)basis);
        for (int i = 0; i < valid; ++i) {
            const long n = first + i;
            const float* spectrum = a.harmonics + n * a.coefficients * 3;
            float* gradient = a.harmonics_gradient + n * a.coefficients * 3;
            float g[3];
            for (int c = 0; c < 3; ++c)
                g[c] = a.counts[n] && a.shown[n * a.channels + c] > 0.0f ? a.channels_gradient[n * a.channels + c] : 0.0f;
            for (int k = 0; k < a.coefficients; ++k) {
                along_basis[k][i] = spectrum[3 * k] * g[0] + spectrum[3 * k + 1] * g[1] + spectrum[3 * k + 2] * g[2];
                for (int c = 0; c < 3; ++c) gradient[3 * k + c] = g[c] * basis[k][i];
            }
        }
        if (a.coefficients > 1) {
            const Vector s = harmonics_slope(d, (Floats*)along_basis, a.coefficients);
            const Floats radial = s.x * d.x + s.y * d.y + s.z * d.z;
            to_mean.x += (s.x - radial * d.x) * inverse_length;
            to_mean.y += (s.y - radial * d.y) * inverse_length;
            to_mean.z += (s.z - radial * d.z) * inverse_length;
        }
    }
    const int* counts = a.counts + first;
    const Floats mean[3] = {to_mean.x, to_mean.y, to_mean.z};
    to_rows<3>(mean, counts, valid, a.means_gradient + 3 * first);
    to_rows<3>(to_scale, counts, valid, a.scales_gradient + 3 * first);
    to_rows<4>(to_q, counts, valid, a.quaternions_gradient + 4 * first);
    to_rows<1>(&to_logit, counts, valid, a.logits_gradient + first);
}

}  // namespace unscene
