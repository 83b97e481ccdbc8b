// Sums over windows, which stay in registers from the first term to the last.
#pragma once

#include <array>
#include <cstring>
#include <type_traits>

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

// The same bits.
template <class To, class From>
inline To as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To made;
    std::memcpy(&made, &from, sizeof(made));
    return made;
}

template <class V>
int64_t unsure(const Window& window, const float* in, int64_t n, int64_t* at) {
    using Floats = typename V::Floats;
    using Bits = decltype(Floats{} < Floats{});  // whole numbers, as many
    constexpr float WHOLE = 12582912, MORE = 1 + 1e-5f;  // 1.5 * 2^23: sums with it are whole numbers
    const Floats steady = static_cast<float>(window.steady) * MORE - Floats{};
    const Floats relative = static_cast<float>(window.relative) * MORE - Floats{};
    const Bits low = as<Bits>(LOW - Floats{});
    int64_t count = 0;
    for (int64_t block = 0; block < n; block += AGAIN) {
        Bits any{};
        for (int64_t k = 0; k < AGAIN; k += FLOATS<V>) {  // Behind the last there is memory.
            const Floats value = V::load_floats(in + block + k), away = value - ((value + WHOLE) - WHOLE);
            const Bits power = as<Bits>(value) & 0x7f800000, less = power < low;  // The exponent alone.
            const Floats band = steady + relative * as<Floats>((power & ~less) | (low & less));
            any |= as<Floats>(as<Bits>(away) & 0x7fffffff) >= 0.5f - band;
        }
        uint64_t found = 0;
        for (const uint64_t word : as<std::array<uint64_t, sizeof(Bits) / 8>>(any)) found |= word;
        at[count] = block;
        count += found != 0;
    }
    return count;
}

// `WIDE` blocks at once: the sum of one waits for itself.
template <class V, int64_t WIDE>
void again_at_once(const Window& window, const Block* blocks, int64_t step, float* seen, float* out) {
    using Floats = typename V::Floats;
    constexpr int64_t LANES = FLOATS<V>, PARTS = AGAIN / LANES;
    const int64_t pitch = window.pitch(step), plane = window.height * pitch;
    for (int64_t b = 0; b < WIDE; ++b)
        for (int64_t i = 0; i < window.height; ++i)
            for (int64_t x = 0; x < pitch; x += LANES)
                store_floats(V::load_floats(blocks[b].rows[i] + blocks[b].at + x), seen + b * plane + i * pitch + x);
    Floats sum[WIDE][PARTS] = {};
    const float* weight = window.weights.data();
    for (int64_t i = 0; i < window.height; ++i)
        for (int64_t j = 0; j < window.width; ++j, ++weight)
            for (int64_t b = 0; b < WIDE; ++b)
                for (int64_t p = 0; p < PARTS; ++p)
                    sum[b][p] = with_product<V, true>(
                        V::load_floats(seen + b * plane + i * pitch + j * step + p * LANES), *weight, sum[b][p]);
    for (int64_t b = 0; b < WIDE; ++b)
        for (int64_t p = 0; p < PARTS; ++p) store_floats(sum[b][p], out + b * AGAIN + p * LANES);
}

template <class V>
void again(const Window& window, const Block* blocks, int64_t count, int64_t step, float* seen, float* out) {
    constexpr int64_t MOST = FLOATS<V> < 8 ? 2 : FLOATS<V> / 2;  // As many sums as stay in registers.
    const auto some = [&](auto wide, int64_t n) {
        for (; n >= wide; n -= wide, blocks += wide, out += wide * AGAIN)
            again_at_once<V, wide>(window, blocks, step, seen, out);
        return n;
    };
    count = some(std::integral_constant<int64_t, MOST>(), count);
    if constexpr (MOST > 4) count = some(std::integral_constant<int64_t, 4>(), count);
    if constexpr (MOST > 2) count = some(std::integral_constant<int64_t, 2>(), count);
    some(std::integral_constant<int64_t, 1>(), count);
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
