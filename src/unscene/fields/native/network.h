// The field's two-layer network for the sixteen samples of one ray: hidden units, inputs or outputs in lanes.
#pragma once
#include "lanes.h"

namespace unscene {

constexpr int OUTPUTS = 12;  // raw density, raw colour 3, appearance 8
#ifdef __AVX512F__
constexpr int ROWS = 8;  // samples worked on together: as many as there are registers for their sums
#else
constexpr int ROWS = 4;
#endif

// Weights as torch keeps them, and turned over, in rows of lanes padded with zeros.
template <int INPUTS, int HIDDEN> struct Network {
    static constexpr int PADDED_INPUTS = (INPUTS + LANES - 1) / LANES * LANES;
    alignas(64) float hidden[HIDDEN][PADDED_INPUTS], hidden_turned[INPUTS][HIDDEN], hidden_bias[HIDDEN];
    alignas(64) float output[OUTPUTS][HIDDEN], output_turned[HIDDEN][LANES], output_bias[LANES];

    void read(const float* weight_hidden, const float* bias_hidden, const float* weight_output,
              const float* bias_output) {
        __builtin_memset(this, 0, sizeof *this);
        for (int h = 0; h < HIDDEN; ++h) {
            hidden_bias[h] = bias_hidden[h];
            for (int i = 0; i < INPUTS; ++i) hidden[h][i] = hidden_turned[i][h] = weight_hidden[h * INPUTS + i];
            for (int o = 0; o < OUTPUTS; ++o) output[o][h] = output_turned[h][o] = weight_output[o * HIDDEN + h];
        }
        for (int o = 0; o < OUTPUTS; ++o) output_bias[o] = bias_output[o];
    }
};

// Sums over samples; hidden_turned etc. as above.
template <int INPUTS, int HIDDEN> struct NetworkGradient {
    alignas(64) float hidden_turned[INPUTS][HIDDEN], hidden_bias[HIDDEN];
    alignas(64) float output_turned[HIDDEN][LANES], output_bias[LANES];

    void clear() { __builtin_memset(this, 0, sizeof *this); }

    // Four parameters one after the other, as torch keeps them.
    void write(float* flat) const {
        for (int h = 0; h < HIDDEN; ++h)
            for (int i = 0; i < INPUTS; ++i) *flat++ = hidden_turned[i][h];
        for (int h = 0; h < HIDDEN; ++h) *flat++ = hidden_bias[h];
        for (int o = 0; o < OUTPUTS; ++o)
            for (int h = 0; h < HIDDEN; ++h) *flat++ = output_turned[h][o];
        for (int o = 0; o < OUTPUTS; ++o) *flat++ = output_bias[o];
    }
};

// sums[r] += rows[r][k] * matrix[k] over k: the one loop all products below come down to.
template <int COUNT, int ROW_STRIDE, int K, int K_STRIDE, int MATRIX_STRIDE>
UNSCENE_INLINE void add_products(Floats (&sums)[COUNT], const float* rows, const float* matrix) {
#pragma nounroll
    for (int k = 0; k < K; ++k) {
        const Floats column = *(const Floats*)(matrix + k * MATRIX_STRIDE);
#pragma unroll
        for (int r = 0; r < COUNT; ++r) sums[r] += rows[r * ROW_STRIDE + k * K_STRIDE] * column;
    }
}

// inputs[s] -> hidden[s] after its ReLU, and the raw outputs of all samples.
template <int INPUTS, int PADDED, int HIDDEN>
UNSCENE_INLINE void network_forward(const Network<INPUTS, HIDDEN>& network, const float (*inputs)[PADDED],
                                    float (*hidden)[HIDDEN], Floats* outputs) {
    for (int h = 0; h < HIDDEN; h += LANES)
        for (int s = 0; s < LANES; s += ROWS) {
            Floats sums[ROWS];
            for (int r = 0; r < ROWS; ++r) sums[r] = *(const Floats*)(network.hidden_bias + h);
            add_products<ROWS, PADDED, INPUTS, 1, HIDDEN>(sums, inputs[s], network.hidden_turned[0] + h);
            for (int r = 0; r < ROWS; ++r) *(Floats*)(hidden[s + r] + h) = at_least(sums[r], 0.0f);
        }
    for (int s = 0; s < LANES; s += ROWS) {
        Floats sums[ROWS];
        for (int r = 0; r < ROWS; ++r) sums[r] = *(const Floats*)network.output_bias;
        add_products<ROWS, HIDDEN, HIDDEN, 1, LANES>(sums, hidden[s], network.output_turned[0]);
        for (int r = 0; r < ROWS; ++r) outputs[s + r] = sums[r];
    }
}

// From the outputs' gradients (zeros past OUTPUTS) to those of the network, added up, and of the inputs.
template <int INPUTS, int PADDED, int HIDDEN>
UNSCENE_INLINE void network_backward(const Network<INPUTS, HIDDEN>& network, const float (*inputs)[PADDED],
                                     const float (*hidden)[HIDDEN], const float (*outputs_gradient)[LANES],
                                     NetworkGradient<INPUTS, HIDDEN>& gradient, float (*inputs_gradient)[PADDED]) {
    alignas(64) float hidden_gradient[LANES][HIDDEN];
    for (int h = 0; h < HIDDEN; h += LANES)
        for (int s = 0; s < LANES; s += ROWS) {
            Floats sums[ROWS] = {};
            add_products<ROWS, LANES, OUTPUTS, 1, HIDDEN>(sums, outputs_gradient[s], network.output[0] + h);
            for (int r = 0; r < ROWS; ++r)
                *(Floats*)(hidden_gradient[s + r] + h) =
                    *(const Floats*)(hidden[s + r] + h) > 0.0f ? sums[r] : (Floats)0.0f;
        }
    for (int s = 0; s < LANES; ++s) {
        *(Floats*)gradient.output_bias += *(const Floats*)outputs_gradient[s];
        for (int h = 0; h < HIDDEN; h += LANES)
            *(Floats*)(gradient.hidden_bias + h) += *(const Floats*)(hidden_gradient[s] + h);
    }
    for (int h = 0; h < HIDDEN; h += ROWS) {
        Floats sums[ROWS];
        for (int r = 0; r < ROWS; ++r) sums[r] = *(const Floats*)gradient.output_turned[h + r];
        add_products<ROWS, 1, LANES, HIDDEN, LANES>(sums, hidden[0] + h, outputs_gradient[0]);
        for (int r = 0; r < ROWS; ++r) *(Floats*)gradient.output_turned[h + r] = sums[r];
    }
    for (int h = 0; h < HIDDEN; h += LANES)
        for (int i = 0; i < INPUTS; i += ROWS) {
            Floats sums[ROWS];
            for (int r = 0; r < ROWS; ++r) sums[r] = *(const Floats*)(gradient.hidden_turned[i + r] + h);
            add_products<ROWS, 1, LANES, PADDED, HIDDEN>(sums, inputs[0] + i, hidden_gradient[0] + h);
            for (int r = 0; r < ROWS; ++r) *(Floats*)(gradient.hidden_turned[i + r] + h) = sums[r];
        }
    for (int i = 0; i < PADDED; i += LANES)
        for (int s = 0; s < LANES; s += ROWS) {
            Floats sums[ROWS] = {};
            add_products<ROWS, HIDDEN, HIDDEN, 1, PADDED>(sums, hidden_gradient[s], network.hidden[0] + i);
            for (int r = 0; r < ROWS; ++r) *(Floats*)(inputs_gradient[s + r] + i) = sums[r];
        }
}

}  // namespace unscene
