// Kernels for AVX2: windows of 16 bytes, two blocks of four lanes in a vector.
#ifdef LT_AVX2
#define LT_FUSED
#include <cpuid.h>
#include <immintrin.h>

#include "simd/generic-inl.hpp"
#include "simd/warp-inl.hpp"

namespace lt {
namespace {

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
inline __m128i load_half(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

// Sums with their rounding term in it, shifted down; `high` counts 2^15 times.
template <bool Wide>
inline __m256i finish(__m256i low, __m256i high, __m128i bits) {
    if constexpr (Wide) low = _mm256_add_epi32(low, _mm256_slli_epi32(high, 15));
    return _mm256_sra_epi32(low, bits);
}

template <bool Wide>
void columns_of(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    const int pairs = plan.taps->pairs;
    const __m128i bits = _mm_cvtsi32_si128(plan.taps->bits);
    const __m256i half = _mm256_set1_epi32(1 << (plan.taps->bits - 1)), zero = _mm256_setzero_si256();
    // The bytes of a row lie four here, four there; blocks of four lanes join to eight.
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int fetched = plan.blocks ? plan.base[0] : 0;
    for (int block = 0; block < plan.blocks; block += 2) {
        const int near = plan.base[static_cast<size_t>(block)], far = plan.base[static_cast<size_t>(block) + 1];
        const __m256i shuffle = load(plan.index.data() + block * 4);
        const int32_t* low = plan.low.data() + block * pairs * 4;
        const int32_t* high = plan.high.data() + block * pairs * 4;
        const int start = fetched;
        for (int row = 0; row < count; row += GROUP) {
            const uint8_t* const* from = rows + row;
            fetched = ahead.fetch(from, count, start, near + 64);
            __m256i sum[GROUP], rest[GROUP];
            for (int r = 0; r < GROUP; ++r) sum[r] = half, rest[r] = zero;
            for (int pair = 0; pair < pairs; ++pair) {
                const __m256i weight = load(low + pair * 8);
                const int moved = pair * plan.step();
                for (int r = 0; r < GROUP; ++r) {
                    const uint8_t* window_row = from[r] + moved;
                    const __m256i window = _mm256_inserti128_si256(
                        _mm256_castsi128_si256(load_half(window_row + near)), load_half(window_row + far), 1);
                    const __m256i x = _mm256_shuffle_epi8(window, shuffle);
                    sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(x, weight));
                    if constexpr (Wide)
                        rest[r] = _mm256_add_epi32(rest[r], _mm256_madd_epi16(x, load(high + pair * 8)));
                }
            }
            for (int r = 0; r < GROUP; ++r) sum[r] = finish<Wide>(sum[r], rest[r], bits);
            alignas(32) uint8_t made[32];
            _mm256_store_si256(reinterpret_cast<__m256i*>(made),
                               _mm256_permutevar8x32_epi32(_mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]),
                                                                               _mm256_packs_epi32(sum[2], sum[3])),
                                                           order));
            for (int r = 0; r < GROUP; ++r) {
                uint8_t* to = out[row + r] + block * plan.active;
                if (plan.active == 4) {
                    std::memcpy(to, made + 8 * r, 8);
                } else {
                    std::memcpy(to, made + 8 * r, 4);
                    std::memcpy(to + plan.active, made + 8 * r + 4, 4);
                }
            }
        }
    }
}

// `Single` channels: sixteen neighboring values in a piece; otherwise up to four of four pixels.
template <bool Wide, bool Single>
void pieces_of(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    constexpr int PAIRS = Single ? 8 : 2;
    const int blocks = plan.blocks, channels = plan.channels, move = PAIRS * plan.step();
    const __m128i bits = _mm_cvtsi32_si128(plan.taps->bits);
    const __m256i zero = _mm256_setzero_si256(), shuffle = load(plan.index.data());
    // The rounding term is that of one lane of each channel.
    const int once = 1 << (plan.taps->bits - 1), other = Single ? 0 : once;
    const __m256i half = _mm256_setr_epi32(once, 0, other, 0, other, 0, other, 0);
    const auto weights = [](const int32_t* from) {
        return Single ? load(from) : _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    };
    for (int row = 0; row < count; row += GROUP) {
        const uint8_t* const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        uint8_t* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        const int32_t *low = plan.low.data(), *high = plan.high.data();
        int fetched = blocks ? plan.base[0] : 0;
        for (int block = 0; block < blocks; ++block) {
            const int base = plan.base[static_cast<size_t>(block)];
            const int stop = base + plan.pieces[static_cast<size_t>(block)] * move;
            fetched = ahead.fetch(from, GROUP, fetched, stop);
            __m256i sum[GROUP], rest[GROUP];
            for (int r = 0; r < GROUP; ++r) sum[r] = half, rest[r] = zero;
            for (int at = base; at < stop; at += move, low += PAIRS) {
                const __m256i weight = weights(low);
                for (int r = 0; r < GROUP; ++r) {
                    const __m128i window = load_half(from[r] + at);
                    const __m256i x = Single ? _mm256_cvtepu8_epi16(window)
                                             : _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(window), shuffle);
                    sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(x, weight));
                    if constexpr (Wide) rest[r] = _mm256_add_epi32(rest[r], _mm256_madd_epi16(x, weights(high)));
                }
                if constexpr (Wide) high += PAIRS;
            }
            if constexpr (Wide)
                for (int r = 0; r < GROUP; ++r) sum[r] = _mm256_add_epi32(sum[r], _mm256_slli_epi32(rest[r], 15));
            // Lanes of a channel are added; then single ones of the halves, or those of the rows are brought together.
            __m256i near = _mm256_hadd_epi32(sum[0], sum[1]), far = _mm256_hadd_epi32(sum[2], sum[3]);
            alignas(16) uint8_t made[16];
            if constexpr (Single) {
                near = _mm256_hadd_epi32(near, far);
                const __m128i total =
                    _mm_add_epi32(_mm256_castsi256_si128(near), _mm256_extracti128_si256(near, 1));
                const __m128i words = _mm_packs_epi32(_mm_sra_epi32(total, bits), _mm_setzero_si128());
                _mm_store_si128(reinterpret_cast<__m128i*>(made), _mm_packus_epi16(words, words));
                for (int r = 0; r < GROUP; ++r) to[r][block] = made[r];
            } else {
                const __m256i words = _mm256_packs_epi32(_mm256_sra_epi32(near, bits), _mm256_sra_epi32(far, bits));
                const __m256i bytes = _mm256_packus_epi16(words, words);
                _mm_store_si128(reinterpret_cast<__m128i*>(made),
                                _mm_unpacklo_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
                for (int r = 0; r < GROUP; ++r) std::memcpy(to[r] + block * channels, made + 4 * r, 4);
            }
        }
    }
}

void columns(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    if (plan.piece == 8)
        return (plan.taps->wide ? pieces_of<true, true> : pieces_of<false, true>)(plan, rows, out, count, ahead);
    if (plan.piece)
        return (plan.taps->wide ? pieces_of<true, false> : pieces_of<false, false>)(plan, rows, out, count, ahead);
    (plan.taps->wide ? columns_of<true> : columns_of<false>)(plan, rows, out, count, ahead);
}

template <bool Wide>
void rows_as(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out) {
    const __m128i bits = _mm_cvtsi32_si128(plan.bits);
    const __m256i half = _mm256_set1_epi32(1 << (plan.bits - 1)), zero = _mm256_setzero_si256();
    for (int64_t at = 0; at < bytes; at += 32) {
        __m256i sum[4], rest[4];
        for (int q = 0; q < 4; ++q) sum[q] = half, rest[q] = zero;
        for (int k = 0; k < plan.count; k += 2) {
            const __m256i weight = _mm256_set1_epi32(plan.low[k / 2 * plan.stride]);
            const __m256i a = load(rows[k] + at), b = load(rows[std::min(k + 1, plan.count - 1)] + at);
            const __m256i near = _mm256_unpacklo_epi8(a, b), far = _mm256_unpackhi_epi8(a, b);
            const __m256i x[4] = {_mm256_unpacklo_epi8(near, zero), _mm256_unpackhi_epi8(near, zero),
                                  _mm256_unpacklo_epi8(far, zero), _mm256_unpackhi_epi8(far, zero)};
            for (int q = 0; q < 4; ++q) sum[q] = _mm256_add_epi32(sum[q], _mm256_madd_epi16(x[q], weight));
            if constexpr (Wide) {
                const __m256i upper = _mm256_set1_epi32(plan.high[k / 2 * plan.stride]);
                for (int q = 0; q < 4; ++q) rest[q] = _mm256_add_epi32(rest[q], _mm256_madd_epi16(x[q], upper));
            }
        }
        for (int q = 0; q < 4; ++q) sum[q] = finish<Wide>(sum[q], rest[q], bits);
        const __m256i packed =
            _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]), _mm256_packs_epi32(sum[2], sum[3]));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), packed);
    }
}

void rows(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out) {
    plan.high ? rows_as<true>(plan, rows, bytes, out) : rows_as<false>(plan, rows, bytes, out);
}

void pick(const Picks& picks, const uint8_t* row, uint8_t* out) {
    const size_t bytes = picks.at.size();
    const int32_t* base = picks.base.data();
    const uint8_t* index = picks.index.data();
    for (size_t at = 0; at < bytes; at += 16, ++base, index += 16) {
        const size_t stop = std::min(at + 16, bytes);
        if (*base < 0 || stop < at + 16) {
            pick_some(picks, row, at, stop, out);
            continue;
        }
        // A shuffle gives 0 for an index of 128 and more.
        const __m128i which = load_half(index);
        const __m128i near = _mm_shuffle_epi8(load_half(row + *base), _mm_adds_epu8(which, _mm_set1_epi8(0x70)));
        const __m128i far = _mm_shuffle_epi8(load_half(row + *base + 16), _mm_sub_epi8(which, _mm_set1_epi8(16)));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + at), _mm_or_si128(near, far));
    }
}

// Where the values of eight lanes lie in a window: of 16 bytes, or of 16 floats.
struct Shuffle {
    __m256i index;   // a value each
    __m256 second;   // those in the second half of the window
    __m128i packed;  // a byte each

    explicit Shuffle(__m256i places) : index(places) {
        second = _mm256_castsi256_ps(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(7)));
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(index), _mm256_extracti128_si256(index, 1));
        packed = _mm_packus_epi16(words, words);
    }
    __m256 values(const uint8_t* window) const {
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_shuffle_epi8(load_half(window), packed)));
    }
    __m256 values(const float* window) const {
        return _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(window), index),
                                _mm256_permutevar8x32_ps(_mm256_loadu_ps(window + 8), index), second);
    }
};

inline __m256 lanes_of(uint16_t mask) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask), bits), bits));
}

template <class In>
void sums_of(const Sums& plan, const In* const* rows, float* const* out, int count) {
    const int blocks = plan.blocks, widest = plan.taps->widest, pixel = plan.pixel, active = plan.active;
    for (int row = 0; row < count; row += GROUP) {
        const In* const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        float* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        for (int block = 0; block < blocks; ++block) {
            const int base = plan.base[block], terms = plan.terms[block], at = block * active;
            const uint16_t *fused = plan.fused.data() + block * widest, *rounded = plan.rounded.data() + block * widest;
            const float* weights = plan.weights.data() + block * widest * 8;
            const Shuffle shuffle(load(plan.index.data() + block * 8));
            __m256 sum[GROUP];
            for (int r = 0; r < GROUP; ++r)
                sum[r] = _mm256_mul_ps(shuffle.values(from[r] + base), _mm256_loadu_ps(weights));
            for (int k = 1; k < terms; ++k) {
                const __m256 weight = _mm256_loadu_ps(weights + k * 8);
                const __m256 once = lanes_of(fused[k]), twice = lanes_of(rounded[k]);
                const int moved = base + k * pixel;
                const auto add = [&](int r, __m256 x) {
                    sum[r] = _mm256_blendv_ps(sum[r], _mm256_add_ps(sum[r], _mm256_mul_ps(x, weight)), twice);
                };
                const auto fuse = [&](int r, __m256 x) {
                    sum[r] = _mm256_blendv_ps(sum[r], _mm256_fmadd_ps(x, weight, sum[r]), once);
                };
                for (int r = 0; r < GROUP; ++r) {
                    const __m256 x = shuffle.values(from[r] + moved);
                    if (rounded[k]) add(r, x);
                    if (fused[k]) fuse(r, x);
                }
            }
            for (int r = 0; r < GROUP; ++r) _mm256_storeu_ps(to[r] + at, sum[r]);
        }
    }
}

// Of 48 bytes, three channels of 16 pixels: where the bytes of one channel lie in each 16, and where they go.
struct Third {
    alignas(16) uint8_t from[3][16];
};

constexpr Third third(int channel) {
    Third made{};
    for (auto& part : made.from)
        for (auto& byte : part) byte = 0x80;
    for (int i = 0; i < 16; ++i) {
        const int byte = 3 * i + channel;
        made.from[byte / 16][i] = static_cast<uint8_t>(byte % 16);
    }
    return made;
}

void split(const uint8_t* in, int channels, int64_t n, uint8_t* const* planes) {
    static constexpr Third THIRDS[3] = {third(0), third(1), third(2)};
    if (channels != 3 || n < 16) return split_plain(in, channels, n, planes);
    for (int64_t at = 0; at < n; at += 16) {
        const int64_t i = std::min(at, n - 16);  // The last vector overlaps the one before.
        for (int c = 0; c < 3; ++c) {
            __m128i plane = _mm_setzero_si128();
            for (int part = 0; part < 3; ++part)
                plane = _mm_or_si128(
                    plane, _mm_shuffle_epi8(load_half(in + 3 * i + 16 * part), load_half(THIRDS[c].from[part])));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(planes[c] + i), plane);
        }
    }
}

// A table that is a formula is computed, which is faster than loading its values one by one.
void table(const Table& table, int64_t channel, const uint8_t* in, int64_t n, float* out) {
    if (!table.formula) return table_plain(table, channel, in, n, out);
    const float unit = table.formula->unit, mean = table.formula->mean[static_cast<size_t>(channel)];
    const float std = table.formula->std[static_cast<size_t>(channel)];
    if (mean == 0 && std == 1)
        for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * unit;
    else
        for (int64_t i = 0; i < n; ++i) out[i] = (static_cast<float>(in[i]) * unit - mean) / std;
}

// 256 bytes in registers of 16: each looks up the low half of an index; the bits of the high half choose among them.
void levels(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out) {
    if (n < 32) return levels_plain(table, in, n, out);
    const __m256i low = _mm256_set1_epi8(15);
    const auto part = [&](int which) { return _mm256_broadcastsi128_si256(load_half(table + 16 * which)); };
    for (int64_t at = 0; at < n; at += 32) {
        const int64_t i = std::min(at, n - 32);  // The last vector overlaps the one before.
        const __m256i index = load(in + i), near = _mm256_and_si256(index, low);
        // Bits 4 to 7, where a blend looks for them.
        const __m256i bits[4] = {_mm256_slli_epi16(index, 3), _mm256_slli_epi16(index, 2), _mm256_slli_epi16(index, 1),
                                 index};
        const auto chosen = [&](const auto& self, int bit, int which) -> __m256i {
            if (bit < 0) return _mm256_shuffle_epi8(part(which), near);
            return _mm256_blendv_epi8(self(self, bit - 1, which), self(self, bit - 1, which + (1 << bit)), bits[bit]);
        };
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), chosen(chosen, 3, 0));
    }
}

void cast(Dtype dtype, const float* in, int64_t n, uint16_t* out) {
    int64_t i = 0;
    for (; dtype == Dtype::float16 && i + 8 <= n; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
    cast_plain(dtype, in + i, n - i, out + i);
}

// Not every compiler can be asked for it by name.
bool converts_halves() {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

constexpr Kernels make() {
    Kernels made = PLAIN;
    made.name = "avx2";
    made.window = 16, made.lanes = 4, made.group = 2;
    made.piece = 2, made.pixels = 8;
    made.formulas = true;
    made.sums = 8, made.bytes_seen = 16, made.floats_seen = 16;
    made.columns = columns;
    made.sums_bytes = sums_of<uint8_t>;
    made.sums_floats = sums_of<float>;
    made.rows = rows;
    made.split = split;
    made.pick = pick, made.picked = 16;
    made.table = table;
    made.levels = levels;
    made.cast = cast;
    made.frame = frame, made.warp = warp;
    return made;
}

constexpr Kernels KERNELS = make();

}  // namespace

const Kernels* avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && converts_halves() ? &KERNELS : nullptr;
}

}  // namespace lt
#else
#include "simd/kernel_table.hpp"
const lt::Kernels* lt::avx2() { return nullptr; }
#endif
