// Where eight pixels of a warp lie at a time, and the pixels of four bytes around places, with AVX2.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "simd/kernel_table.hpp"

namespace lt {
namespace {

constexpr int64_t EIGHT = 8;

// Eight numbers as two vectors of doubles.
struct Doubles {
    __m256d low, high;

    template <class F>
    Doubles map(const F& f) const {
        return {f(low), f(high)};
    }
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
inline Doubles less(Doubles a, Doubles b) { return {_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)}; }
inline Doubles over(Doubles a, Doubles b) { return {_mm256_div_pd(a.low, b.low), _mm256_div_pd(a.high, b.high)}; }

inline __m256i whole_vector(int64_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }
inline __m256i ascending() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }

template <bool fma>
inline __m256 joined(__m256 a, __m256 b, __m256 sum) {
    return fma ? _mm256_fmadd_ps(a, b, sum) : _mm256_add_ps(_mm256_mul_ps(a, b), sum);
}

// Where eight pixels after another of a line lie in the image, in pixels; producers/warp.cpp has the same one by one.
class CutPlaces {
  public:
    CutPlaces(const Warping& how, const Framed& from, const WarpedLine& line)
        : perspective_(how.stage->perspective()),
          width_(_mm256_set1_pd(static_cast<double>(from.width))),
          height_(_mm256_set1_pd(static_cast<double>(from.height))),
          across_{_mm256_setr_pd(0.5, 1.5, 2.5, 3.5), _mm256_setr_pd(4.5, 5.5, 6.5, 7.5)} {
        const double *m = how.matrix.data(), down = static_cast<double>(line.y) + 0.5;
        for (int n = 0; n < 3; ++n) {
            p_[n] = _mm256_set1_pd(m[3 * n]);
            q_[n] = _mm256_set1_pd(m[3 * n + 1] * down);
            r_[n] = _mm256_set1_pd(n < 2 ? m[3 * n + 2] : 1);
        }
    }

    // Those that are next, and which of them lie in the image; what is no number does not.
    __m256i next(Doubles& column, Doubles& row) {
        column = product(0), row = product(1);
        if (perspective_) {
            const Doubles depth = product(2);
            column = over(column, depth), row = over(row, depth);
        }
        const __m256d step = _mm256_set1_pd(static_cast<double>(EIGHT));
        across_ = across_.map([&](__m256d at) { return _mm256_add_pd(at, step); });
        return to_mask({_mm256_and_pd(within(column.low, width_), within(row.low, height_)),
                        _mm256_and_pd(within(column.high, width_), within(row.high, height_))});
    }

  private:
    Doubles product(int n) const {
        return across_.map([&](__m256d at) {
            return _mm256_add_pd(_mm256_add_pd(_mm256_mul_pd(p_[n], at), q_[n]), r_[n]);
        });
    }
    static __m256d within(__m256d at, __m256d length) {
        return _mm256_and_pd(_mm256_cmp_pd(at, _mm256_setzero_pd(), _CMP_GE_OQ), _mm256_cmp_pd(at, length, _CMP_LT_OQ));
    }

    const bool perspective_;
    const __m256d width_, height_;
    Doubles across_;
    __m256d p_[3], q_[3], r_[3];
};

// The same from the middle of the first pixel, by way of halves of the image: of a matrix, or out of a field.
template <bool fma>
class GridPlaces {
  public:
    GridPlaces(const Warping& how, const Framed& from, const WarpedLine& line)
        : perspective_(how.stage->perspective()),
          fuses_(how.stage->fused > 0 && line.size[0] * line.size[1] >= how.stage->fused),
          down_(_mm256_set1_ps(centered(line.y, line.size[0]))),
          wide_(_mm256_set1_ps(static_cast<float>(from.width) / 2)),
          tall_(_mm256_set1_ps(static_cast<float>(from.height) / 2)),
          across_(_mm256_add_ps(_mm256_set1_ps(centered(0, line.size[1])), _mm256_cvtepi32_ps(ascending()))),
          places_(how.places ? how.places + line.y * line.size[1] : nullptr),
          plane_(line.size[0] * line.size[1]),
          left_(line.size[1]) {
        if (places_) return;
        const float sides[3] = {0.5f * static_cast<float>(from.width), 0.5f * static_cast<float>(from.height), 1};
        for (int n = 0; n < 3; ++n) {
            const auto number = [&](int k) { return static_cast<float>(how.matrix[static_cast<size_t>(3 * n + k)]) / sides[n]; };
            p_[n] = _mm256_set1_ps(number(0)), q_[n] = _mm256_set1_ps(number(1));
            r_[n] = _mm256_set1_ps(n < 2 ? number(2) : 1);
            moved_[n] = _mm256_mul_ps(down_, q_[n]);
        }
    }

    void next(__m256& column, __m256& row) {
        const __m256 one = _mm256_set1_ps(1);
        if (places_) {
            // Behind the last place there may be no memory.
            const __m256i there = _mm256_cmpgt_epi32(whole_vector(std::min(left_, EIGHT)), ascending());
            column = _mm256_maskload_ps(places_, there), row = _mm256_maskload_ps(places_ + plane_, there);
            places_ += EIGHT, left_ -= EIGHT;
        } else {
            column = product(0), row = product(1);
        }
        if (perspective_) {
            const __m256 depth = product(2);
            column = _mm256_sub_ps(_mm256_div_ps(column, depth), one), row = _mm256_sub_ps(_mm256_div_ps(row, depth), one);
        }
        column = joined<fma>(_mm256_add_ps(column, one), wide_, _mm256_set1_ps(-0.5f));
        row = joined<fma>(_mm256_add_ps(row, one), tall_, _mm256_set1_ps(-0.5f));
        across_ = _mm256_add_ps(across_, _mm256_set1_ps(static_cast<float>(EIGHT)));
    }

  private:
    float centered(int64_t i, int64_t n) const {
        return perspective_ ? static_cast<float>(i) + 0.5f : (1.f - static_cast<float>(n)) * 0.5f + static_cast<float>(i);
    }
    __m256 product(int n) const {
        const __m256 first = _mm256_mul_ps(across_, p_[n]);
        return _mm256_add_ps(fuses_ ? _mm256_fmadd_ps(down_, q_[n], first) : _mm256_add_ps(first, moved_[n]), r_[n]);
    }

    const bool perspective_, fuses_;
    const __m256 down_, wide_, tall_;
    __m256 across_, p_[3], q_[3], r_[3], moved_[3];
    const float* places_;  // of the next eight; null: a matrix gives them
    const int64_t plane_;
    int64_t left_;
};

// Pixels of an image with four bytes each.
class Pixels {
  public:
    explicit Pixels(const Framed& from)
        : from_(from.pixels),
          stride_(from.stride),
          // Counted from the first of the frame, no place is negative.
          start_(from.pixels - FRAME * from.stride - FRAME),
          moved_(whole_vector(FRAME * from.stride + FRAME)),
          rows_(whole_vector(from.height)),
          columns_(whole_vector(from.width)),
          strides_(whole_vector(from.stride)) {}

    // Which whole places lie in the image.
    __m256i holds(__m256i row, __m256i column) const {
        const auto within = [](__m256i at, __m256i length) {
            return _mm256_andnot_si256(_mm256_srai_epi32(at, 31), _mm256_cmpgt_epi32(length, at));
        };
        return _mm256_and_si256(within(row, rows_), within(column, columns_));
    }

    __m256i place(__m256i row, __m256i column) const {
        return _mm256_add_epi32(_mm256_mullo_epi32(row, strides_), column);
    }

    __m256i at(__m256i place) const {
        return _mm256_i32gather_epi32(reinterpret_cast<const int*>(from_), place, 4);
    }

    // The four around each of eight places, of which `place` is the first.
    void around(__m256i place, __m256i (&found)[4]) const {
        // Places leave the vector through registers: through memory each would wait for its store.
        const __m256i up = _mm256_add_epi32(place, moved_);
        const __m128i low = _mm256_castsi256_si128(up), high = _mm256_extracti128_si256(up, 1);
        const uint64_t pair[4] = {
            static_cast<uint64_t>(_mm_cvtsi128_si64(low)), static_cast<uint64_t>(_mm_extract_epi64(low, 1)),
            static_cast<uint64_t>(_mm_cvtsi128_si64(high)), static_cast<uint64_t>(_mm_extract_epi64(high, 1))};
        for (int row = 0; row < 2; ++row) {
            const uint32_t* start = start_ + row * stride_;
            const auto both = [start](uint64_t two) {  // left, left, right, right
                const auto load = [](const uint32_t* at) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)); };
                return _mm_unpacklo_epi32(load(start + static_cast<uint32_t>(two)), load(start + (two >> 32)));
            };
            const __m128i a = both(pair[0]), b = both(pair[1]), c = both(pair[2]), d = both(pair[3]);
            found[2 * row] = halves(_mm_unpacklo_epi64(a, b), _mm_unpacklo_epi64(c, d));
            found[2 * row + 1] = halves(_mm_unpackhi_epi64(a, b), _mm_unpackhi_epi64(c, d));
        }
    }

  private:
    const uint32_t* const from_;
    const int64_t stride_;
    const uint32_t* const start_;
    const __m256i moved_, rows_, columns_, strides_;
};

}  // namespace
}  // namespace lt
