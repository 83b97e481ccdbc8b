// The passes of a resample in floats, each sum in the order of its taps.
#pragma once

#include "simd/convolve-inl.hpp"

namespace lt {
namespace {

// Values [begin, stop) of the rows, those of one place side by side.
template <class V, class In>
void turn_rows(const In* const* rows, int64_t begin, int64_t stop, float* out) {
    int64_t at = begin;
    for (; at + TOGETHER <= stop; at += TOGETHER, out += TOGETHER * TOGETHER) {
        typename V::Eight block[TOGETHER];
        for (int r = 0; r < TOGETHER; ++r) block[r] = V::load_eight(rows[r] + at);
        V::transpose(block);
        for (int r = 0; r < TOGETHER; ++r) store_floats(block[r], out + r * TOGETHER);
    }
    for (; at < stop; ++at, out += TOGETHER)
        for (int r = 0; r < TOGETHER; ++r) out[r] = static_cast<float>(rows[r][at]);
}

// Pixels [start, stop) of the rows, the nearest for those beyond them.
template <class V, class In>
void turn_pixels(const Taps& taps, int pixel, int channels, const In* const* rows, float* out) {
    const int64_t first = taps.inside(taps.start), stop = taps.inside(taps.stop - 1) + 1;
    const int64_t size = int64_t{pixel} * TOGETHER;
    float* inside = out + (first - taps.start) * size;
    turn_rows<V>(rows, first * pixel, (stop - 1) * pixel + channels, inside);
    const auto copy = [&](const float* from, float* to) { std::copy_n(from, channels * TOGETHER, to); };
    for (int64_t x = taps.start; x < first; ++x) copy(inside, out + (x - taps.start) * size);
    for (int64_t x = stop; x < taps.stop; ++x) copy(inside + (stop - 1 - first) * size, out + (x - taps.start) * size);
}

template <class V, class In>
void columns_real(const Taps& taps, int pixel, int channels, const Arithmetic& how, const In* const* rows,
                  float* turned, float* const* out) {
    using Eight = typename V::Eight;
    const int64_t n = taps.outputs(), start = int64_t{taps.start} * pixel, step = int64_t{pixel} * TOGETHER;
    turn_pixels<V>(taps, pixel, channels, rows, turned);
    Eight block[TOGETHER];
    int64_t at = 0;
    int filled = 0;
    const auto store = [&] {
        V::transpose(block);
        for (int r = 0; r < TOGETHER; ++r) store_floats(block[r], out[r] + at);
        at += TOGETHER, filled = 0;
    };
    for (int64_t j = 0; j < n; ++j) {
        const float* weights = taps.real.data() + j;
        const float* x = turned + (int64_t{taps.first[j]} * pixel - start) * TOGETHER;
        const int count = taps.count[j], rounded = static_cast<int>(how.rounded(count - 1));
        for (int c = 0; c < channels; ++c, x += TOGETHER) {
            Eight sum;
            int k = 1;
            if (how.order == Order::second && count > 1)
                sum = with_product<V, true>(V::load_eight(x), weights[0],
                                            V::load_eight(x + step) * (weights[n] - Eight{})), ++k;
            else
                sum = V::load_eight(x) * (weights[0] - Eight{});
            for (; k <= rounded; ++k) sum = with_product<V, false>(V::load_eight(x + k * step), weights[k * n], sum);
            for (; k < count; ++k) sum = with_product<V, true>(V::load_eight(x + k * step), weights[k * n], sum);
            block[filled++] = sum;
            if (filled == TOGETHER) store();
        }
    }
    if (filled == 0) return;
    for (int r = filled; r < TOGETHER; ++r) block[r] = Eight{};
    store();
}

// Rows may be those of an image, behind which nothing is read.
template <class V, class In>
void rows_real(const Taps& taps, int64_t i, const Arithmetic& how, const In* const* rows, int64_t n, float* out) {
    const float* weights = taps.real.data() + i;
    const int64_t count = taps.count[static_cast<size_t>(i)], rounded = how.rounded(count - 1);
    const int64_t whole = n / FLOATS<V> * FLOATS<V>;
    const bool second = how.order == Order::second && count > 1;
    const auto term = [&](int64_t k) {
        if (second && k < 2) k = 1 - k;
        return std::pair{weights[k * taps.outputs()], rows[k]};
    };
    sum_terms<V>(count, rounded, term, 0, whole, out);
    if (whole == n) return;
    for (int64_t k = 0; k < count; ++k) {
        const auto [weight, row] = term(k);
        k == 0 ? scale(weight, row + whole, n - whole, out + whole)
               : accumulate(k > rounded, weight, row + whole, n - whole, out + whole);
    }
}

// The first and the last of the one or two pixels of each output.
template <class In>
void pairs(const Taps& taps, int pixel, int channels, const In* row, float* first, float* last) {
    for (int64_t j = 0; j < taps.outputs(); ++j) {
        const In* x = row + taps.inside(taps.first[j]) * pixel;
        const In* other = row + taps.inside(taps.first[j] + taps.count[j] - 1) * pixel;
        for (int c = 0; c < channels; ++c) *first++ = static_cast<float>(x[c]), *last++ = static_cast<float>(other[c]);
    }
}

template <bool F>
float plus(float x, float weight, float sum) {
    if constexpr (F) return fused(x, weight, sum);
    return sum + x * weight;
}

// Of two rows, the first pixels of outputs and the last: n sums of four products, weights multiplied before.
template <bool F>
void joint_as(const Corners& at, int64_t n, float* __restrict out) {
    for (int64_t i = 0; i < n; ++i) {
        float sum = at.top[1][i] * (at.rows[0] * at.columns[1][i]);
        sum = plus<F>(at.top[0][i], at.rows[0] * at.columns[0][i], sum);
        sum = plus<F>(at.bottom[0][i], at.rows[1] * at.columns[0][i], sum);
        out[i] = plus<F>(at.bottom[1][i], at.rows[1] * at.columns[1][i], sum);
    }
}

void joint(const Corners& at, bool fma, int64_t n, float* out) {
    (fma ? joint_as<true> : joint_as<false>)(at, n, out);
}

}  // namespace
}  // namespace lt
