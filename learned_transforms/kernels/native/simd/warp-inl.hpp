// Warps of images of up to three channels with AVX2, eight pixels at a time; producers/warp.cpp says what they give.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "simd/warp_places-inl.hpp"

namespace lt {
namespace {

// Pixels out of rows, a channel each, `step` bytes from pixel to pixel; the last byte is 1.
void frame(const uint8_t* const* planes, int64_t channels, int64_t step, int64_t n, uint32_t* out) {
    constexpr uint32_t ONE = 1u << 24;
    int64_t x = 0;
    if (step == 1 && channels == 3) {
        const __m128i one = _mm_set1_epi8(1);
        for (; x + 16 <= n; x += 16) {
            const auto load = [&](int c) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(planes[c] + x)); };
            const __m128i r = load(0), g = load(1), b = load(2);
            const __m128i low = _mm_unpacklo_epi8(r, g), high = _mm_unpackhi_epi8(r, g);
            const __m128i rest = _mm_unpacklo_epi8(b, one), more = _mm_unpackhi_epi8(b, one);
            auto* to = reinterpret_cast<__m128i*>(out + x);
            _mm_storeu_si128(to, _mm_unpacklo_epi16(low, rest));
            _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(low, rest));
            _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(high, more));
            _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(high, more));
        }
    } else if (step == 4 && channels == 3) {
        const __m256i color = _mm256_set1_epi32(ONE - 1), one = _mm256_set1_epi32(ONE);
        for (; x + 8 < n; x += 8) {  // The first channel may be the second of four: one byte of the next pixel is read.
            const __m256i pixels = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(planes[0] + 4 * x));
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + x), _mm256_or_si256(_mm256_and_si256(pixels, color), one));
        }
    } else if (step == 3 && channels == 3) {
        const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
        for (; x + 6 <= n; x += 4) {  // Sixteen bytes are read.
            const __m128i pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(planes[0] + 3 * x));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x),
                             _mm_or_si128(_mm_shuffle_epi8(pixels, spread), _mm_set1_epi32(ONE)));
        }
    }
    for (; x < n; ++x) {
        uint32_t pixel = ONE;
        for (int64_t c = 0; c < channels; ++c) pixel |= uint32_t{planes[c][x * step]} << (8 * c);
        out[x] = pixel;
    }
}

// A byte of each of eight pixels.
template <int c>
inline __m256 channel(__m256i pixels) {
    if (c == 3) return _mm256_cvtepi32_ps(_mm256_srli_epi32(pixels, 24));
    constexpr char N = -1, A = c, B = c + 4, C = c + 8, D = c + 12;
    const __m256i order = _mm256_setr_epi8(A, N, N, N, B, N, N, N, C, N, N, N, D, N, N, N, A, N, N, N, B, N, N, N, C, N, N,
                                           N, D, N, N, N);
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(pixels, order));
}

// A line of the output, into which eight pixels are written at a time.
class Output {
  public:
    Output(const WarpedLine& line, uint8_t* out)
        : width_(line.size[1]), plane_(line.plane), channels_(line.channels), out_(out) {}

    int64_t width() const { return width_; }

    void put(int64_t x, __m256i pixels) const {
        const int64_t n = std::min(EIGHT, width_ - x);
        if (plane_ == 0 && channels_ == 3) {  // What is written behind the line does not matter.
            const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
            const auto store = [&](__m128i four, uint8_t* to) {
                _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(four, order));
            };
            store(_mm256_castsi256_si128(pixels), out_ + 3 * x);
            if (n > 4) store(_mm256_extracti128_si256(pixels, 1), out_ + 3 * x + 12);
            return;
        }
        const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13,
                                               2, 6, 10, 14, 3, 7, 11, 15);
        const __m256i planes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(pixels, order),
                                                           _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        const __m128i low = _mm256_castsi256_si128(planes), high = _mm256_extracti128_si256(planes, 1);
        const int64_t bytes[3] = {_mm_cvtsi128_si64(low), _mm_extract_epi64(low, 1), _mm_cvtsi128_si64(high)};
        for (int64_t c = 0; c < channels_; ++c) {
            if (plane_ == 0)
                for (int64_t k = 0; k < n; ++k)
                    out_[(x + k) * channels_ + c] = static_cast<uint8_t>(bytes[c] >> (8 * k));
            else
                std::memcpy(out_ + c * plane_ + x, &bytes[c], n == EIGHT ? EIGHT : static_cast<size_t>(n));
        }
    }

  private:
    const int64_t width_, plane_, channels_;
    uint8_t* const out_;
};

// What lies outside: for each channel, and as a pixel.
struct Outside {
    bool filled;
    __m256 fill[3];
    __m256i pixel;

    Outside(const Warp& stage, int64_t channels) : filled(!stage.fill.empty()) {
        uint32_t levels = 0;
        for (int64_t c = 0; c < 3; ++c) {
            const float value = filled && c < channels ? stage.fill[static_cast<size_t>(c)] : 0;
            fill[c] = _mm256_set1_ps(value);
            levels |= static_cast<uint32_t>(std::min(std::max(std::nearbyint(value), 0.f), 255.f)) << (8 * c);
        }
        pixel = whole_vector(levels);
    }
};

// Nearest pixels; next() gives the places of eight and which of them lie inside.
template <class Next>
inline void take(const Pixels& from, const Outside& outside, const Output& to, const Next& next) {
    for (int64_t x = 0; x < to.width(); x += EIGHT) {
        __m256i inside;
        const __m256i place = next(x, inside);
        to.put(x, _mm256_blendv_epi8(outside.pixel, from.at(_mm256_and_si256(place, inside)), inside));
    }
}

inline void take_columns(const Pixels& from, const Outside& outside, const WarpedLine& line, const Output& to) {
    const __m256i row = whole_vector(line.row);
    take(from, outside, to, [&](int64_t x, __m256i& inside) {
        const __m256i left = _mm256_cmpgt_epi32(whole_vector(line.size[1] - x), ascending());
        const __m256i column = _mm256_maskload_epi32(line.columns + x, left);
        inside = from.holds(row, column);
        return from.place(row, column);
    });
}

// Whole numbers, to which steps are added modulo 2^32.
inline void take_added(const Warping& how, const Pixels& from, const Outside& outside, const WarpedLine& line,
                       const Output& to) {
    const double* m = how.matrix.data();
    const int bits = how.stage->arithmetic.bits;
    const auto start = [&](double at, double down, double across) {
        const uint32_t first = in_units(at, bits) + static_cast<uint32_t>(line.y) * in_units(down, bits);
        return _mm256_add_epi32(whole_vector(first), _mm256_mullo_epi32(ascending(), whole_vector(in_units(across, bits))));
    };
    __m256i column = start(m[2] + m[0] * 0.5 + m[1] * 0.5, m[1], m[0]);
    __m256i row = start(m[5] + m[3] * 0.5 + m[4] * 0.5, m[4], m[3]);
    const __m256i along = whole_vector(in_units(m[0], bits) * EIGHT), down = whole_vector(in_units(m[3], bits) * EIGHT);
    const __m128i shift = _mm_cvtsi32_si128(bits);
    take(from, outside, to, [&](int64_t, __m256i& inside) {
        const __m256i y = _mm256_sra_epi32(row, shift), x = _mm256_sra_epi32(column, shift);
        column = _mm256_add_epi32(column, along), row = _mm256_add_epi32(row, down);
        inside = from.holds(y, x);
        return from.place(y, x);
    });
}

inline void take_cut(const Warping& how, const Framed& framed, const Pixels& from, const Outside& outside,
                     const WarpedLine& line, const Output& to) {
    CutPlaces places(how, framed, line);
    take(from, outside, to, [&](int64_t, __m256i& inside) {
        Doubles column, row;
        inside = places.next(column, row);
        return from.place(to_whole(row), to_whole(column));
    });
}

template <bool fma>
void take_grid(const Warping& how, const Framed& framed, const Pixels& from, const Outside& outside,
               const WarpedLine& line, const Output& to) {
    GridPlaces<fma> places(how, framed, line);
    take(from, outside, to, [&](int64_t, __m256i& inside) {
        __m256 column, row;
        places.next(column, row);
        // Half to even; what no int32 holds becomes the least, which lies outside.
        const __m256i y = _mm256_cvtps_epi32(row), x = _mm256_cvtps_epi32(column);
        inside = from.holds(y, x);
        return from.place(y, x);
    });
}

// Torch's sums, in its order.
template <bool fma>
void sample(const Warping& how, const Framed& framed, const Pixels& from, const Outside& outside, const WarpedLine& line,
            const Output& to) {
    const __m256 one = _mm256_set1_ps(1), before = _mm256_set1_ps(-FRAME);
    const __m256 wide = _mm256_set1_ps(static_cast<float>(framed.width)), tall = _mm256_set1_ps(static_cast<float>(framed.height));
    const bool last = how.stage->form == Warp::sum, colored = line.channels > 1;
    GridPlaces<fma> places(how, framed, line);
    for (int64_t x = 0; x < to.width(); x += EIGHT) {
        __m256 column, row;
        places.next(column, row);
        const __m256 left = _mm256_floor_ps(column), top = _mm256_floor_ps(row);
        // In the frame, as near as it goes; what is no number lies anywhere there.
        const auto kept = [&](__m256 at, __m256 length) { return _mm256_max_ps(_mm256_min_ps(at, length), before); };
        const __m256 west = _mm256_sub_ps(column, left), north = _mm256_sub_ps(row, top);
        const __m256 near_left = kept(left, wide), near_top = kept(top, tall);
        const auto beyond = [&](__m256 at, __m256 length) {
            return _mm256_or_ps(_mm256_cmp_ps(at, before, _CMP_EQ_OQ), _mm256_cmp_ps(at, length, _CMP_EQ_OQ));
        };
        if (_mm256_movemask_ps(_mm256_or_ps(beyond(near_left, wide), beyond(near_top, tall))) == 255 &&
            _mm256_movemask_ps(_mm256_cmp_ps(west, north, _CMP_ORD_Q)) == 255) {
            to.put(x, outside.pixel);
            continue;
        }
        const __m256 east = _mm256_sub_ps(one, west), south = _mm256_sub_ps(one, north);
        const __m256 weights[4] = {_mm256_mul_ps(south, east), _mm256_mul_ps(south, west), _mm256_mul_ps(north, east),
                                   _mm256_mul_ps(north, west)};
        __m256i at[4];
        from.around(from.place(_mm256_cvttps_epi32(near_top), _mm256_cvttps_epi32(near_left)), at);
        const auto sum = [&](auto which) {
            constexpr int c = decltype(which)::value;
            __m256 total = _mm256_mul_ps(channel<c>(at[0]), weights[0]);
            total = joined<fma>(channel<c>(at[1]), weights[1], total);
            total = joined<fma>(channel<c>(at[2]), weights[2], total);
            return joined<fma>(channel<c>(at[3]), weights[3], total);
        };
        const __m256 share = outside.filled ? sum(std::integral_constant<int, 3>()) : one, rest = _mm256_sub_ps(one, share);
        const auto level = [&](auto which) {
            __m256 total = sum(which);
            const __m256 fill = outside.fill[decltype(which)::value];
            if (outside.filled)
                total = last ? _mm256_add_ps(_mm256_mul_ps(total, share), _mm256_mul_ps(rest, fill))
                             : _mm256_add_ps(_mm256_mul_ps(_mm256_sub_ps(total, fill), share), fill);
            return _mm256_cvtps_epi32(total);  // Half to even; what is no number ends in a byte of 0.
        };
        const __m256i low = whole_vector(255);
        __m256i pixels = _mm256_and_si256(level(std::integral_constant<int, 0>()), low);
        if (colored) {
            const __m256i second = _mm256_and_si256(level(std::integral_constant<int, 1>()), low);
            const __m256i third = level(std::integral_constant<int, 2>());
            pixels = _mm256_or_si256(_mm256_or_si256(pixels, _mm256_slli_epi32(second, 8)), _mm256_slli_epi32(third, 16));
        }
        to.put(x, pixels);
    }
}

constexpr float UNSURE = 1.f / 2048;

// Whether all have at most seven bits behind the point: float32 holds their products.
inline bool few_bits(Doubles part) {
    const auto whole = [](__m256d value) {
        const __m256d scaled = _mm256_mul_pd(value, _mm256_set1_pd(128));
        return _mm256_movemask_pd(_mm256_cmp_pd(scaled, _mm256_floor_pd(scaled), _CMP_EQ_OQ));
    };
    return (whole(part.low) & whole(part.high)) == 15;
}

// Some lanes of Pillow's sums, in double.
__attribute__((noinline)) __m256i cut_again(const Framed& from, __m256i pixels, int lanes, __m256i place, Doubles along,
                                            Doubles down) {
    alignas(32) uint32_t made[EIGHT];
    alignas(32) int32_t places[EIGHT];
    alignas(32) double across[EIGHT], below[EIGHT];
    _mm256_store_si256(reinterpret_cast<__m256i*>(made), pixels);
    _mm256_store_si256(reinterpret_cast<__m256i*>(places), place);
    _mm256_store_pd(across, along.low), _mm256_store_pd(across + 4, along.high);
    _mm256_store_pd(below, down.low), _mm256_store_pd(below + 4, down.high);
    for (; lanes; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(static_cast<unsigned>(lanes));
        const uint32_t* at = from.pixels + places[lane];
        uint32_t pixel = 0;
        for (int c = 0; c < 3; ++c) {
            const auto line = [&](const uint32_t* two) {
                const auto level = [&](uint32_t value) { return static_cast<double>(value >> (8 * c) & 255); };
                const double a = level(two[0]), b = level(two[1]);
                return a + (b - a) * across[lane];
            };
            const double first = line(at), second = line(at + from.stride);
            pixel |= static_cast<uint32_t>(first + (second - first) * below[lane]) << (8 * c);
        }
        made[lane] = pixel;
    }
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(made));
}

// Pillow's sums: in float32, and again in double where that might lie on the other side of a whole number.
inline void cut(const Warping& how, const Framed& framed, const Pixels& from, const Outside& outside,
                const WarpedLine& line, const Output& to) {
    CutPlaces places(how, framed, line);
    const __m256d half = _mm256_set1_pd(0.5);
    for (int64_t x = 0; x < to.width(); x += EIGHT) {
        Doubles column, row;
        const __m256i inside = places.next(column, row);
        if (_mm256_testz_si256(inside, inside)) {
            to.put(x, outside.pixel);
            continue;
        }
        column = column.map([&](__m256d at) { return _mm256_sub_pd(at, half); });
        row = row.map([&](__m256d at) { return _mm256_sub_pd(at, half); });
        const auto floor = [](__m256d at) { return _mm256_floor_pd(at); };
        const Doubles left = column.map(floor), top = row.map(floor), along = less(column, left), down = less(row, top);
        const __m256i place = _mm256_and_si256(from.place(to_whole(top), to_whole(left)), inside);
        __m256i at[4];
        from.around(place, at);
        const __m256 across = to_float(along), below = to_float(down);
        __m256i unsure = _mm256_setzero_si256();  // bytes
        const auto level = [&](auto which) {
            constexpr int c = decltype(which)::value;
            const auto between = [](__m256 a, __m256 b, __m256 part) {
                return _mm256_fmadd_ps(_mm256_sub_ps(b, a), part, a);
            };
            const __m256 value = between(between(channel<c>(at[0]), channel<c>(at[1]), across),
                                         between(channel<c>(at[2]), channel<c>(at[3]), across), below);
            const __m256 whole = _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            const __m256 off = _mm256_andnot_ps(_mm256_set1_ps(-0.f), _mm256_sub_ps(value, whole));
            const __m256i close = _mm256_castps_si256(_mm256_cmp_ps(off, _mm256_set1_ps(UNSURE), _CMP_LT_OQ));
            unsure = _mm256_or_si256(unsure, _mm256_and_si256(close, _mm256_set1_epi32(255 << (8 * c))));
            return _mm256_cvttps_epi32(value);
        };
        const __m256i first = level(std::integral_constant<int, 0>()), second = level(std::integral_constant<int, 1>());
        const __m256i third = level(std::integral_constant<int, 2>());
        __m256i pixels = _mm256_or_si256(_mm256_or_si256(first, _mm256_slli_epi32(second, 8)), _mm256_slli_epi32(third, 16));
        // Where all four are the same, there is nothing to round.
        const __m256i same =
            _mm256_and_si256(_mm256_cmpeq_epi8(at[0], at[1]),
                             _mm256_and_si256(_mm256_cmpeq_epi8(at[0], at[2]), _mm256_cmpeq_epi8(at[0], at[3])));
        unsure = _mm256_and_si256(_mm256_andnot_si256(same, unsure), inside);
        if (!_mm256_testz_si256(unsure, unsure) && !(few_bits(along) && few_bits(down))) {
            const __m256i none = _mm256_cmpeq_epi32(unsure, _mm256_setzero_si256());
            const int lanes = ~_mm256_movemask_ps(_mm256_castsi256_ps(none)) & 255;
            pixels = cut_again(framed, pixels, lanes, place, along, down);
        }
        to.put(x, _mm256_blendv_epi8(outside.pixel, pixels, inside));
    }
}

// The four channels of a pixel.
inline __m256d colors(const uint32_t* at) {
    return _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(*at))));
}

inline __m256d cubic(const __m256d (&p)[4], __m256d part) {
    const __m256d two = _mm256_set1_pd(2);
    const __m256d first = _mm256_sub_pd(p[2], p[0]);
    const __m256d second = _mm256_sub_pd(_mm256_add_pd(_mm256_mul_pd(two, _mm256_sub_pd(p[0], p[1])), p[2]), p[3]);
    const __m256d third = _mm256_add_pd(_mm256_sub_pd(_mm256_sub_pd(p[1], p[0]), p[2]), p[3]);
    __m256d sum = _mm256_add_pd(second, _mm256_mul_pd(part, third));
    sum = _mm256_add_pd(first, _mm256_mul_pd(part, sum));
    return _mm256_add_pd(p[1], _mm256_mul_pd(part, sum));
}

// The same of four pixels along either axis, one place after another.
inline void cut_cubic(const Warping& how, const Framed& framed, const Outside& outside, const WarpedLine& line,
                      const Output& to) {
    CutPlaces places(how, framed, line);
    for (int64_t x = 0; x < to.width(); x += EIGHT) {
        Doubles column, row;
        const __m256i inside = places.next(column, row);
        alignas(32) double across[EIGHT], down[EIGHT];
        alignas(32) uint32_t made[EIGHT] = {};
        _mm256_store_pd(across, column.low), _mm256_store_pd(across + 4, column.high);
        _mm256_store_pd(down, row.low), _mm256_store_pd(down + 4, row.high);
        for (int lanes = _mm256_movemask_ps(_mm256_castsi256_ps(inside)); lanes; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(static_cast<unsigned>(lanes));
            const double left = std::floor(across[lane] - 0.5), top = std::floor(down[lane] - 0.5);
            const __m256d part = _mm256_set1_pd(across[lane] - 0.5 - left), below = _mm256_set1_pd(down[lane] - 0.5 - top);
            const uint32_t* at = framed.pixels + (static_cast<int64_t>(top) - 1) * framed.stride + static_cast<int64_t>(left) - 1;
            __m256d lines[4];
            for (int i = 0; i < 4; ++i, at += framed.stride) {
                const __m256d pixels[4] = {colors(at), colors(at + 1), colors(at + 2), colors(at + 3)};
                lines[i] = cubic(pixels, part);
            }
            const __m128i levels = _mm256_cvttpd_epi32(cubic(lines, below));
            const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(levels, levels), levels);
            made[lane] = static_cast<uint32_t>(_mm_cvtsi128_si32(bytes));
        }
        const __m256i pixels = _mm256_load_si256(reinterpret_cast<const __m256i*>(made));
        to.put(x, _mm256_blendv_epi8(outside.pixel, pixels, inside));
    }
}

void warp(const Warping& how, const Framed& from, const WarpedLine& line, uint8_t* out) {
    const Warp& stage = *how.stage;
    const Pixels pixels(from);
    const Outside outside(stage, line.channels);
    const Output to(line, out);
    if (line.columns) return take_columns(pixels, outside, line, to);
    if (stage.form == Warp::cut) {
        if (stage.cubic()) return cut_cubic(how, from, outside, line, to);
        if (!stage.nearest()) return cut(how, from, pixels, outside, line, to);
        if (stage.arithmetic.number == Number::integer && !stage.perspective())
            return take_added(how, pixels, outside, line, to);
        return take_cut(how, from, pixels, outside, line, to);
    }
    const bool fma = stage.arithmetic.fma;
    if (stage.nearest()) return (fma ? take_grid<true> : take_grid<false>)(how, from, pixels, outside, line, to);
    (fma ? sample<true> : sample<false>)(how, from, pixels, outside, line, to);
}

}  // namespace
}  // namespace lt
