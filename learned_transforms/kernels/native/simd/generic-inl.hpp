// Plain loops for every kernel, which the compiler vectorizes for the instruction set of the file that includes them.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "simd/axes-inl.hpp"
#include "simd/color-inl.hpp"
#include "simd/half-inl.hpp"

namespace lt {
namespace {

// Sums wrap around modulo 2^32, as int32 tensors do.
void columns_plain(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead) {
    const Taps& taps = *plan.taps;
    for (int r = 0; r < count; ++r) {
        uint8_t* to = out[r];
        for (int64_t j = 0; j < taps.outputs(); ++j) {
            const int32_t* weight = taps.whole.data() + j;
            const uint8_t* from = rows[r] + int64_t{taps.first[j]} * plan.pixel;
            for (int c = 0; c < plan.channels; ++c) {
                uint32_t sum = 0;
                for (int k = 0; k < taps.count[j]; ++k)
                    sum += static_cast<uint32_t>(weight[k * taps.outputs()]) * from[k * plan.pixel + c];
                *to++ = static_cast<uint8_t>(shift_down(sum, taps.bits));
            }
        }
    }
}

void rows_plain(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out) {
    const Arithmetic arithmetic{Number::integer, plan.bits, false, false, 0, Rounding::half_up, true, false, false};
    const auto term = [&](int64_t k, int64_t start) {
        return std::pair{static_cast<uint32_t>(plan.weights[k * plan.stride]), rows[k] + start};
    };
    weigh(arithmetic, plan.count, bytes, term, nullptr, out);
}

// Sums wrap around modulo 2^32 here too.
void columns_sums(const Taps& taps, int pixel, int channels, const uint8_t* row, uint32_t* out) {
    const int64_t n = taps.outputs();
    for (int64_t j = 0; j < n; ++j) {
        const int32_t* weight = taps.whole.data() + j;
        const uint8_t* from = row + int64_t{taps.first[j]} * pixel;
        for (int c = 0; c < channels; ++c) {
            uint32_t sum = 0;
            for (int k = 0; k < taps.count[j]; ++k)
                sum += static_cast<uint32_t>(weight[k * n]) * from[k * pixel + c];
            *out++ = sum;
        }
    }
}

void rows_quarters(const Rows& plan, int bits, const uint32_t* const* rows, int64_t n, uint8_t* out) {
    const int cut = 2 * bits - 6;  // Of 2 * bits fraction bits, four are gone before the product; two stay.
    uint32_t sum[CHUNK];
    for (int64_t start = 0; start < n; start += CHUNK) {
        const int64_t m = std::min(CHUNK, n - start);
        std::fill_n(sum, m, 0);
        for (int k = 0; k < plan.count; ++k) {
            const auto weight = static_cast<uint32_t>(plan.weights[k * plan.stride]);
            const uint32_t* x = rows[k] + start;
            for (int64_t i = 0; i < m; ++i) {
                const auto sixteenth = static_cast<uint32_t>(static_cast<int32_t>(x[i]) >> 4);
                sum[i] += static_cast<uint32_t>(static_cast<int32_t>(sixteenth * weight) >> cut);
            }
        }
        for (int64_t i = 0; i < m; ++i) out[start + i] = static_cast<uint8_t>(shift_down(sum[i], 2));
    }
}

void split_plain(const uint8_t* in, int channels, int64_t n, uint8_t* const* planes) {
    for (int c = 0; c < channels; ++c)
        for (int64_t i = 0; i < n; ++i) planes[c][i] = in[i * channels + c];
}

template <class T>
void join(const T* const* planes, int64_t channels, int64_t n, T* __restrict out) {
    if (channels == 3) {  // The compiler vectorizes this.
        const T *x = planes[0], *y = planes[1], *z = planes[2];
        for (int64_t i = 0; i < n; ++i) out[3 * i] = x[i], out[3 * i + 1] = y[i], out[3 * i + 2] = z[i];
        return;
    }
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t i = 0; i < n; ++i) out[i * channels + c] = planes[c][i];
}

void mix_whole_three(const int32_t* weight, uint32_t bias, int bits, const uint8_t* const* planes, int64_t n,
                     uint8_t* out) {
    const uint8_t *x = planes[0], *y = planes[1], *z = planes[2];
    uint8_t* __restrict bytes = out;
    const auto a = static_cast<uint32_t>(weight[0]), b = static_cast<uint32_t>(weight[1]),
               c = static_cast<uint32_t>(weight[2]);
    for (int64_t i = 0; i < n; ++i)
        bytes[i] = static_cast<uint8_t>(shift_down(bias + a * x[i] + b * y[i] + c * z[i], bits));
}

void mix_whole(const Mix& mix, int64_t output, const uint8_t* const* planes, int64_t n, uint8_t* out) {
    const int32_t* weight = mix.whole_weight.data() + output * mix.inputs;
    const auto bias = static_cast<uint32_t>(mix.whole_bias[static_cast<size_t>(output)]);
    if (mix.inputs == 3) return mix_whole_three(weight, bias, mix.arithmetic.bits, planes, n, out);
    const auto term = [&](int64_t c, int64_t start) {
        return std::pair{static_cast<uint32_t>(weight[c]), planes[c] + start};
    };
    weigh(mix.arithmetic, mix.inputs, n, term, bias, out);
}

// Float sums over channels, finished in one loop where there are three of them.
template <class In, bool F, Rounding R>
void mix_three(const float* weight, float bias, const In* const* planes, int64_t n, void* out) {
    const In *x = planes[0], *y = planes[1], *z = planes[2];
    const float u = weight[0], v = weight[1], w = weight[2];
    float* __restrict floats = static_cast<float*>(out);
    uint8_t* __restrict bytes = static_cast<uint8_t*>(out);
    for (int64_t i = 0; i < n; ++i) {
        const float a = static_cast<float>(x[i]), b = static_cast<float>(y[i]), c = static_cast<float>(z[i]);
        float sum = a * u;
        sum = F ? fused(b, v, sum) : sum + b * v;
        sum = (F ? fused(c, w, sum) : sum + c * w) + bias;
        if constexpr (R == Rounding::none)
            floats[i] = sum;
        else if constexpr (sizeof(In) == 1)
            bytes[i] = static_cast<uint8_t>(small_level<R>(sum));  // Weights of bytes are checked to be small.
        else
            bytes[i] = static_cast<uint8_t>(static_cast<int32_t>(level<R>(sum)));
    }
}

template <class In, bool F, Rounding R>
void mix_any(const Mix& mix, int64_t output, const In* const* planes, int64_t n, void* out) {
    const float* weight = mix.weight.data() + output * mix.inputs;
    const float bias = mix.bias[static_cast<size_t>(output)];
    if (mix.inputs == 3) return mix_three<In, F, R>(weight, bias, planes, n, out);
    const auto term = [&](int64_t c, int64_t start) { return std::pair{weight[c], planes[c] + start}; };
    weigh(mix.arithmetic, mix.inputs, n, term, bias, out);
}

template <class In, bool F>
void mix_real(const Mix& mix, int64_t output, const In* const* planes, int64_t n, void* out) {
    switch (mix.arithmetic.rounding) {
        case Rounding::none: return mix_any<In, F, Rounding::none>(mix, output, planes, n, out);
        case Rounding::truncate: return mix_any<In, F, Rounding::truncate>(mix, output, planes, n, out);
        case Rounding::half_up: return mix_any<In, F, Rounding::half_up>(mix, output, planes, n, out);
        case Rounding::half_even: return mix_any<In, F, Rounding::half_even>(mix, output, planes, n, out);
    }
}

template <class In>
void mix(const Mix& mix, int64_t output, const In* const* planes, int64_t n, void* out) {
    if constexpr (sizeof(In) == 1)
        if (mix.arithmetic.number == Number::integer)
            return mix_whole(mix, output, planes, n, static_cast<uint8_t*>(out));
    (mix.arithmetic.fma ? mix_real<In, true> : mix_real<In, false>)(mix, output, planes, n, out);
}

void table_plain(const Table& table, int64_t channel, const uint8_t* in, int64_t n, float* out) {
    const float* values = table.values.data() + channel * 256;
    for (int64_t i = 0; i < n; ++i) out[i] = values[in[i]];
}

void words_plain(const Table& table, int64_t channel, const uint8_t* in, int64_t n, uint16_t* out) {
    const uint16_t* words = table.words.data() + channel * 256;
    for (int64_t i = 0; i < n; ++i) out[i] = words[in[i]];
}

void pick_some(const Picks& picks, const uint8_t* row, size_t first, size_t stop, uint8_t* out) {
    for (size_t i = first; i < stop; ++i) out[i] = row[picks.at[i]];
}

void pick_plain(const Picks& picks, const uint8_t* row, uint8_t* out) {
    pick_some(picks, row, 0, picks.at.size(), out);
}

template <class T>
void reverse(const T* in, int64_t n, T* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = in[n - 1 - i];
}

void levels_plain(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = table[in[i]];
}

void normalize(float mean, float std, const float* in, int64_t n, float* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = (in[i] - mean) / std;
}

template <class Word>
void normalize_as(float mean, float std, const uint16_t* in, int64_t n, uint16_t* out) {
    const auto round = [](float value) { return Word::value(Word::of(value)); };
    for (int64_t i = 0; i < n; ++i) out[i] = Word::of(round(Word::value(in[i]) - mean) / std);
}

void normalize_words(Dtype dtype, float mean, float std, const uint16_t* in, int64_t n, uint16_t* out) {
    (dtype == Dtype::float16 ? normalize_as<Half> : normalize_as<Brain>)(mean, std, in, n, out);
}

template <class Word>
void cast_as(const float* in, int64_t n, uint16_t* __restrict out) {
    for (int64_t i = 0; i < n; ++i) out[i] = Word::of(in[i]);
}

void cast_plain(Dtype dtype, const float* in, int64_t n, uint16_t* out) {
    (dtype == Dtype::float16 ? cast_as<Half> : cast_as<Brain>)(in, n, out);
}

// Clamping to the image first, and cutting to whole pixels then, gives what the other order gives.
// Half: the type in which .5 is added.
template <class T, class Half>
void windows(const Outputs<T>& o) {
    const Half last = o.size - 1, size = o.size;
    for (int64_t i = 0; i < o.n; ++i) {
        const Half number = static_cast<Half>(static_cast<int32_t>(i)) + Half{0.5};
        const T center = static_cast<T>(o.scale * number + o.shift);
        Half low = Half{center - o.reach} + Half{0.5}, high = Half{center + o.reach} + Half{0.5};
        low = low > 0 ? low : 0;
        low = low < last ? low : last;
        high = high > 0 ? high : 0;
        high = high < size ? high : size;
        const int32_t first = static_cast<int32_t>(low), count = static_cast<int32_t>(high) - first;
        o.center[i] = center;
        o.first[i] = first;
        o.count[i] = count > 1 ? count : 1;
    }
}

// value * u + term; kernels that are fused are those of mixed types.
template <class T, class Half>
void raise(bool once, const T* u, int64_t n, T term, T* __restrict value) {
    if constexpr (!std::is_same_v<T, Half>)
        if (once) {
            for (int64_t i = 0; i < n; ++i) value[i] = fused(value[i], u[i], term);
            return;
        }
    for (int64_t i = 0; i < n; ++i) value[i] = value[i] * u[i] + term;
}

// taps.evaluate, vectorized over outputs. A distance lies in one piece of the kernel; all pieces are computed, and that
// one is taken. With Half unlike T, pieces are polynomials of the distance itself.
template <class T, class Half>
T weights(const Outputs<T>& o, int widest, T* __restrict out, T* __restrict sum) {
    constexpr int64_t FEW = 64;
    const int64_t n = o.n;
    T along[FEW], distance[FEW], u[FEW], value[FEW];
    for (int64_t start = 0; start < n; start += FEW) {
        const int64_t m = std::min(FEW, n - start);
        T* __restrict total = sum + start;
        std::fill_n(total, m, T{0});
        for (int k = 0; k < widest; ++k) {
            T* __restrict row = out + k * n + start;
            for (int64_t i = 0; i < m; ++i) {
                const T at = static_cast<T>(o.first[start + i] + k) - o.center[start + i];
                along[i] = static_cast<T>((at + Half{0.5}) * o.inverse);
                distance[i] = along[i] < 0 ? -along[i] : along[i];
                row[i] = 0;
            }
            for (int64_t p = 0; p < o.support; ++p) {
                const T near = static_cast<T>(p), far = static_cast<T>(p + 1);
                // The support is open to the left and closed to the right.
                const T end = p + 1 == o.support ? far : std::numeric_limits<T>::quiet_NaN();
                const T* piece = o.kernel + p * o.terms;
                for (int64_t i = 0; i < m; ++i) u[i] = std::is_same_v<T, Half> ? distance[i] - near : distance[i];
                std::fill_n(value, m, piece[o.terms - 1]);
                for (int64_t d = o.terms - 2; d >= 0; --d) raise<T, Half>(o.fused, u, m, piece[d], value);
                for (int64_t i = 0; i < m; ++i)
                    row[i] = ((distance[i] >= near) & ((distance[i] < far) | (along[i] == end)) &
                              (k < o.count[start + i]))
                                 ? value[i]
                                 : row[i];
            }
            for (int64_t i = 0; i < m; ++i) total[i] += row[i];
        }
    }
    constexpr int64_t LANES = 16;
    T largest[LANES] = {};
    for (int k = 0; k < widest; ++k) {
        T* __restrict row = out + k * n;
        for (int64_t i = 0; i < n; ++i) row[i] /= sum[i];
        int64_t i = 0;
        for (; i + LANES <= n; i += LANES)
            for (int64_t j = 0; j < LANES; ++j) largest[j] = row[i + j] > largest[j] ? row[i + j] : largest[j];
        for (; i < n; ++i) largest[0] = row[i] > largest[0] ? row[i] : largest[0];
    }
    return *std::max_element(largest, largest + LANES);
}

template <class T>
void quantize(const T* __restrict values, int64_t n, T unit, int32_t* __restrict out) {
    constexpr T MOST = 2147483008.0, NONE = -2147483648.0;  // No weight of a sane kernel comes near this.
    for (int64_t i = 0; i < n; ++i) {
        const T value = values[i] * unit, rounded = value + (value < 0 ? T{-0.5} : T{0.5});
        out[i] = static_cast<int32_t>(rounded > -MOST && rounded < MOST ? rounded : NONE);
    }
}

void weighed(const float* one, float weight, const float* other, float rest, int64_t n, float* __restrict out) {
    for (int64_t i = 0; i < n; ++i) out[i] = one[i] * weight + other[i] * rest;
}

// A table of these loops, in which vectors put their own kernels.
template <class V>
constexpr Kernels PLAIN = {
    V::NAME,
    0,
    0,
    0,
    0,
    0,
    false,
    0,
    0,
    0,
    false,
    columns_plain,
    rows_plain,
    columns_real<V, uint8_t>,
    columns_real<V, float>,
    nullptr,
    nullptr,
    rows_real<V, uint8_t>,
    rows_real<V, float>,
    pairs<uint8_t>,
    pairs<float>,
    joint,
    columns_sums,
    rows_quarters,
    to_level<float, uint8_t>,
    to_level<float, float>,
    split_plain,
    join<uint8_t>,
    join<uint16_t>,
    join<float>,
    pick_plain,
    0,
    reverse<uint8_t>,
    reverse<uint32_t>,
    mix<uint8_t>,
    mix<float>,
    table_plain,
    levels_plain,
    words_plain,
    normalize,
    normalize_words,
    cast_plain,
    filter<V, uint8_t>,
    filter<V, float>,
    sparse<uint8_t>,
    sparse<float>,
    blend<uint8_t>,
    blend<float>,
    stretch<uint8_t>,
    stretch<float>,
    turn<uint8_t>,
    turn<float>,
    copy_values<uint8_t, float>,
    total_bytes,
    total_floats,
    ends_bytes,
    ends_floats,
    histogram,
    blur_down<V, uint8_t>,
    blur_down<V, float>,
    blur_along<V>,
    unsure<V>,
    again<V>,
    box,
    nullptr,
    nullptr,
    weighed,
    {windows<float, float>, weights<float, float>, quantize<float>},
    {windows<float, double>, weights<float, double>, quantize<float>},
    {windows<double, double>, weights<double, double>, quantize<double>},
};

}  // namespace
}  // namespace lt
