// The field along rays: encoding, network and compositing of sixteen samples a ray, the samples in lanes.
#pragma once
#include "grid.h"
#include "network.h"
#include "occupancy.h"

namespace unscene {

constexpr int BLOCK_RAYS = 16;    // encoded together, level by level
constexpr int CHUNK_RAYS = 128;   // share one copy of the network and one sum of its gradients
constexpr int APPEARANCE = 8;

struct FieldArguments {
    const float *origins, *directions, *edges, *table;  // R 3, R 3, R 17, rows FEATURES
    const Level* levels;
    const float *weight_hidden, *bias_hidden, *weight_output, *bias_output;
    const unsigned* occupancy;            // or null
    float *weights, *color, *appearance;  // R 16, R 3, R 8
    float* encoded;                       // R 16 PADDED_INPUTS, or null where no gradient is wanted
    const float *weights_gradient, *color_gradient, *appearance_gradient;
    float* encoded_gradient;              // level_count R 16 FEATURES
    float *network_gradient, *table_gradient;  // chunks parameters, rows FEATURES
    int rays, level_count, learns_geometry;  // learns_geometry: 0 keeps gradients from the weights
    Spacing spacing;
};

UNSCENE_INLINE Points sample_points(const FieldArguments& a, long ray) {
    const float* edges = a.edges + ray * (LANES + 1);
    const Floats t = distance((load(edges) + load(edges + 1)) * 0.5f, a.spacing);
    const float *origin = a.origins + 3 * ray, *direction = a.directions + 3 * ray;
    return along({origin[0], origin[1], origin[2]}, {direction[0], direction[1], direction[2]}, t);
}

// What one ray's samples are made of, and what they come to.
struct Composite {
    Floats color[3];
    Floats weights, optical_depth, passed, transmittance;  // passed: the share of light an interval lets through

    UNSCENE_INLINE Composite of(const FieldArguments& a, long ray, const Floats* outputs) {
        alignas(64) float rows[LANES][LANES];
        for (int s = 0; s < LANES; ++s) *(Floats*)rows[s] = outputs[s];
        Floats raw[4];
        for (int s = 0; s < LANES; ++s)
            for (int c = 0; c < 4; ++c) raw[c][s] = rows[s][c];
        const float* edges = a.edges + ray * (LANES + 1);
        Composite x;
        for (int c = 0; c < 3; ++c) x.color[c] = sigmoid(raw[c + 1]);
        x.optical_depth = density(raw[0]) * (distance(load(edges + 1), a.spacing) - distance(load(edges), a.spacing));
        if (a.occupancy) x.optical_depth *= occupied(a.occupancy, sample_points(a, ray));
        x.passed = exponential(-x.optical_depth);
        x.transmittance = exponential(-sums_before(x.optical_depth));
        x.weights = x.transmittance * (1.0f - x.passed);
        x.weights[LANES - 1] = x.transmittance[LANES - 1];  // so that weights sum to one
        return x;
    }
};

template <int FEATURES, int INPUTS, int HIDDEN> struct Field {
    typedef Network<INPUTS, HIDDEN> Net;
    static constexpr int PADDED = Net::PADDED_INPUTS;

    static void encode(const FieldArguments& a, long first, int count, float (*inputs)[LANES][PADDED]) {
        alignas(64) Points points[BLOCK_RAYS];
        for (int r = 0; r < count; ++r) points[r] = sample_points(a, first + r);
        for (int l = 0; l < a.level_count; ++l)
            for (int r = 0; r < count; ++r)
                interpolate<FEATURES>(a.table, cells_of(points[r], a.levels[l]), inputs[r][0] + l * FEATURES, PADDED);
    }

    // One chunk of rays: weights, composited colour and appearance.
    static void forward(const FieldArguments& a, int chunk) {
        Net network;
        network.read(a.weight_hidden, a.bias_hidden, a.weight_output, a.bias_output);
        alignas(64) float inputs[BLOCK_RAYS][LANES][PADDED] = {};
        const long end = (chunk + 1L) * CHUNK_RAYS < a.rays ? (chunk + 1L) * CHUNK_RAYS : a.rays;
        for (long first = (long)chunk * CHUNK_RAYS; first < end; first += BLOCK_RAYS) {
            const int count = end - first < BLOCK_RAYS ? (int)(end - first) : BLOCK_RAYS;
            encode(a, first, count, inputs);
            if (a.encoded)
                __builtin_memcpy(a.encoded + first * LANES * PADDED, inputs, count * sizeof inputs[0]);
            for (int r = 0; r < count; ++r) {
                alignas(64) float hidden[LANES][HIDDEN];
                Floats outputs[LANES];
                network_forward<INPUTS, PADDED, HIDDEN>(network, inputs[r], hidden, outputs);
                compose(a, first + r, Composite::of(a, first + r, outputs), outputs);
            }
        }
    }

    UNSCENE_INLINE void compose(const FieldArguments& a, long ray, const Composite& x, const Floats* outputs) {
        store(a.weights + ray * LANES, x.weights);
        for (int c = 0; c < 3; ++c) a.color[3 * ray + c] = sum(x.weights * x.color[c]);
        alignas(64) float weights[LANES], total[LANES];
        *(Floats*)weights = x.weights;
        Floats sums[2] = {};
        for (int s = 0; s < LANES; ++s) sums[s % 2] += weights[s] * outputs[s];
        *(Floats*)total = sums[0] + sums[1];
        for (int i = 0; i < APPEARANCE; ++i) a.appearance[APPEARANCE * ray + i] = total[4 + i];
    }

    // One chunk of rays: the network's gradient, and that of the encoded samples.
    static void backward(const FieldArguments& a, int chunk) {
        Net network;
        network.read(a.weight_hidden, a.bias_hidden, a.weight_output, a.bias_output);
        NetworkGradient<INPUTS, HIDDEN> gradient;
        gradient.clear();
        const long end = (chunk + 1L) * CHUNK_RAYS < a.rays ? (chunk + 1L) * CHUNK_RAYS : a.rays;
        for (long ray = (long)chunk * CHUNK_RAYS; ray < end; ++ray) {
            alignas(64) float inputs[LANES][PADDED], hidden[LANES][HIDDEN];
            alignas(64) float outputs_gradient[LANES][LANES], inputs_gradient[LANES][PADDED];
            Floats outputs[LANES];
            __builtin_memcpy(inputs, a.encoded + ray * LANES * PADDED, sizeof inputs);
            network_forward<INPUTS, PADDED, HIDDEN>(network, inputs, hidden, outputs);
            decompose(a, ray, Composite::of(a, ray, outputs), outputs, outputs_gradient);
            network_backward<INPUTS, PADDED, HIDDEN>(network, inputs, hidden, outputs_gradient, gradient,
                                                     inputs_gradient);
            for (int l = 0; l < a.level_count; ++l) {
                float* level = a.encoded_gradient + ((long)l * a.rays + ray) * LANES * FEATURES;
                for (int s = 0; s < LANES; ++s)
                    __builtin_memcpy(level + s * FEATURES, inputs_gradient[s] + l * FEATURES,
                                     sizeof(float) * FEATURES);
            }
        }
        constexpr long PARAMETERS = INPUTS * HIDDEN + HIDDEN + OUTPUTS * HIDDEN + OUTPUTS;
        gradient.write(a.network_gradient + chunk * PARAMETERS);
    }

    // The compositing backwards: gradients of the samples' raw outputs.
    UNSCENE_INLINE void decompose(const FieldArguments& a, long ray, const Composite& x, const Floats* outputs,
                                  float (*outputs_gradient)[LANES]) {
        alignas(64) float appearance_gradient[LANES] = {}, weights[LANES], projected[LANES], raw[4][LANES];
        for (int i = 0; i < APPEARANCE; ++i) appearance_gradient[4 + i] = a.appearance_gradient[APPEARANCE * ray + i];
        const Floats to_appearance = *(Floats*)appearance_gradient;
        for (int s = 0; s < LANES; ++s) projected[s] = sum(to_appearance * outputs[s]);
        Floats to_weights = *(Floats*)projected + load(a.weights_gradient + ray * LANES);
        for (int c = 0; c < 3; ++c) {
            const float to_color = a.color_gradient[3 * ray + c];
            to_weights += to_color * x.color[c];
            *(Floats*)raw[c + 1] = x.weights * to_color * x.color[c] * (1.0f - x.color[c]);
        }
        Floats to_density = {};
        if (a.learns_geometry) {
            const Floats behind = sums_after(to_weights * x.weights);
            to_density = (to_weights * x.transmittance * x.passed - behind) * x.optical_depth;
            to_density[LANES - 1] = 0.0f;  // the last interval is opaque whatever its density
        }
        *(Floats*)raw[0] = to_density;
        *(Floats*)weights = x.weights;
        for (int s = 0; s < LANES; ++s) {
            *(Floats*)outputs_gradient[s] = weights[s] * to_appearance;
            for (int c = 0; c < 4; ++c) outputs_gradient[s][c] = raw[c][s];
        }
    }

    // One level, all rays: adds to the table's gradient. The finest level, which misses the cache most, is task 0.
    static void scatter(const FieldArguments& a, int task) {
        const int level = a.level_count - 1 - task;
        const float* gradient = a.encoded_gradient + (long)level * a.rays * LANES * FEATURES;
        for (long ray = 0; ray < a.rays; ++ray)
            add_gradient<FEATURES>(a.table_gradient, cells_of(sample_points(a, ray), a.levels[level]),
                                   gradient + ray * LANES * FEATURES);
    }
};

}  // namespace unscene
