// Warps of images of up to three channels with AVX2, eight pixels at a time; producers/warp.cpp says what they give.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd/kernel_table.hpp"

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
        for (; x + 8 <= n; x += 8) {
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

// Eight pixels as one vector of floats, or two of doubles.
struct Doubles {
    __m256d low, high;
};

inline __m256i halves(__m128i low, __m128i high) { return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1); }
inline __m256i to_whole(Doubles v) { return halves(_mm256_cvttpd_epi32(v.low), _mm256_cvttpd_epi32(v.high)); }
inline __m256 to_float(Doubles v) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(v.low)), _mm256_cvtpd_ps(v.high), 1);
}
// Masks of doubles as masks of their places among eight.
inline __m256i to_mask(Doubles v) {
    const __m256 even = _mm256_shuffle_ps(_mm256_castpd_ps(v.low), _mm256_castpd_ps(v.high), 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(even), 0xd8);
}
template <class F>
inline Doubles each(const F& f) {
    return {f(0), f(1)};
}

class WarpLine {
  public:
    WarpLine(const Warping& how, const Framed& from, const WarpedLine& line, uint8_t* out)
        : how_(how), stage_(*how.stage), from_(from), line_(line), out_(out) {
        for (int64_t c = 0; c < line.channels && !stage_.fill.empty(); ++c) fill_[c] = stage_.fill[static_cast<size_t>(c)];
        for (int64_t c = 0; c < line.channels; ++c)
            fill_pixel_ |= static_cast<uint32_t>(std::min(std::max(std::nearbyint(fill_[c]), 0.f), 255.f)) << (8 * c);
        const double* m = how.matrix.data();
        const float halves[2] = {0.5f * static_cast<float>(from.width), 0.5f * static_cast<float>(from.height)};
        for (int n = 0; n < 6; ++n) grid_[n] = static_cast<float>(m[n]) / halves[n / 3];
        grid_[6] = static_cast<float>(m[6]), grid_[7] = static_cast<float>(m[7]);
        fuses_ = stage_.fused > 0 && line.size[0] * line.size[1] >= stage_.fused;
    }

    void run() {
        const bool whole_numbers = stage_.arithmetic.number == Number::integer && !stage_.perspective();
        if (line_.columns)
            nearest([&](int64_t x) { return column_places(x); });
        else if (stage_.form == Warp::cut && stage_.nearest())
            whole_numbers ? add_up() : nearest([&](int64_t x) { return cut_places(x); });
        else if (stage_.form == Warp::cut)
            cut();
        else if (stage_.nearest())
            stage_.arithmetic.fma ? nearest([&](int64_t x) { return grid_places<true>(x); })
                                  : nearest([&](int64_t x) { return grid_places<false>(x); });
        else
            stage_.arithmetic.fma ? sample<true>() : sample<false>();
    }

  private:
    static constexpr int64_t N = 8;

    int64_t width() const { return line_.size[1]; }

    // Which pixel is taken, and for which there is one.
    struct Taken {
        __m256i place, inside;
    };

    template <class Places>
    void nearest(const Places& places) {
        const __m256i fill = _mm256_set1_epi32(static_cast<int>(fill_pixel_));
        for (int64_t x = 0; x < width(); x += N) {
            const Taken taken = places(x);
            const __m256i pixels = _mm256_i32gather_epi32(reinterpret_cast<const int*>(from_.pixels), taken.place, 4);
            put(x, _mm256_blendv_epi8(fill, pixels, taken.inside));
        }
    }

    Taken taken(__m256i row, __m256i column) const {
        const auto within = [](__m256i at, int64_t n) {
            return _mm256_andnot_si256(_mm256_srai_epi32(at, 31), _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), at));
        };
        const __m256i inside = _mm256_and_si256(within(row, from_.height), within(column, from_.width));
        const __m256i stride = _mm256_set1_epi32(static_cast<int>(from_.stride));
        return {_mm256_and_si256(_mm256_add_epi32(_mm256_mullo_epi32(row, stride), column), inside), inside};
    }

    Taken column_places(int64_t x) const {
        alignas(32) int32_t columns[N];
        for (int64_t k = 0; k < N; ++k) columns[k] = line_.row < 0 || x + k >= width() ? -1 : line_.columns[x + k];
        return taken(_mm256_set1_epi32(static_cast<int>(line_.row)),
                     _mm256_load_si256(reinterpret_cast<const __m256i*>(columns)));
    }

    // Whole numbers, to which steps are added modulo 2^32.
    void add_up() {
        const double* m = how_.matrix.data();
        const int bits = stage_.arithmetic.bits;
        const auto whole = [bits](double value) {
            const double rounded = std::floor(std::ldexp(value, bits) + 0.5);
            return std::abs(rounded) < 9e18 ? static_cast<uint32_t>(static_cast<int64_t>(rounded)) : 0u;
        };
        const __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const auto start = [&](double at, double down, double across) {
            const uint32_t first = whole(at) + static_cast<uint32_t>(line_.y) * whole(down);
            return _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(first)),
                                    _mm256_mullo_epi32(iota, _mm256_set1_epi32(static_cast<int>(whole(across)))));
        };
        const auto steps = [&](double across) { return _mm256_set1_epi32(static_cast<int>(whole(across) * N)); };
        __m256i column = start(m[2] + m[0] * 0.5 + m[1] * 0.5, m[1], m[0]);
        __m256i row = start(m[5] + m[3] * 0.5 + m[4] * 0.5, m[4], m[3]);
        const __m256i along = steps(m[0]), down = steps(m[3]);
        const __m128i shift = _mm_cvtsi32_si128(bits);
        nearest([&](int64_t) {
            const Taken found = taken(_mm256_sra_epi32(row, shift), _mm256_sra_epi32(column, shift));
            column = _mm256_add_epi32(column, along), row = _mm256_add_epi32(row, down);
            return found;
        });
    }

    // Where eight pixels from x on lie: in pixels.
    void cut_place(int64_t x, Doubles& column, Doubles& row) const {
        const double *m = how_.matrix.data(), down = static_cast<double>(line_.y) + 0.5;
        const __m256d first = _mm256_set1_pd(static_cast<double>(x) + 0.5);
        const __m256d across[2] = {_mm256_add_pd(first, _mm256_setr_pd(0, 1, 2, 3)),
                                   _mm256_add_pd(first, _mm256_setr_pd(4, 5, 6, 7))};
        const auto product = [&](int n, double p, double q, double r) {
            return _mm256_add_pd(_mm256_add_pd(_mm256_mul_pd(_mm256_set1_pd(p), across[n]), _mm256_set1_pd(q * down)),
                                 _mm256_set1_pd(r));
        };
        column = each([&](int n) { return product(n, m[0], m[1], m[2]); });
        row = each([&](int n) { return product(n, m[3], m[4], m[5]); });
        if (!stage_.perspective()) return;
        const Doubles depth = each([&](int n) { return product(n, m[6], m[7], 1); });
        column = {_mm256_div_pd(column.low, depth.low), _mm256_div_pd(column.high, depth.high)};
        row = {_mm256_div_pd(row.low, depth.low), _mm256_div_pd(row.high, depth.high)};
    }

    // Those that lie in the image; what is no number does not.
    __m256i inside(Doubles column, Doubles row) const {
        const auto within = [](__m256d at, int64_t n) {
            return _mm256_and_pd(_mm256_cmp_pd(at, _mm256_setzero_pd(), _CMP_GE_OQ),
                                 _mm256_cmp_pd(at, _mm256_set1_pd(static_cast<double>(n)), _CMP_LT_OQ));
        };
        return to_mask({_mm256_and_pd(within(column.low, from_.width), within(row.low, from_.height)),
                        _mm256_and_pd(within(column.high, from_.width), within(row.high, from_.height))});
    }

    Taken cut_places(int64_t x) const {
        Doubles column, row;
        cut_place(x, column, row);
        const __m256i held = inside(column, row), stride = _mm256_set1_epi32(static_cast<int>(from_.stride));
        const __m256i place = _mm256_add_epi32(_mm256_mullo_epi32(to_whole(row), stride), to_whole(column));
        return {_mm256_and_si256(place, held), held};
    }

    // The same in pixels from the middle of the first, by way of halves of the image.
    template <bool fma>
    void grid_place(int64_t x, __m256& column, __m256& row) const {
        const bool perspective = stage_.perspective();
        const auto centered = [&](int64_t i, int64_t n) {
            return perspective ? static_cast<float>(i) + 0.5f : (1.f - static_cast<float>(n)) * 0.5f + static_cast<float>(i);
        };
        const __m256 across = _mm256_add_ps(_mm256_set1_ps(centered(x, width())), _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7));
        const __m256 down = _mm256_set1_ps(centered(line_.y, line_.size[0])), one = _mm256_set1_ps(1);
        const auto product = [&](float p, float q, float r) {
            const __m256 first = _mm256_mul_ps(across, _mm256_set1_ps(p)), second = _mm256_set1_ps(q);
            const __m256 both = fuses_ ? _mm256_fmadd_ps(down, second, first)
                                       : _mm256_add_ps(first, _mm256_mul_ps(down, second));
            return _mm256_add_ps(both, _mm256_set1_ps(r));
        };
        const float* t = grid_;
        column = product(t[0], t[1], t[2]), row = product(t[3], t[4], t[5]);
        if (perspective) {
            const __m256 depth = product(t[6], t[7], 1);
            column = _mm256_sub_ps(_mm256_div_ps(column, depth), one), row = _mm256_sub_ps(_mm256_div_ps(row, depth), one);
        }
        const __m256 half = _mm256_set1_ps(-0.5f);
        const auto scaled = [&](__m256 at, int64_t n) {
            return joined<fma>(_mm256_add_ps(at, one), _mm256_set1_ps(static_cast<float>(n) / 2), half);
        };
        column = scaled(column, from_.width), row = scaled(row, from_.height);
    }

    template <bool fma>
    static __m256 joined(__m256 a, __m256 b, __m256 sum) {
        return fma ? _mm256_fmadd_ps(a, b, sum) : _mm256_add_ps(_mm256_mul_ps(a, b), sum);
    }

    // In the frame, as near as it goes; what is no number lies anywhere there.
    __m256i place_of(__m256 row, __m256 column) const {
        const __m256 before = _mm256_set1_ps(-FRAME);
        const auto kept = [&](__m256 at, int64_t n) {
            return _mm256_cvttps_epi32(_mm256_max_ps(_mm256_min_ps(at, _mm256_set1_ps(static_cast<float>(n))), before));
        };
        return _mm256_add_epi32(
            _mm256_mullo_epi32(kept(row, from_.height), _mm256_set1_epi32(static_cast<int>(from_.stride))),
            kept(column, from_.width));
    }

    template <bool fma>
    Taken grid_places(int64_t x) const {
        __m256 column, row;
        grid_place<fma>(x, column, row);
        const auto middle = [](__m256 at) { return _mm256_round_ps(at, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); };
        column = middle(column), row = middle(row);
        const auto within = [](__m256 at, int64_t n) {
            return _mm256_and_ps(_mm256_cmp_ps(at, _mm256_setzero_ps(), _CMP_GE_OQ),
                                 _mm256_cmp_ps(at, _mm256_set1_ps(static_cast<float>(n)), _CMP_LT_OQ));
        };
        const __m256 held = _mm256_and_ps(within(column, from_.width), within(row, from_.height));
        return {place_of(row, column), _mm256_castps_si256(held)};
    }

    // The four pixels around each of eight places, of which `place` is the first.
    struct Corners {
        __m256i first, second, third, fourth;
    };

    Corners corners(__m256i place) const {
        // Places leave the vector through registers: through memory each would wait for its store.
        const __m256i up = _mm256_add_epi32(place, _mm256_set1_epi32(static_cast<int>(before())));
        const __m128i low = _mm256_castsi256_si128(up), high = _mm256_extracti128_si256(up, 1);
        const uint64_t pair[4] = {
            static_cast<uint64_t>(_mm_cvtsi128_si64(low)), static_cast<uint64_t>(_mm_extract_epi64(low, 1)),
            static_cast<uint64_t>(_mm_cvtsi128_si64(high)), static_cast<uint64_t>(_mm_extract_epi64(high, 1))};
        Corners found;
        const auto row = [&](int64_t moved, __m256i& left, __m256i& right) {
            const uint32_t* start = from_.pixels - before() + moved;
            const auto both = [start](uint64_t two) {  // left, left, right, right
                const auto load = [](const uint32_t* at) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)); };
                return _mm_unpacklo_epi32(load(start + static_cast<uint32_t>(two)), load(start + (two >> 32)));
            };
            const __m128i a = both(pair[0]), b = both(pair[1]), c = both(pair[2]), d = both(pair[3]);
            left = halves(_mm_unpacklo_epi64(a, b), _mm_unpacklo_epi64(c, d));
            right = halves(_mm_unpackhi_epi64(a, b), _mm_unpackhi_epi64(c, d));
        };
        row(0, found.first, found.second);
        row(from_.stride, found.third, found.fourth);
        return found;
    }

    // Pixels of the frame before the first of the image: counted from there, none is negative.
    int64_t before() const { return FRAME * from_.stride + FRAME; }

    static __m256 channel(__m256i pixels, int c) {
        const __m256i moved = _mm256_srli_epi32(pixels, 8 * c);
        return _mm256_cvtepi32_ps(c == 3 ? moved : _mm256_and_si256(moved, _mm256_set1_epi32(255)));
    }

    // Torch's sums, in its order.
    template <bool fma>
    void sample() {
        const __m256 one = _mm256_set1_ps(1);
        const bool filled = !stage_.fill.empty();
        for (int64_t x = 0; x < width(); x += N) {
            __m256 column, row;
            grid_place<fma>(x, column, row);
            const __m256 left = _mm256_floor_ps(column), top = _mm256_floor_ps(row);
            const __m256 west = _mm256_sub_ps(column, left), east = _mm256_sub_ps(one, west);
            const __m256 north = _mm256_sub_ps(row, top), south = _mm256_sub_ps(one, north);
            const __m256 weights[4] = {_mm256_mul_ps(south, east), _mm256_mul_ps(south, west), _mm256_mul_ps(north, east),
                                       _mm256_mul_ps(north, west)};
            const Corners at = corners(place_of(top, left));
            const auto sum = [&](int c) {
                __m256 total = _mm256_mul_ps(channel(at.first, c), weights[0]);
                total = joined<fma>(channel(at.second, c), weights[1], total);
                total = joined<fma>(channel(at.third, c), weights[2], total);
                return joined<fma>(channel(at.fourth, c), weights[3], total);
            };
            const __m256 share = filled ? sum(3) : one;
            __m256i pixels = _mm256_setzero_si256();
            for (int c = 0; c < line_.channels; ++c) {
                __m256 total = sum(c);
                const __m256 fill = _mm256_set1_ps(fill_[c]);
                if (filled && stage_.form == Warp::from_fill)
                    total = _mm256_add_ps(_mm256_mul_ps(_mm256_sub_ps(total, fill), share), fill);
                if (filled && stage_.form == Warp::sum)
                    total = _mm256_add_ps(_mm256_mul_ps(total, share), _mm256_mul_ps(_mm256_sub_ps(one, share), fill));
                // Half to even; what is no number ends in a byte of 0.
                const __m256i levels = _mm256_and_si256(_mm256_cvtps_epi32(total), _mm256_set1_epi32(255));
                pixels = _mm256_or_si256(pixels, _mm256_sll_epi32(levels, _mm_cvtsi32_si128(8 * c)));
            }
            put(x, pixels);
        }
    }

    // Pillow's sums: in float32, and again in double where that might lie on the other side of a whole number.
    void cut() {
        const __m256i fill = _mm256_set1_epi32(static_cast<int>(fill_pixel_));
        for (int64_t x = 0; x < width(); x += N) {
            Doubles column, row;
            cut_place(x, column, row);
            const __m256i held = inside(column, row);
            if (_mm256_testz_si256(held, held)) {
                put(x, fill);
                continue;
            }
            const auto behind = [](Doubles at) {
                const __m256d half = _mm256_set1_pd(0.5);
                return Doubles{_mm256_sub_pd(at.low, half), _mm256_sub_pd(at.high, half)};
            };
            const auto floor = [](Doubles at) { return Doubles{_mm256_floor_pd(at.low), _mm256_floor_pd(at.high)}; };
            const auto less = [](Doubles a, Doubles b) {
                return Doubles{_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)};
            };
            column = behind(column), row = behind(row);
            const Doubles left = floor(column), top = floor(row), along = less(column, left), down = less(row, top);
            const __m256i place =
                _mm256_and_si256(_mm256_add_epi32(_mm256_mullo_epi32(to_whole(top), _mm256_set1_epi32(static_cast<int>(from_.stride))),
                                                  to_whole(left)),
                                 held);
            const Corners at = corners(place);
            const __m256 across = to_float(along), below = to_float(down);
            __m256i pixels = _mm256_setzero_si256(), unsure = _mm256_setzero_si256();
            for (int c = 0; c < line_.channels; ++c) {
                const auto between = [](__m256 a, __m256 b, __m256 part) {
                    return _mm256_fmadd_ps(_mm256_sub_ps(b, a), part, a);
                };
                const __m256 first = between(channel(at.first, c), channel(at.second, c), across);
                const __m256 value = between(first, between(channel(at.third, c), channel(at.fourth, c), across), below);
                const __m256 near = _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
                const __m256 off = _mm256_andnot_ps(_mm256_set1_ps(-0.f), _mm256_sub_ps(value, near));
                unsure = _mm256_or_si256(
                    unsure, _mm256_castps_si256(_mm256_cmp_ps(off, _mm256_set1_ps(UNSURE), _CMP_LT_OQ)));
                pixels = _mm256_or_si256(pixels, _mm256_sll_epi32(_mm256_cvttps_epi32(value), _mm_cvtsi32_si128(8 * c)));
            }
            unsure = _mm256_and_si256(unsure, held);
            if (!_mm256_testz_si256(unsure, unsure)) {
                // Where all four are the same, there is nothing to round; nor with few bits behind the point.
                const __m256i same = _mm256_and_si256(_mm256_cmpeq_epi32(at.first, at.second),
                                                      _mm256_and_si256(_mm256_cmpeq_epi32(at.first, at.third),
                                                                       _mm256_cmpeq_epi32(at.first, at.fourth)));
                const __m256i doubtful = _mm256_andnot_si256(same, unsure);
                int lanes = _mm256_movemask_ps(_mm256_castsi256_ps(doubtful));
                if (lanes && !(few_bits(along) && few_bits(down))) pixels = again(pixels, lanes, place, along, down);
            }
            put(x, _mm256_blendv_epi8(fill, pixels, held));
        }
    }

    static constexpr float UNSURE = 1.f / 2048;

    // Whether all have at most seven bits behind the point: float32 holds their products.
    static bool few_bits(Doubles part) {
        const auto whole = [](__m256d value) {
            const __m256d scaled = _mm256_mul_pd(value, _mm256_set1_pd(128));
            return _mm256_movemask_pd(_mm256_cmp_pd(scaled, _mm256_floor_pd(scaled), _CMP_EQ_OQ));
        };
        return (whole(part.low) & whole(part.high)) == 15;
    }

    __m256i again(__m256i pixels, int lanes, __m256i place, Doubles along, Doubles down) const {
        alignas(32) uint32_t made[N];
        alignas(32) int32_t places[N];
        alignas(32) double across[N], below[N];
        _mm256_store_si256(reinterpret_cast<__m256i*>(made), pixels);
        _mm256_store_si256(reinterpret_cast<__m256i*>(places), place);
        _mm256_store_pd(across, along.low), _mm256_store_pd(across + 4, along.high);
        _mm256_store_pd(below, down.low), _mm256_store_pd(below + 4, down.high);
        for (; lanes; lanes &= lanes - 1) {
            const int lane = __builtin_ctz(static_cast<unsigned>(lanes));
            const uint32_t* at = from_.pixels + places[lane];
            uint32_t pixel = 0;
            for (int64_t c = 0; c < line_.channels; ++c) {
                const auto line = [&](const uint32_t* two) {
                    const auto level = [&](uint32_t value) { return static_cast<double>(value >> (8 * c) & 255); };
                    const double a = level(two[0]), b = level(two[1]);
                    return a + (b - a) * across[lane];
                };
                const double first = line(at), second = line(at + from_.stride);
                pixel |= static_cast<uint32_t>(first + (second - first) * below[lane]) << (8 * c);
            }
            made[lane] = pixel;
        }
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(made));
    }

    // Eight pixels of the output from x on, as far as the line goes.
    void put(int64_t x, __m256i pixels) const {
        const int64_t n = std::min(N, width() - x);
        if (line_.plane == 0) {
            const __m256i packed = _mm256_shuffle_epi8(
                pixels, _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, 0, 1, 2, 4, 5, 6, 8, 9, 10,
                                         12, 13, 14, -1, -1, -1, -1));
            uint8_t* to = out_ + x * line_.channels;
            if (line_.channels == 3) {  // What is written behind the line does not matter.
                _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
                if (n > 4) _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 12), _mm256_extracti128_si256(packed, 1));
                return;
            }
        }
        const __m256i apart = _mm256_shuffle_epi8(
            pixels, _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10,
                                     14, 3, 7, 11, 15));
        alignas(32) uint8_t bytes[32];
        _mm256_store_si256(reinterpret_cast<__m256i*>(bytes),
                           _mm256_permutevar8x32_epi32(apart, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
        for (int64_t c = 0; c < line_.channels; ++c) {
            if (line_.plane == 0)
                for (int64_t k = 0; k < n; ++k) out_[(x + k) * line_.channels + c] = bytes[8 * c + k];
            else if (n == N)
                std::memcpy(out_ + c * line_.plane + x, bytes + 8 * c, N);
            else
                std::memcpy(out_ + c * line_.plane + x, bytes + 8 * c, static_cast<size_t>(n));
        }
    }

    const Warping& how_;
    const Warp& stage_;
    const Framed& from_;
    const WarpedLine& line_;
    uint8_t* const out_;
    float fill_[3] = {};
    uint32_t fill_pixel_ = 0;
    float grid_[8];
    bool fuses_;
};

void warp(const Warping& how, const Framed& from, const WarpedLine& line, uint8_t* out) {
    WarpLine(how, from, line, out).run();
}

}  // namespace
}  // namespace lt
