// The proposal: sixteen rays in lanes. Its density is the exponential of the summed features of its grid.
#pragma once
#include "occupancy.h"

namespace unscene {

constexpr int MOST_PROPOSAL_SAMPLES = 128;

struct ProposalArguments {
    const float *origins, *directions, *jitter, *table;  // R 3, R 3, R or null, rows
    const Level* levels;
    const unsigned* occupancy;                     // or null
    float *weights, *fine_edges, *optical_depths;  // R S, R fine_samples + 1, blocks S 16
    const float* weights_gradient;                 // R S
    float *learning, *table_gradient;              // blocks 4 S 16: points x, y, z and their gradients; rows
    int* learning_count;                           // blocks
    int rays, level_count, samples, fine_samples;
    Spacing spacing;
};

// Sixteen rays; past the last ray, copies of it.
struct RayBlock {
    Points origins, directions;
    Floats jitter;
    int first, count;
};

UNSCENE_INLINE RayBlock ray_block(const ProposalArguments& a, int block) {
    RayBlock rays;
    rays.first = block * LANES;
    rays.count = a.rays - rays.first < LANES ? a.rays - rays.first : LANES;
    for (int i = 0; i < LANES; ++i) {
        const long ray = rays.first + (i < rays.count ? i : rays.count - 1);
        rays.origins.x[i] = a.origins[3 * ray];
        rays.origins.y[i] = a.origins[3 * ray + 1];
        rays.origins.z[i] = a.origins[3 * ray + 2];
        rays.directions.x[i] = a.directions[3 * ray];
        rays.directions.y[i] = a.directions[3 * ray + 1];
        rays.directions.z[i] = a.directions[3 * ray + 2];
        rays.jitter[i] = a.jitter ? a.jitter[ray] : 0.5f;
    }
    return rays;
}

// Edges of equal intervals, all but the first and the last shifted by the ray's jitter.
struct UniformEdges {
    Floats shift;
    int samples;
    UNSCENE_INLINE UniformEdges of(Floats jitter, int samples) { return {(jitter - 0.5f) / (float)samples, samples}; }
    inline __attribute__((always_inline)) Floats operator()(int k) const {
        if (k == 0) return (Floats)0.0f;
        if (k == samples) return (Floats)1.0f;
        return (float)k / (float)samples + shift;
    }
};

// Edges of new intervals that hold equal shares of one ray's histogram (`sample_edges` of stepfun.py).
UNSCENE_INLINE void sample_edges(const float (*edges)[LANES], const float (*cdf)[LANES], int lane, int samples,
                                 float jitter, int count, float* fine_edges) {
    int above = 1;
    for (int i = 0; i <= count; ++i) {
        const float u = ((float)i + jitter) / (float)(count + 1);
        while (above < samples && cdf[above][lane] <= u) ++above;
        const float c0 = cdf[above - 1][lane], c1 = cdf[above][lane];
        const float e0 = edges[above - 1][lane], e1 = edges[above][lane];
        float fraction = (u - c0) / (c1 - c0 > 1e-9f ? c1 - c0 : 1e-9f);
        fraction = fraction < 0.0f ? 0.0f : fraction > 1.0f ? 1.0f : fraction;
        fine_edges[i] = e0 + fraction * (e1 - e0);
    }
}

// One block of rays: weights, the field's sample edges, and optical depths for the backward pass.
inline void proposal_forward(const ProposalArguments& a, int block) {
    const RayBlock rays = ray_block(a, block);
    const UniformEdges edge = UniformEdges::of(rays.jitter, a.samples);
    alignas(64) float edges[MOST_PROPOSAL_SAMPLES + 1][LANES], cdf[MOST_PROPOSAL_SAMPLES + 1][LANES];
    alignas(64) float weights[MOST_PROPOSAL_SAMPLES][LANES];
    float* optical_depths = a.optical_depths + (long)block * a.samples * LANES;
    Floats before = edge(0), start = distance(before, a.spacing), transmittance = 1.0f, total = 0.0f;
    *(Floats*)edges[0] = before;
    *(Floats*)cdf[0] = total;
    for (int k = 0; k < a.samples; ++k) {
        const Floats after = edge(k + 1), end = distance(after, a.spacing);
        const Points points = along(rays.origins, rays.directions, distance((before + after) * 0.5f, a.spacing));
        Floats raw = 0.0f;
        for (int l = 0; l < a.level_count; ++l) raw += interpolated(a.table, cells_of(points, a.levels[l]));
        const Floats optical_depth = density(raw) * occupied(a.occupancy, points) * (end - start);
        const Floats passed = exponential(-optical_depth);
        const Floats weight = k == a.samples - 1 ? transmittance : transmittance * (1.0f - passed);
        store(optical_depths + k * LANES, optical_depth);
        *(Floats*)weights[k] = weight;
        total += weight + 0.01f / (float)a.samples;  // no interval is given up for good
        *(Floats*)cdf[k + 1] = total;
        *(Floats*)edges[k + 1] = after;
        transmittance *= passed;
        before = after;
        start = end;
    }
    const Floats scale = 1.0f / total;
    for (int k = 1; k <= a.samples; ++k) *(Floats*)cdf[k] *= scale;
    for (int i = 0; i < rays.count; ++i) {
        const long ray = rays.first + i;
        for (int k = 0; k < a.samples; ++k) a.weights[ray * a.samples + k] = weights[k][i];
        sample_edges(edges, cdf, i, a.samples, rays.jitter[i], a.fine_samples,
                     a.fine_edges + ray * (a.fine_samples + 1));
    }
}

// One block of rays: the samples that have a gradient, with their points. Only what lies beside the field's weights has
// one, an eighth of all samples once the proposal has found the surfaces.
inline void proposal_backward(const ProposalArguments& a, int block) {
    const RayBlock rays = ray_block(a, block);
    const UniformEdges edge = UniformEdges::of(rays.jitter, a.samples);
    const int samples = a.samples, most = samples * LANES;
    const float* optical_depths = a.optical_depths + (long)block * most;
    alignas(64) float passed[MOST_PROPOSAL_SAMPLES][LANES], gradient[MOST_PROPOSAL_SAMPLES][LANES];
    Floats transmittance = 1.0f;
    for (int k = 0; k < samples; ++k) {  // passed[k]: the light behind interval k
        transmittance *= exponential(-load(optical_depths + k * LANES));
        *(Floats*)passed[k] = transmittance;
        for (int i = 0; i < LANES; ++i)
            gradient[k][i] = i < rays.count ? a.weights_gradient[(long)(rays.first + i) * samples + k] : 0.0f;
    }
    float* learning = a.learning + 4L * block * most;
    int count = 0;
    // the last interval is opaque whatever its density
    Floats behind = samples > 1 ? *(Floats*)gradient[samples - 1] * *(Floats*)passed[samples - 2] : (Floats)0.0f;
    for (int k = samples - 2; k >= 0; --k) {
        const Floats optical_depth = load(optical_depths + k * LANES);
        const Floats raw_gradient = (*(Floats*)gradient[k] * *(Floats*)passed[k] - behind) * optical_depth;
        const Floats before = k ? *(Floats*)passed[k - 1] : (Floats)1.0f;
        behind += *(Floats*)gradient[k] * before * (1.0f - exponential(-optical_depth));
        if (!any(raw_gradient != 0.0f)) continue;
        const Points points = along(rays.origins, rays.directions, distance((edge(k) + edge(k + 1)) * 0.5f, a.spacing));
        for (int i = 0; i < LANES; ++i) {
            if (raw_gradient[i] == 0.0f) continue;
            learning[count] = points.x[i];
            learning[most + count] = points.y[i];
            learning[2 * most + count] = points.z[i];
            learning[3 * most + count++] = raw_gradient[i];
        }
    }
    for (int i = count; i < (count + LANES - 1) / LANES * LANES; ++i)
        for (int row = 0; row < 4; ++row) learning[row * most + i] = 0.0f;
    a.learning_count[block] = count;
}

// One level, all rays: adds to the table's gradient. The finest level, which misses the cache most, is task 0.
inline void proposal_scatter(const ProposalArguments& a, int task) {
    const Level level = a.levels[a.level_count - 1 - task];
    const long most = (long)a.samples * LANES;
    for (int block = 0; block * LANES < a.rays; ++block) {
        const float* learning = a.learning + 4 * block * most;
        for (int i = 0; i < a.learning_count[block]; i += LANES) {
            const Points points = {load(learning + i), load(learning + most + i), load(learning + 2 * most + i)};
            add_gradient<1>(a.table_gradient, cells_of(points, level), learning + 3 * most + i);
        }
    }
}

}  // namespace unscene
