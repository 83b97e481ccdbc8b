// Sums of a blur, which stay in registers from the first tap to the last.
#pragma once

#include "vectors.hpp"

namespace lt {
namespace {

// Every row that is loaded joins all of the sums that want it, each in the order of its taps.
template <bool F, class In>
void blur_rows(const float* taps, int64_t count, const In* const* rows, int64_t n, float* const* out) {
    constexpr int WIDE = 2;
    for (int64_t at = 0; at < n; at += WIDE * LANES) {
        Vector sum[BLURRED][WIDE];
        const auto join = [&](int64_t row, int r) {
            for (int v = 0; v < WIDE; ++v)
                sum[r][v] = with_product<F>(load_floats(rows[row] + at + v * LANES), taps[row - r], sum[r][v]);
        };
#pragma GCC unroll 8
        for (int k = 0; k < BLURRED; ++k) {
            for (int v = 0; v < WIDE; ++v) sum[k][v] = load_floats(rows[k] + at + v * LANES) * (taps[0] - Vector{});
#pragma GCC unroll 8
            for (int r = 0; r < k; ++r) join(k, r);
        }
        for (int64_t row = BLURRED; row < count; ++row)
#pragma GCC unroll 8
            for (int r = 0; r < BLURRED; ++r) join(row, r);
#pragma GCC unroll 8
        for (int k = 1; k < BLURRED; ++k)
#pragma GCC unroll 8
            for (int r = k; r < BLURRED; ++r) join(count - 1 + k, r);
        for (int r = 0; r < BLURRED; ++r)
            for (int v = 0; v < WIDE; ++v) store_floats(sum[r][v], out[r] + at + v * LANES);
    }
}

// Fewer taps than rows at once.
template <bool F, class In>
void blur_row(const float* taps, int64_t count, const In* const* rows, int64_t n, float* out) {
    for (int64_t at = 0; at < n; at += LANES) {
        Vector sum = load_floats(rows[0] + at) * (taps[0] - Vector{});
        for (int64_t k = 1; k < count; ++k) sum = with_product<F>(load_floats(rows[k] + at), taps[k], sum);
        store_floats(sum, out + at);
    }
}

template <bool F, class In>
void blur_down_as(const float* taps, int64_t count, const In* const* rows, int64_t n, float* const* out) {
    if (count >= BLURRED) return blur_rows<F>(taps, count, rows, n, out);
    for (int r = 0; r < BLURRED; ++r) blur_row<F>(taps, count, rows + r, n, out[r]);
}

template <class In>
void blur_down(const float* taps, int64_t count, bool fma, const In* const* rows, int64_t n, float* const* out) {
    (fma ? blur_down_as<true, In> : blur_down_as<false, In>)(taps, count, rows, n, out);
}

template <bool F, int WIDE>
void blur_block(const float* taps, int64_t count, int64_t step, const float* in, float* out) {
    Vector sum[WIDE];
    for (int v = 0; v < WIDE; ++v) sum[v] = load_floats(in + v * LANES) * (taps[0] - Vector{});
    for (int64_t k = 1; k < count; ++k)
        for (int v = 0; v < WIDE; ++v) sum[v] = with_product<F>(load_floats(in + k * step + v * LANES), taps[k], sum[v]);
    for (int v = 0; v < WIDE; ++v) store_floats(sum[v], out + v * LANES);
}

template <bool F>
void blur_along_as(const float* taps, int64_t count, int64_t step, const float* in, int64_t n, float* out) {
    int64_t at = 0;
    for (; at + 3 * LANES < n; at += 4 * LANES) blur_block<F, 4>(taps, count, step, in + at, out + at);
    for (; at < n; at += LANES) blur_block<F, 1>(taps, count, step, in + at, out + at);
}

void blur_along(const float* taps, int64_t count, int64_t step, bool fma, const float* in, int64_t n, float* out) {
    (fma ? blur_along_as<true> : blur_along_as<false>)(taps, count, step, in, n, out);
}

}  // namespace
}  // namespace lt
