// Weighted sums and their rounding, as plain loops that the compiler vectorizes for the instruction set of the file
// that includes them.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "simd/kernel_table.hpp"

namespace lt {
namespace {

constexpr int64_t CHUNK = 256;  // values that are summed together: they stay in the first cache

// a * b + c, rounded once. Without the instruction it is computed in double, where the product is exact. What is lost of
// the sum makes its last bit odd, so that rounding to float finds it on the right side of a half.
inline float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    const double product = static_cast<double>(a) * static_cast<double>(b), other = static_cast<double>(c);
    double sum = product + other;
    const double added = sum - product, lost = (product - (sum - added)) + (other - added);
    const int64_t more = (lost > 0) - (lost < 0), outward = sum > 0 ? more : -more;
    int64_t bits;
    std::memcpy(&bits, &sum, 8);
    bits += outward & ((bits & 1) - 1);
    std::memcpy(&sum, &bits, 8);
    return static_cast<float>(sum);
#endif
}

// One bound after the other, as vectors have them; NaN becomes 0.
template <class T>
inline T clamped(T x, T ceiling = 255) {
    x = x > 0 ? x : 0;
    return x < ceiling ? x : ceiling;
}

// The level that x in [0, 255] becomes.
template <Rounding R, class T>
inline T whole(T x) {
    constexpr T WHOLE = sizeof(T) == 4 ? T(12582912) : T(6755399441055744);  // 1.5 * 2^23, or 2^52: the next is 1 away
    if constexpr (R == Rounding::half_even) return (x + WHOLE) - WHOLE;
    if constexpr (R == Rounding::half_up) return static_cast<T>(static_cast<int32_t>(x + T(0.5)));
    return static_cast<T>(static_cast<int32_t>(x));
}

// Clamping first changes nothing, since both ends are whole.
template <Rounding R, class T>
inline T level(T x) {
    return whole<R>(clamped(x));
}

// The same for sums that are known to fit an int32, which is faster.
template <Rounding R>
inline int32_t small_level(float x) {
    if constexpr (R == Rounding::half_even) x = (x + 12582912.0f) - 12582912.0f;
    if constexpr (R == Rounding::half_up) x += 0.5f;  // Below zero it does not matter which way it goes.
    const int32_t whole = static_cast<int32_t>(x), positive = whole < 0 ? 0 : whole;
    return positive > 255 ? 255 : positive;
}

template <Rounding R, class T, class Out>
void round_all(const T* in, int64_t n, Out* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<Out>(static_cast<int32_t>(level<R>(in[i])));
}

template <class T, class Out>
void to_level(Rounding rounding, const T* in, int64_t n, Out* out) {
    if (rounding == Rounding::half_even) return round_all<Rounding::half_even>(in, n, out);
    if (rounding == Rounding::half_up) return round_all<Rounding::half_up>(in, n, out);
    round_all<Rounding::truncate>(in, n, out);
}

// Values in another type, as torch converts them.
template <class In, class Out>
void copy_values(const In* in, int64_t n, Out* out) {
    for (int64_t i = 0; i < n; ++i) {
        if constexpr (sizeof(In) > sizeof(Out))  // Modulo 256, where it is not far out of range.
            out[i] = in[i] > -2147483648.f && in[i] < 2147483648.f ? static_cast<Out>(static_cast<int32_t>(in[i]))
                                                                   : Out{0};
        else
            out[i] = static_cast<Out>(in[i]);
    }
}

inline int32_t shift_down(uint32_t sum, int bits) {
    const int32_t value = static_cast<int32_t>(sum + (1u << (bits - 1))) >> bits;
    return value < 0 ? 0 : (value > 255 ? 255 : value);
}

// Weight i of a term: the same for all values, or one for each.
template <class T>
inline T weight_at(T weight, int64_t) {
    return weight;
}
template <class T>
inline T weight_at(const T* weights, int64_t i) {
    return weights[i];
}

// out = x * weight, or out += x * weight.
template <class W, class In, class T>
void scale(W weight, const In* x, int64_t n, T* __restrict out) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(x[i]) * weight_at(weight, i);
}

template <class W, class In, class T>
void accumulate(bool fma, W weight, const In* x, int64_t n, T* __restrict out) {
    if constexpr (std::is_same_v<T, float>)
        if (fma) {
            for (int64_t i = 0; i < n; ++i) out[i] = fused(static_cast<T>(x[i]), weight_at(weight, i), out[i]);
            return;
        }
    for (int64_t i = 0; i < n; ++i) out[i] = out[i] + static_cast<T>(x[i]) * weight_at(weight, i);
}

// Sums become bytes, or floats without rounding; integer sums wrap around modulo 2^32, as int32 tensors do.
template <class T>
void finish(const Arithmetic& arithmetic, const T* sum, int64_t n, int64_t start, void* out) {
    uint8_t* __restrict bytes = static_cast<uint8_t*>(out) + start;
    float* __restrict floats = static_cast<float*>(out) + start;
    if constexpr (std::is_same_v<T, uint32_t>)
        for (int64_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(shift_down(sum[i], arithmetic.bits));
    else if (arithmetic.rounding == Rounding::none)
        for (int64_t i = 0; i < n; ++i) floats[i] = static_cast<float>(sum[i]);
    else
        to_level(arithmetic.rounding, sum, n, bytes);
}

// n sums of `terms` terms, in order. term(k, start) gives the weight, or weights, of term k and its values from number
// `start` on, CHUNK of them at most. `bias`: nullptr, one value, or a pointer to one for each sum.
template <class Term, class Bias>
void weigh(const Arithmetic& arithmetic, int64_t terms, int64_t n, const Term& term, Bias bias, void* out) {
    std::remove_cv_t<std::remove_pointer_t<decltype(term(0, 0).first)>> sum[CHUNK];
    for (int64_t start = 0; start < n; start += CHUNK) {
        const int64_t m = std::min(CHUNK, n - start);
        for (int64_t k = 0; k < terms; ++k) {
            const auto [weight, x] = term(k, start);
            k == 0 ? scale(weight, x, m, sum) : accumulate(arithmetic.fma, weight, x, m, sum);
        }
        if constexpr (!std::is_null_pointer_v<Bias>)
            for (int64_t i = 0; i < m; ++i) sum[i] = sum[i] + weight_at(bias, start + i);
        finish(arithmetic, sum, m, start, out);
    }
}

template <class T>
const T* values_of(const Numbers& numbers) {
    if constexpr (std::is_same_v<T, uint32_t>) return numbers.whole.data();
    if constexpr (std::is_same_v<T, float>) return numbers.floats.data();
    if constexpr (std::is_same_v<T, double>) return numbers.doubles.data();
}

template <class T, class In>
void filter_as(const Filter& filter, const In* const* rows, int64_t step, int64_t n, void* out) {
    const T* weights = values_of<T>(filter.weights);
    const auto term = [&](int64_t k, int64_t start) {
        return std::pair{weights[k], rows[filter.rows[k]] + filter.columns[k] * step + start};
    };
    weigh(filter.arithmetic, filter.terms(), n, term, nullptr, out);
}

template <class T, class In>
void sparse_as(const Sparse& sparse, int64_t first, const In* plane, const int64_t* places, int64_t n, void* out) {
    const T* weights = values_of<T>(sparse.weights) + first;
    In x[CHUNK];
    const auto term = [&](int64_t k, int64_t start) {
        const int64_t* at = places + k * n + start;
        for (int64_t i = 0; i < std::min(CHUNK, n - start); ++i) x[i] = plane[at[i]];
        return std::pair{weights + k * sparse.outputs() + start, static_cast<const In*>(x)};
    };
    weigh(sparse.arithmetic, sparse.terms, n, term, values_of<T>(sparse.bias) + first, out);
}

template <class In>
void sparse(const Sparse& sparse, int64_t first, const In* plane, const int64_t* places, int64_t n, void* out) {
    if constexpr (sizeof(In) == 1)
        if (sparse.arithmetic.number == Number::integer)
            return sparse_as<uint32_t>(sparse, first, plane, places, n, out);
    if (sparse.arithmetic.number == Number::float64) return sparse_as<double>(sparse, first, plane, places, n, out);
    sparse_as<float>(sparse, first, plane, places, n, out);
}

}  // namespace
}  // namespace lt
