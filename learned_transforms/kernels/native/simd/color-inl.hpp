// Loops of the stages of color, which the compiler vectorizes for the instruction set of the file that includes them.
#pragma once

#include <limits>

#include "simd/accumulate-inl.hpp"

namespace lt {
namespace {

template <Rounding R>
using As = std::integral_constant<Rounding, R>;

template <class F>
void with_rounding(Rounding rounding, const F& f) {
    switch (rounding) {
        case Rounding::none: return f(As<Rounding::none>());
        case Rounding::truncate: return f(As<Rounding::truncate>());
        case Rounding::half_up: return f(As<Rounding::half_up>());
        case Rounding::half_even: return f(As<Rounding::half_even>());
    }
}

// In [0, ceiling], as a float or as a level; only floats stay NaN.
template <Rounding R, class T>
inline auto finished(T x, T ceiling) {
    if constexpr (R == Rounding::none) {
        x = x < 0 ? 0 : x;
        return static_cast<float>(x > ceiling ? ceiling : x);
    } else {
        return static_cast<uint8_t>(static_cast<int32_t>(whole<R>(clamped(x, ceiling))));
    }
}

// What values are clamped to before they are rounded.
template <class T>
inline T ceiling_of(Rounding rounding, double ceiling) {
    return static_cast<T>(rounding == Rounding::none ? ceiling : std::min(ceiling, 255.0));
}

template <class T>
void finish_all(Rounding rounding, double most, const T* in, int64_t n, int64_t start, void* out) {
    const T ceiling = ceiling_of<T>(rounding, most);
    with_rounding(rounding, [&](auto r) {
        using Out = decltype(finished<r>(ceiling, ceiling));
        Out* __restrict to = static_cast<Out*>(out) + start;
        for (int64_t i = 0; i < n; ++i) to[i] = finished<r>(in[i], ceiling);
    });
}

// (1) image * a + other * b, (2) image + (other - image) * b, (3) other + (image - other) * a.
template <Blend::Form FORM, bool F, Rounding R, class In>
void blend_as(const Blending& how, const In* image, const float* other, int64_t n, void* out) {
    const float a = how.a, b = how.b, ceiling = ceiling_of<float>(R, static_cast<double>(how.ceiling));
    auto* __restrict to = static_cast<decltype(finished<R>(a, b))*>(out);
    for (int64_t i = 0; i < n; ++i) {
        const float x = static_cast<float>(image[i]), y = other[i];
        const float start = FORM == Blend::sum ? x * a : FORM == Blend::from_image ? x : y;
        const float from = FORM == Blend::sum ? y : FORM == Blend::from_image ? y - x : x - y;
        const float weight = FORM == Blend::from_other ? a : b;
        to[i] = finished<R>(F ? fused(from, weight, start) : start + from * weight, ceiling);
    }
}

template <bool F, class In>
void blend_fused(const Blending& how, const In* image, const float* other, int64_t n, void* out) {
    with_rounding(how.rounding, [&](auto r) {
        switch (how.form) {
            case Blend::sum: return blend_as<Blend::sum, F, r>(how, image, other, n, out);
            case Blend::from_image: return blend_as<Blend::from_image, F, r>(how, image, other, n, out);
            case Blend::from_other: return blend_as<Blend::from_other, F, r>(how, image, other, n, out);
        }
    });
}

template <class In>
void blend(const Blending& how, const In* image, const float* other, int64_t n, void* out) {
    (how.fma ? blend_fused<true, In> : blend_fused<false, In>)(how, image, other, n, out);
}

template <class T, class In>
void stretch_as(const Stretch& how, T low, T high, const In* in, int64_t n, void* out) {
    const T start = static_cast<T>(how.ends[0]), extent = high - low;
    const double width = how.ends[1] - how.ends[0];
    const T by = extent * static_cast<T>(1 / width), whole = static_cast<T>(width);
    const T scale = how.form == Stretch::multiply ? 1 / extent * whole : whole / extent, offset = -low * scale;
    T made[CHUNK];
    for (int64_t first = 0; first < n; first += CHUNK) {
        const int64_t m = std::min(CHUNK, n - first);
        const In* x = in + first;
        if (how.form == Stretch::divide)
            for (int64_t i = 0; i < m; ++i) made[i] = (static_cast<T>(x[i]) - low) / by + start;
        else if (how.form == Stretch::multiply)
            for (int64_t i = 0; i < m; ++i) made[i] = (static_cast<T>(x[i]) - low) * scale + start;
        else
            for (int64_t i = 0; i < m; ++i) made[i] = static_cast<T>(x[i]) * scale + offset + start;
        finish_all(how.arithmetic.rounding, how.ceiling, made, m, first, out);
    }
}

template <class In>
void stretch(const Stretch& how, double low, double high, const In* in, int64_t n, void* out) {
    if (low == high && how.arithmetic.rounding == Rounding::none) {
        const float ceiling = static_cast<float>(how.ceiling);
        float* __restrict to = static_cast<float*>(out);
        for (int64_t i = 0; i < n; ++i) to[i] = finished<Rounding::none>(static_cast<float>(in[i]), ceiling);
    } else if (low == high)
        copy_values(in, n, static_cast<uint8_t*>(out));
    else if (how.arithmetic.number == Number::float64)
        stretch_as<double>(how, low, high, in, n, out);
    else
        stretch_as<float>(how, static_cast<float>(low), static_cast<float>(high), in, n, out);
}

// What is behind the point; the value is small.
template <class T>
inline T fraction(T x) {
    return x - static_cast<T>(static_cast<int32_t>(x));
}

// What one channel is in each sixth of a turn, counted from its center on: the highest, falling, the lowest twice,
// rising, the highest.
struct Sixths {
    int32_t falls, low, low_too, rises;
    explicit Sixths(int32_t c) : falls((c + 1) % 6), low((c + 2) % 6), low_too((c + 3) % 6), rises((c + 4) % 6) {}
};

// color.turn, operation by operation, with fewer divisions: of the distances from the highest channel, that of the
// lowest is 1. A gray pixel has any hue, since its saturation is 0. One choice after the other: nested ones are slow.
template <bool STEPS, bool DIVIDE, bool FLOATS>
void turn_chunk(const Turning& how, const float (*in)[CHUNK], int64_t n, float (*__restrict out)[CHUNK]) {
    const Turn& stage = *how.stage;
    const auto [first, second, third] = stage.centres;
    const Sixths one(first), two(second), three(third);
    const int32_t shift = how.shift;
    const float factor = how.factor, span = static_cast<float>(stage.span);
    for (int64_t i = 0; i < n; ++i) {
        const float r = in[0][i], g = in[1][i], b = in[2][i];
        const float more = r > g ? r : g, less = r > g ? g : r;
        const float high = more > b ? more : b, low = less < b ? less : b;
        const float least = more < b ? more : b, middle = less > least ? less : least;
        const bool flat = high == low;
        const float extent = flat ? 1.0f : high - low, distance = (high - middle) / extent;
        float saturation = (high - low) / (flat ? 1.0f : high);
        float before = g == high ? r : g;
        before = r == high ? b : before;
        const float others = g > b ? g : b;  // The same choices by other comparisons, or they are taken apart.
        int32_t center = g >= b ? second : third;
        center = r >= others ? first : center;
        const bool leads = before == low;
        float hue;
        const float c = static_cast<float>(center);
        if constexpr (STEPS && FLOATS) {
            const double d = static_cast<double>(distance), at = static_cast<double>(center);
            const double exact = leads ? (1 + at) - d : (d + at) - 1;
            const double turns = fraction(static_cast<double>(static_cast<float>(exact)) / 6 + 1);
            const double step = static_cast<double>(static_cast<float>(turns)) * 255;
            hue = static_cast<float>((static_cast<int32_t>(step) + shift) & 255) * 6 / 255;
            saturation = static_cast<float>(static_cast<int32_t>(static_cast<double>(saturation) * 255)) / 255;
        } else if constexpr (STEPS) {
            // Tried for all distances of bytes and all centres: float32 gives the same steps as float64.
            float turns = (leads ? (1 + c) - distance : distance + (c - 1)) / 6;
            turns = turns < 0 ? turns + 1 : turns;
            turns = turns < 1 ? turns : turns - 1;
            hue = static_cast<float>((static_cast<int32_t>(turns * 255) + shift) & 255) * 6 / 255;
            saturation = static_cast<float>(static_cast<int32_t>(saturation * 255)) / 255;
        } else {
            hue = leads ? (1 + c) - distance : (distance + c) - 1;
            hue = fraction(fraction((DIVIDE ? hue / 6 : hue * (1.0f / 6)) + 1) + factor);
            hue = (hue < 0 ? hue + 1 : hue) * 6;  // Just below 0 becomes 1: the sixth sector is the first.
        }
        if constexpr (FLOATS) hue = hue == hue ? hue : 0;
        int32_t sector = static_cast<int32_t>(hue);
        const float along = hue - static_cast<float>(sector), rest = 1 - saturation;
        sector = sector > 5 ? sector - 6 : sector;
        // Floats may lie beyond 0 to 1, where the highest channel stays.
        const auto within = [](float value) {
            if constexpr (!STEPS) value = FLOATS ? clamped(value, 1.0f) : (value < 1 ? value : 1);
            return value;
        };
        const float fall = within((1 - saturation * along) * high), lowest = within(rest * high);
        const float rise = within((DIVIDE ? 1 - saturation * (1 - along) : saturation * along + rest) * high);
        const auto made = [&](const Sixths& at) {
            float value = ((sector == at.low) | (sector == at.low_too)) ? lowest : high;
            value = sector == at.falls ? fall : value;
            value = sector == at.rises ? rise : value;
            if constexpr (!STEPS) value *= span;
            if constexpr (FLOATS) value = ((r != r) | (g != g) | (b != b)) ? r + g + b : value;
            return value;
        };
        out[0][i] = made(one), out[1][i] = made(two), out[2][i] = made(three);
    }
}

template <class In>
void turn(const Turning& how, const In* const* planes, int64_t n, void* const* out) {
    constexpr bool FLOATS = sizeof(In) == sizeof(float);
    const Turn& stage = *how.stage;
    const bool divide = stage.form == Turn::divide, levels = !stage.steps && stage.ceiling != 1;
    const auto ceiling = static_cast<float>(stage.ceiling), unit = static_cast<float>(1 / stage.ceiling);
    constexpr auto ALL = std::array{turn_chunk<false, false, FLOATS>, turn_chunk<false, true, FLOATS>,
                                    turn_chunk<true, false, FLOATS>, turn_chunk<true, true, FLOATS>};
    const auto chunk = ALL[(stage.steps ? 2 : 0) + (divide ? 1 : 0)];
    float in[3][CHUNK], made[3][CHUNK];
    for (int64_t start = 0; start < n; start += CHUNK) {
        const int64_t m = std::min(CHUNK, n - start);
        for (int c = 0; c < 3; ++c)
            for (int64_t i = 0; i < m; ++i) {
                const auto x = static_cast<float>(planes[c][start + i]);
                in[c][i] = levels ? (divide ? x / ceiling : x * unit) : x;
            }
        chunk(how, in, m, made);
        for (int c = 0; c < 3; ++c)
            if (stage.ceiling == 1 && stage.arithmetic.rounding == Rounding::none)
                copy_values(made[c], m, static_cast<float*>(out[c]) + start);
            else
                finish_all(stage.arithmetic.rounding, stage.ceiling, made[c], m, start, out[c]);
    }
}

uint64_t total_bytes(const uint8_t* in, int64_t n) {
    constexpr int64_t MOST = 1 << 24;  // whose sum fits
    uint64_t total = 0;
    for (int64_t start = 0; start < n; start += MOST) {
        uint32_t sum = 0;
        for (int64_t i = start; i < std::min(start + MOST, n); ++i) sum += in[i];
        total += sum;
    }
    return total;
}

double total_floats(const float* in, int64_t n) {
    constexpr int64_t ABREAST = 16;
    double sums[ABREAST] = {}, total = 0;
    int64_t i = 0;
    for (; i + ABREAST <= n; i += ABREAST)
        for (int64_t j = 0; j < ABREAST; ++j) sums[j] += static_cast<double>(in[i + j]);
    for (; i < n; ++i) total += static_cast<double>(in[i]);
    for (const double sum : sums) total += sum;
    return total;
}

void ends_bytes(const uint8_t* in, int64_t n, double* ends) {
    uint8_t low = 255, high = 0;
    for (int64_t i = 0; i < n; ++i) {
        low = in[i] < low ? in[i] : low;
        high = in[i] > high ? in[i] : high;
    }
    ends[0] = std::min<double>(ends[0], low), ends[1] = std::max<double>(ends[1], high);
}

void ends_floats(const float* in, int64_t n, double* ends) {
    constexpr int64_t ABREAST = 16;
    float low[ABREAST], high[ABREAST];
    int32_t odd[ABREAST] = {};
    std::fill_n(low, ABREAST, in[0]), std::fill_n(high, ABREAST, in[0]);
    const auto widen = [&](int64_t j, float x) {
        low[j] = x < low[j] ? x : low[j];
        high[j] = x > high[j] ? x : high[j];
        odd[j] |= x != x;
    };
    int64_t i = 0;
    for (; i + ABREAST <= n; i += ABREAST)
        for (int64_t j = 0; j < ABREAST; ++j) widen(j, in[i + j]);
    for (; i < n; ++i) widen(0, in[i]);
    const bool nan = std::any_of(odd, odd + ABREAST, [](int32_t one) { return one != 0; }) || ends[0] != ends[0];
    const double none = std::numeric_limits<double>::quiet_NaN();
    ends[0] = nan ? none : std::min<double>(ends[0], *std::min_element(low, low + ABREAST));
    ends[1] = nan ? none : std::max<double>(ends[1], *std::max_element(high, high + ABREAST));
}

// Neighbors are often alike: counts of their own keep one from waiting for the other.
void histogram(const uint8_t* in, int64_t n, int64_t* counts) {
    constexpr int64_t APART = 4;
    uint32_t found[APART][256] = {};
    int64_t i = 0;
    for (; i + APART <= n; i += APART)
        for (int64_t j = 0; j < APART; ++j) ++found[j][in[i + j]];
    for (; i < n; ++i) ++found[0][in[i]];
    for (int64_t level = 0; level < 256; ++level)
        for (const auto& one : found) counts[level] += one[level];
}

}  // namespace
}  // namespace lt
