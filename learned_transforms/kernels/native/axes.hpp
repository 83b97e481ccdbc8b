// The passes of a resample in floats, each sum in the order of its taps.
#pragma once

#include "windows.hpp"

namespace lt {
namespace {

// Values [begin, stop) of the rows, those of one place side by side.
template <class In>
void turn_rows(const In* const* rows, int64_t begin, int64_t stop, float* out) {
    int64_t at = begin;
    for (; at + TOGETHER <= stop; at += TOGETHER, out += TOGETHER * TOGETHER) {
        Eight block[TOGETHER];
        for (int r = 0; r < TOGETHER; ++r) block[r] = load_eight(rows[r] + at);
        transpose(block);
        for (int r = 0; r < TOGETHER; ++r) store_floats(block[r], out + r * TOGETHER);
    }
    for (; at < stop; ++at, out += TOGETHER)
        for (int r = 0; r < TOGETHER; ++r) out[r] = static_cast<float>(rows[r][at]);
}

template <class In>
void columns_real(const Taps& taps, int pixel, int channels, const Arithmetic& how, const In* const* rows,
                  float* turned, float* const* out) {
    const int64_t n = taps.outputs(), start = int64_t{taps.start} * pixel, step = int64_t{pixel} * TOGETHER;
    turn_rows(rows, start, int64_t{taps.stop - 1} * pixel + channels, turned);
    Eight block[TOGETHER];
    int64_t at = 0;
    int filled = 0;
    const auto store = [&] {
        transpose(block);
        for (int r = 0; r < TOGETHER; ++r) store_floats(block[r], out[r] + at);
        at += TOGETHER, filled = 0;
    };
    for (int64_t j = 0; j < n; ++j) {
        const float* weights = taps.real.data() + j;
        const float* x = turned + (int64_t{taps.first[j]} * pixel - start) * TOGETHER;
        const int count = taps.count[j], rounded = static_cast<int>(how.rounded(count - 1));
        for (int c = 0; c < channels; ++c, x += TOGETHER) {
            Eight sum = load_eight(x) * (weights[0] - Eight{});
            int k = 1;
            for (; k <= rounded; ++k) sum = with_product<false>(load_eight(x + k * step), weights[k * n], sum);
            for (; k < count; ++k) sum = with_product<true>(load_eight(x + k * step), weights[k * n], sum);
            block[filled++] = sum;
            if (filled == TOGETHER) store();
        }
    }
    if (filled == 0) return;
    for (int r = filled; r < TOGETHER; ++r) block[r] = Eight{};
    store();
}

// Rows may be those of an image, behind which nothing is read.
template <class In>
void rows_real(const Taps& taps, int64_t i, const Arithmetic& how, const In* const* rows, int64_t n, float* out) {
    const float* weights = taps.real.data() + i;
    const int64_t count = taps.count[static_cast<size_t>(i)], rounded = how.rounded(count - 1), whole = n / LANES * LANES;
    const auto term = [&](int64_t k) { return std::pair{weights[k * taps.outputs()], rows[k]}; };
    sum_terms(count, rounded, term, 0, whole, out);
    if (whole == n) return;
    scale(weights[0], rows[0] + whole, n - whole, out + whole);
    for (int64_t k = 1; k < count; ++k)
        accumulate(k > rounded, weights[k * taps.outputs()], rows[k] + whole, n - whole, out + whole);
}

}  // namespace
}  // namespace lt
