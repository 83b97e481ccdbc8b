// Sums over windows, which stay in registers from the first term to the last.
#pragma once

#include "simd/vector-inl.hpp"

namespace lt {
namespace {

// Every row that is loaded joins all of the sums that want it, each in the order of its taps.
template <class V, bool F, class In>
void blur_rows(const float* taps, int64_t count, const In* const* rows, int64_t n, float* const* out) {
    using Floats = typename V::Floats;
    constexpr int64_t LANES = FLOATS<V>, WIDE = 2;
    for (int64_t at = 0; at < n; at += WIDE * LANES) {
        Floats sum[BLURRED][WIDE];
        const auto join = [&](int64_t row, int r) {
            for (int v = 0; v < WIDE; ++v)
                sum[r][v] = with_product<V, F>(V::load_floats(rows[row] + at + v * LANES), taps[row - r], sum[r][v]);
        };
#pragma GCC unroll 8
        for (int k = 0; k < BLURRED; ++k) {
            for (int v = 0; v < WIDE; ++v) sum[k][v] = V::load_floats(rows[k] + at + v * LANES) * (taps[0] - Floats{});
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
template <class V, bool F, class In>
void blur_row(const float* taps, int64_t count, const In* const* rows, int64_t n, float* out) {
    using Floats = typename V::Floats;
    for (int64_t at = 0; at < n; at += FLOATS<V>) {
        Floats sum = V::load_floats(rows[0] + at) * (taps[0] - Floats{});
        for (int64_t k = 1; k < count; ++k) sum = with_product<V, F>(V::load_floats(rows[k] + at), taps[k], sum);
        store_floats(sum, out + at);
    }
}

template <class V, bool F, class In>
void blur_down_as(const float* taps, int64_t count, const In* const* rows, int64_t n, float* const* out) {
    if (count >= BLURRED) return blur_rows<V, F>(taps, count, rows, n, out);
    for (int r = 0; r < BLURRED; ++r) blur_row<V, F>(taps, count, rows + r, n, out[r]);
}

template <class V, class In>
void blur_down(const float* taps, int64_t count, bool fma, const In* const* rows, int64_t n, float* const* out) {
    (fma ? blur_down_as<V, true, In> : blur_down_as<V, false, In>)(taps, count, rows, n, out);
}

// Sums of `terms` terms on n values; term(k) gives the weight of term k, and its values. So many products behind the
// first are rounded, the rest is fused. They write whole vectors.
template <class V, int WIDE, class Term>
void sum_block(int64_t terms, int64_t rounded, const Term& term, int64_t at, float* out) {
    using Floats = typename V::Floats;
    constexpr int64_t LANES = FLOATS<V>;
    Floats sum[WIDE];
    const auto [first, values] = term(0);
    for (int v = 0; v < WIDE; ++v) sum[v] = V::load_floats(values + at + v * LANES) * (first - Floats{});
    int64_t k = 1;
    for (; k <= rounded; ++k) {
        const auto [weight, x] = term(k);
        for (int v = 0; v < WIDE; ++v)
            sum[v] = with_product<V, false>(V::load_floats(x + at + v * LANES), weight, sum[v]);
    }
    for (; k < terms; ++k) {
        const auto [weight, x] = term(k);
        for (int v = 0; v < WIDE; ++v)
            sum[v] = with_product<V, true>(V::load_floats(x + at + v * LANES), weight, sum[v]);
    }
    for (int v = 0; v < WIDE; ++v) store_floats(sum[v], out + v * LANES);
}

template <class V, class Term>
void sum_terms(int64_t terms, int64_t rounded, const Term& term, int64_t start, int64_t n, float* out) {
    constexpr int64_t LANES = FLOATS<V>;
    int64_t at = 0;
    for (; at + 3 * LANES < n; at += 4 * LANES) sum_block<V, 4>(terms, rounded, term, start + at, out + at);
    for (; at < n; at += LANES) sum_block<V, 1>(terms, rounded, term, start + at, out + at);
}

template <class V>
void blur_along(const float* taps, int64_t count, int64_t step, bool fma, const float* in, int64_t n, float* out) {
    const auto term = [&](int64_t k) { return std::pair{taps[k], in + k * step}; };
    sum_terms<V>(count, fma ? 0 : count - 1, term, 0, n, out);
}

// Rounded half up; a sum of bytes fits 16 bits.
void box(const Box& box, const uint8_t* in, int64_t step, int64_t n, uint8_t* out) {
    constexpr int64_t BLOCK = PADDING;
    for (int64_t at = 0; at < n; at += BLOCK, in += BLOCK) {
        uint16_t sum[BLOCK] = {};
        const uint8_t* pixel = in;
        for (int64_t k = 0; k < 2 * box.radius + 1; ++k) {
            pixel += step;
            for (int64_t j = 0; j < BLOCK; ++j) sum[j] = static_cast<uint16_t>(sum[j] + pixel[j]);
        }
        pixel += step;
        for (int64_t j = 0; j < BLOCK; ++j) {
            const uint32_t ends = static_cast<uint32_t>(in[j]) + pixel[j];
            out[at + j] = static_cast<uint8_t>((sum[j] * box.inside + ends * box.beyond + (1u << 23)) >> 24);
        }
    }
}

template <class V, class In>
void filter_real(const Filter& filter, const In* const* rows, int64_t step, int64_t n, void* out) {
    const float* weights = filter.weights.floats.data();
    const auto term = [&](int64_t k) { return std::pair{weights[k], rows[filter.rows[k]] + filter.columns[k] * step}; };
    float sum[CHUNK];
    for (int64_t start = 0; start < n; start += CHUNK) {
        const int64_t m = std::min(CHUNK, n - start);
        sum_terms<V>(filter.terms(), filter.arithmetic.fma ? 0 : filter.terms() - 1, term, start, m, sum);
        finish(filter.arithmetic, sum, m, start, out);
    }
}

template <class V, class In>
void filter(const Filter& filter, const In* const* rows, int64_t step, int64_t n, void* out) {
    if constexpr (sizeof(In) == 1)
        if (filter.arithmetic.number == Number::integer) return filter_as<uint32_t>(filter, rows, step, n, out);
    if (filter.arithmetic.number == Number::float64) return filter_as<double>(filter, rows, step, n, out);
    filter_real<V>(filter, rows, step, n, out);
}

}  // namespace
}  // namespace lt
