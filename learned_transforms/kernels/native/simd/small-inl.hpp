// Passes over small images, whole, for instruction sets with vectors of integers: sums of bytes along rows are words
// between the passes, two vectors of sums side by side, and the second pass takes them apart the same way.
#pragma once

#if defined(LT_AVX512) || defined(LT_AVX2)
#include <immintrin.h>

#include <cstring>

#include "simd/kernel_table.hpp"

namespace lt {
namespace {
namespace small_images {

#if defined(LT_AVX512)
using Ints = __m512i;
using Vector = __m512;
inline Ints load_ints(const void* from) { return _mm512_loadu_si512(from); }
inline void store_ints(void* to, Ints x) { _mm512_storeu_si512(to, x); }
inline Ints all_ints(int32_t x) { return _mm512_set1_epi32(x); }
inline Ints add_products(Ints sum, Ints x, Ints y) { return _mm512_dpwssd_epi32(sum, x, y); }
inline Ints shifted(Ints x, __m128i bits) { return _mm512_sra_epi32(x, bits); }
inline Ints packed(Ints x, Ints y) { return _mm512_packs_epi32(x, y); }
inline Ints low_pairs(Ints x, Ints y) { return _mm512_unpacklo_epi16(x, y); }
inline Ints high_pairs(Ints x, Ints y) { return _mm512_unpackhi_epi16(x, y); }
inline Vector floats_of(Ints x) { return _mm512_cvtepi32_ps(x); }
inline Vector fused(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Ints truncated(Vector x) { return _mm512_cvttps_epi32(x); }
// The low byte of each of them; packed words lie four here, four there.
struct LowBytes {
    alignas(64) uint8_t from[64];
    constexpr LowBytes() : from() {
        for (int i = 0; i < 32; ++i) from[i] = static_cast<uint8_t>(i % 16 / 4 * 16 + i / 16 * 8 + i % 4 * 2);
    }
};
inline void store_levels(Ints x, Ints y, uint8_t* to) {
    static constexpr LowBytes LOW;
    const Ints bytes = _mm512_permutexvar_epi8(load_ints(LOW.from), packed(x, y));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(bytes));
}

// 64 bytes of a row, or all of a shorter one; any of them become words.
class SmallWindow {
  public:
    explicit SmallWindow(int width) : inside_(width < 64 ? (uint64_t{1} << width) - 1 : ~uint64_t{0}) {}
    Ints at(const uint8_t* from) const { return _mm512_maskz_loadu_epi8(inside_, from); }
    static Ints words(Ints window, Ints index) {
        return _mm512_maskz_permutexvar_epi8(0x5555555555555555, index, window);
    }

  private:
    const __mmask64 inside_;
};

// Bytes of a row in any order; where the index is 128 or more, the fill.
class SmallPick {
  public:
    SmallPick(const uint8_t* index, int width)
        : inside_(SmallWindow(width)), index_(load_ints(index)), beyond_(_mm512_movepi8_mask(index_)) {}
    void operator()(const uint8_t* from, uint8_t fill, uint8_t* to) const {
        const Ints picked = _mm512_permutexvar_epi8(index_, inside_.at(from));
        store_ints(to, _mm512_mask_set1_epi8(picked, beyond_, static_cast<char>(fill)));
    }

  private:
    const SmallWindow inside_;
    const Ints index_;
    const __mmask64 beyond_;
};
#else
using Ints = __m256i;
using Vector = __m256;
inline Ints load_ints(const void* from) { return _mm256_loadu_si256(static_cast<const Ints*>(from)); }
inline void store_ints(void* to, Ints x) { _mm256_storeu_si256(static_cast<Ints*>(to), x); }
inline Ints all_ints(int32_t x) { return _mm256_set1_epi32(x); }
inline Ints add_products(Ints sum, Ints x, Ints y) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y)); }
inline Ints shifted(Ints x, __m128i bits) { return _mm256_sra_epi32(x, bits); }
inline Ints packed(Ints x, Ints y) { return _mm256_packs_epi32(x, y); }
inline Ints low_pairs(Ints x, Ints y) { return _mm256_unpacklo_epi16(x, y); }
inline Ints high_pairs(Ints x, Ints y) { return _mm256_unpackhi_epi16(x, y); }
inline Vector floats_of(Ints x) { return _mm256_cvtepi32_ps(x); }
inline Vector fused(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Ints truncated(Vector x) { return _mm256_cvttps_epi32(x); }
inline void store_levels(Ints x, Ints y, uint8_t* to) {
    const Ints words = packed(x, y), bytes = _mm256_packus_epi16(words, words);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
}

// 16 bytes of a row, which is no shorter.
class SmallWindow {
  public:
    explicit SmallWindow(int) {}
    Ints at(const uint8_t* from) const {
        return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    static Ints words(Ints window, Ints index) { return _mm256_shuffle_epi8(window, index); }
};

class SmallPick {
  public:
    SmallPick(const uint8_t* index, int) : index_(_mm_loadu_si128(reinterpret_cast<const __m128i*>(index))) {}
    void operator()(const uint8_t* from, uint8_t fill, uint8_t* to) const {
        const __m128i picked = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)), index_);
        const __m128i filled = _mm_blendv_epi8(picked, _mm_set1_epi8(static_cast<char>(fill)), index_);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), filled);
    }

  private:
    const __m128i index_;
};
#endif

constexpr int64_t LANES = sizeof(Vector) / sizeof(float);

template <int Pairs>
void small_along(const Small& plan, const uint8_t* image, int16_t* middle) {
    const SmallWindow window(plan.width);
    const __m128i bits = _mm_cvtsi32_si128(plan.along.bits);
    const Ints half = all_ints(1 << (plan.along.bits - 1));
    const int height = plan.height, channels = plan.channels;
    const int64_t row = plan.row, channel = plan.channel, step = plan.blocks * LANES;
    for (int block = 0; block < plan.blocks; block += 2) {
        const int32_t* base = plan.along.base.data() + block;
        const int64_t near = base[0], far = base[1];
        const bool shared = near == far;
        Ints index[2][Pairs], weight[2][Pairs];
        for (int b = 0; b < 2; ++b)
            for (int pair = 0; pair < Pairs; ++pair) {
                const int64_t entry = ((block + b) * Pairs + pair) * LANES;
                index[b][pair] = load_ints(plan.along.index.data() + entry);
                weight[b][pair] = load_ints(plan.along.weights.data() + entry);
            }
        int16_t* to = middle + block * LANES;
        for (int c = 0; c < channels; ++c) {
            const uint8_t* from = image + c * channel;
            for (int y = 0; y < height; ++y, from += row, to += step) {
                const Ints first = window.at(from + near), x[2] = {first, shared ? first : window.at(from + far)};
                Ints sum[2] = {half, half};
                for (int b = 0; b < 2; ++b)
                    for (int pair = 0; pair < Pairs; ++pair)
                        sum[b] = add_products(sum[b], SmallWindow::words(x[b], index[b][pair]), weight[b][pair]);
                store_ints(to, packed(shifted(sum[0], bits), shifted(sum[1], bits)));
            }
        }
    }
}

// The taps of one row of the output.
struct SmallRow {
    int64_t at[4];
    bool more;
    Ints half, first, second;
    __m128i bits;

    SmallRow(const Small& plan, int i, int64_t step) : bits(_mm_cvtsi32_si128(plan.down.bits)) {
        for (int k = 0; k < 4; ++k) at[k] = plan.down.base[static_cast<size_t>(4 * i + k)] * step;
        const int32_t* weights = plan.down.weights.data() + 2 * i;
        half = all_ints(1 << (plan.down.bits - 1)), first = all_ints(weights[0]), second = all_ints(weights[1]);
        more = weights[1] != 0;
    }

    void sum(const int16_t* from, Ints (&made)[2]) const {
        const Ints a = load_ints(from + at[0]), b = load_ints(from + at[1]);
        made[0] = add_products(half, low_pairs(a, b), first), made[1] = add_products(half, high_pairs(a, b), first);
        if (more) {
            const Ints c = load_ints(from + at[2]), d = load_ints(from + at[3]);
            made[0] = add_products(made[0], low_pairs(c, d), second);
            made[1] = add_products(made[1], high_pairs(c, d), second);
        }
        made[0] = shifted(made[0], bits), made[1] = shifted(made[1], bits);
    }
};

template <bool Gray>
void small_down(const Small& plan, const int16_t* middle, uint8_t* const* out) {
    // Copies: as far as the compiler knows, bytes that are stored might be parts of the plan.
    const int64_t step = plan.blocks * LANES, channel = step * plan.height, columns = plan.columns;
    const int rows = plan.rows, planes = Gray ? 1 : plan.channels;
    Vector weight[3] = {};
    for (int c = 0; Gray && c < 3; ++c) weight[c] = plan.gray[c] - Vector{};
    for (int i = 0; i < rows; ++i) {
        const SmallRow row(plan, i, step);
        for (int plane = 0; plane < planes; ++plane) {
            const int16_t* from = middle + plane * channel;
            uint8_t* to = out[plane] + i * columns;
            for (int64_t j = 0; j < columns; j += 2 * LANES) {
                Ints sum[2];
                row.sum(from + j, sum);
                if constexpr (Gray) {
                    Vector gray[2] = {floats_of(sum[0]) * weight[0], floats_of(sum[1]) * weight[0]};
                    for (int c = 1; c < 3; ++c) {
                        row.sum(from + c * channel + j, sum);
                        for (int b = 0; b < 2; ++b) gray[b] = fused(floats_of(sum[b]), weight[c], gray[b]);
                    }
                    for (int b = 0; b < 2; ++b) sum[b] = truncated(gray[b]);
                }
                store_levels(sum[0], sum[1], to + j);
            }
        }
    }
}

void small(const Small& plan, const uint8_t* image, int16_t* middle, uint8_t* const* out) {
    (plan.along.pairs == 1 ? small_along<1> : small_along<2>)(plan, image, middle);
    (plan.gray ? small_down<true> : small_down<false>)(plan, middle, out);
}

void small_copy(const SmallCopy& plan, const uint8_t* image, uint8_t* const* out) {
    constexpr int WINDOW = sizeof(Ints) == 64 ? 64 : 16;
    const int rows = plan.rows, columns = plan.columns, blocks = (columns + WINDOW - 1) / WINDOW, width = plan.width;
    for (int c = 0; c < plan.channels; ++c) {
        const uint8_t *from = image + c * plan.channel, fill = plan.fill[c];
        uint8_t* to = out[c];
        for (int i = 0; i < rows; ++i, to += columns) {
            const int y = plan.row_of[i];
            if (y < 0) {
                std::memset(to, fill, static_cast<size_t>(columns));
                continue;
            }
            const uint8_t* line = from + y * plan.row;
            for (int block = 0; block < blocks; ++block)
                SmallPick(plan.index + block * WINDOW, width)(line + plan.base[block], fill, to + block * WINDOW);
        }
    }
}

}  // namespace small_images
}  // namespace
}  // namespace lt
#endif
