// Kernels for AVX-512 with VBMI and VNNI: windows of 64 bytes, one block of sixteen lanes in a vector.
#ifdef LT_AVX512
#define LT_FUSED
#include <immintrin.h>

#include "simd/generic-inl.hpp"
#include "simd/warp-inl.hpp"

namespace lt {
namespace {

inline void store_quarter(uint8_t* to, __m128i bytes) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes); }
inline __m512i load(const void* from) { return _mm512_loadu_si512(from); }

// Sums with their rounding term in it, shifted down; `high` counts 2^15 times.
template <bool Wide>
inline __m512i finish(__m512i low, __m512i high, __m128i bits) {
    if constexpr (Wide) low = _mm512_add_epi32(low, _mm512_slli_epi32(high, 15));
    return _mm512_sra_epi32(low, bits);
}

// `Shared`: all taps of a block lie in one window. `Pairs` of taps, if they are known beforehand, or 0.
template <bool Wide, bool Shared, int Pairs>
void columns_of(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    constexpr __mmask64 EVEN = 0x5555555555555555;  // each byte becomes a word
    // Copies: as far as the compiler knows, bytes that are stored might be parts of the plan.
    const int pairs = Pairs ? Pairs : plan.taps->pairs, blocks = plan.blocks, active = plan.active, move = plan.step();
    const int32_t *bases = plan.base.data(), *index = plan.index.data();
    const int32_t *low = plan.low.data(), *high = plan.high.data();
    const __m128i bits = _mm_cvtsi32_si128(plan.taps->bits);
    const __m512i half = _mm512_set1_epi32(1 << (plan.taps->bits - 1)), zero = _mm512_setzero_si512();
    const __m512i step = _mm512_set1_epi8(static_cast<char>(move));
    for (int row = 0; row < count; row += GROUP) {
        const uint8_t *const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        uint8_t* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        int fetched = blocks ? bases[0] : 0;
        for (int block = 0; block < blocks; ++block) {
            const int base = bases[block], at = block * active;
            fetched = ahead.fetch(from, GROUP, fetched, base + 64);
            const int32_t *near = low + block * pairs * 16, *far = high + block * pairs * 16;
            __m512i sum[GROUP], rest[GROUP], window[GROUP], shuffle = load(index + block * 16);
            for (int r = 0; r < GROUP; ++r) sum[r] = half, rest[r] = zero, window[r] = load(from[r] + base);
            for (int pair = 0; pair < pairs; ++pair) {
                const __m512i weight = load(near + pair * 16);
                for (int r = 0; r < GROUP; ++r) {
                    if constexpr (!Shared) window[r] = load(from[r] + base + pair * move);
                    const __m512i x = _mm512_maskz_permutexvar_epi8(EVEN, shuffle, window[r]);
                    sum[r] = _mm512_dpwssd_epi32(sum[r], x, weight);
                    if constexpr (Wide) rest[r] = _mm512_dpwssd_epi32(rest[r], x, load(far + pair * 16));
                }
                if constexpr (Shared) shuffle = _mm512_add_epi8(shuffle, step);
            }
            for (int r = 0; r < GROUP; ++r) {
                const __m512i level = _mm512_max_epi32(finish<Wide>(sum[r], rest[r], bits), zero);
                store_quarter(to[r] + at, _mm512_cvtusepi32_epi8(level));
            }
        }
    }
}

// The lanes of each channel of four vectors added: a channel lies in 128 bits, a vector in one lane of them.
inline __m512i add_lanes(const __m512i (&sum)[GROUP]) {
    const __m512i near = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[0], sum[1]), _mm512_unpackhi_epi32(sum[0], sum[1]));
    const __m512i far = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[2], sum[3]), _mm512_unpackhi_epi32(sum[2], sum[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(near, far), _mm512_unpackhi_epi64(near, far));
}

// `Single` channels: 32 neighboring values in a piece; otherwise up to four of eight pixels.
template <bool Wide, bool Single>
void pieces_of(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    constexpr int PAIRS = Single ? 16 : 4;
    constexpr __mmask64 EVEN = 0x5555555555555555;  // each byte becomes a word
    const int blocks = plan.blocks, channels = plan.channels, move = PAIRS * plan.step();
    const int32_t *bases = plan.base.data(), *pieces = plan.pieces.data();
    const __m128i bits = _mm_cvtsi32_si128(plan.taps->bits);
    const __m512i zero = _mm512_setzero_si512(), shuffle = load(plan.index.data());
    // The rounding term is that of one lane of each channel.
    const __m512i half = _mm512_maskz_set1_epi32(Single ? 1 : 0x1111, 1 << (plan.taps->bits - 1));
    // From the rows of each channel to the channels of each row.
    const __m128i across = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const auto weights = [](const int32_t* from) {
        return Single ? load(from) : _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    };
    for (int row = 0; row < count; row += GROUP) {
        const uint8_t *const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        uint8_t* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        const int32_t *low = plan.low.data(), *high = plan.high.data();
        int fetched = blocks ? bases[0] : 0;
        for (int block = 0; block < blocks; ++block) {
            const int base = bases[block], stop = base + pieces[block] * move;
            fetched = ahead.fetch(from, GROUP, fetched, stop);
            __m512i sum[GROUP], rest[GROUP];
            for (int r = 0; r < GROUP; ++r) sum[r] = half, rest[r] = zero;
            for (int at = base; at < stop; at += move, low += PAIRS) {
                const __m512i weight = weights(low);
                for (int r = 0; r < GROUP; ++r) {
                    const __m256i window = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from[r] + at));
                    const __m512i x = Single ? _mm512_cvtepu8_epi16(window)
                                             : _mm512_maskz_permutexvar_epi8(EVEN, shuffle, _mm512_castsi256_si512(window));
                    sum[r] = _mm512_dpwssd_epi32(sum[r], x, weight);
                    if constexpr (Wide) rest[r] = _mm512_dpwssd_epi32(rest[r], x, weights(high));
                }
                if constexpr (Wide) high += PAIRS;
            }
            if constexpr (Wide)
                for (int r = 0; r < GROUP; ++r) sum[r] = _mm512_add_epi32(sum[r], _mm512_slli_epi32(rest[r], 15));
            __m512i total = add_lanes(sum);
            if constexpr (Single) {
                total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
                total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
            }
            __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(_mm512_sra_epi32(total, bits), zero));
            if constexpr (!Single) bytes = _mm_shuffle_epi8(bytes, across);
            alignas(16) uint8_t made[16];
            _mm_store_si128(reinterpret_cast<__m128i*>(made), bytes);
            for (int r = 0; r < GROUP; ++r) {
                if constexpr (Single)
                    to[r][block] = made[r];
                else
                    std::memcpy(to[r] + block * channels, made + GROUP * r, 4);
            }
        }
    }
}

void columns(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    if (plan.piece == 16)
        return (plan.taps->wide ? pieces_of<true, true> : pieces_of<false, true>)(plan, rows, out, count, ahead);
    if (plan.piece)
        return (plan.taps->wide ? pieces_of<true, false> : pieces_of<false, false>)(plan, rows, out, count, ahead);
    if (plan.taps->wide)
        return (plan.shared ? columns_of<true, true, 0> : columns_of<true, false, 0>)(plan, rows, out, count, ahead);
    if (!plan.shared) return columns_of<false, false, 0>(plan, rows, out, count, ahead);
    switch (plan.taps->pairs) {
        case 1: return columns_of<false, true, 1>(plan, rows, out, count, ahead);
        case 2: return columns_of<false, true, 2>(plan, rows, out, count, ahead);
        case 3: return columns_of<false, true, 3>(plan, rows, out, count, ahead);
        case 4: return columns_of<false, true, 4>(plan, rows, out, count, ahead);
        default: return columns_of<false, true, 0>(plan, rows, out, count, ahead);
    }
}

template <bool Wide>
void rows_as(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out) {
    const __m128i bits = _mm_cvtsi32_si128(plan.bits);
    const __m512i half = _mm512_set1_epi32(1 << (plan.bits - 1)), zero = _mm512_setzero_si512();
    for (int64_t at = 0; at < bytes; at += 64) {
        __m512i sum[4], rest[4];
        for (int q = 0; q < 4; ++q) sum[q] = half, rest[q] = zero;
        for (int k = 0; k < plan.count; k += 2) {
            const __m512i weight = _mm512_set1_epi32(plan.low[k / 2 * plan.stride]);
            const __m512i a = load(rows[k] + at), b = load(rows[std::min(k + 1, plan.count - 1)] + at);
            const __m512i near = _mm512_unpacklo_epi8(a, b), far = _mm512_unpackhi_epi8(a, b);
            const __m512i x[4] = {_mm512_unpacklo_epi8(near, zero), _mm512_unpackhi_epi8(near, zero),
                                  _mm512_unpacklo_epi8(far, zero), _mm512_unpackhi_epi8(far, zero)};
            for (int q = 0; q < 4; ++q) sum[q] = _mm512_dpwssd_epi32(sum[q], x[q], weight);
            if constexpr (Wide) {
                const __m512i upper = _mm512_set1_epi32(plan.high[k / 2 * plan.stride]);
                for (int q = 0; q < 4; ++q) rest[q] = _mm512_dpwssd_epi32(rest[q], x[q], upper);
            }
        }
        for (int q = 0; q < 4; ++q) sum[q] = finish<Wide>(sum[q], rest[q], bits);
        _mm512_storeu_si512(out + at, _mm512_packus_epi16(_mm512_packs_epi32(sum[0], sum[1]),
                                                          _mm512_packs_epi32(sum[2], sum[3])));
    }
}

void rows(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out) {
    plan.high ? rows_as<true>(plan, rows, bytes, out) : rows_as<false>(plan, rows, bytes, out);
}

void pick(const Picks& picks, const uint8_t* row, uint8_t* out) {
    const size_t bytes = picks.at.size();
    const int32_t* base = picks.base.data();
    const uint8_t* index = picks.index.data();
    for (size_t at = 0; at < bytes; at += 64, ++base, index += 64) {
        const size_t stop = std::min(at + 64, bytes);
        if (*base < 0) {
            pick_some(picks, row, at, stop, out);
            continue;
        }
        const __m512i made = _mm512_permutex2var_epi8(load(row + *base), load(index), load(row + *base + 64));
        if (stop == at + 64)
            _mm512_storeu_si512(out + at, made);
        else
            _mm512_mask_storeu_epi8(out + at, ~uint64_t{0} >> (64 - (stop - at)), made);
    }
}

// Windows of 64 bytes, or of 32 floats, and the values of sixteen lanes in them.
struct ByteWindow {
    __m512i part;

    explicit ByteWindow(const uint8_t* from) : part(load(from)) {}
    __m512 at(__m512i index) const {
        constexpr __mmask64 FOURTH = 0x1111111111111111;  // each byte becomes an integer of 32 bits
        return _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(FOURTH, index, part));
    }
};

struct FloatWindow {
    __m512 near, far;

    explicit FloatWindow(const float* from) : near(_mm512_loadu_ps(from)), far(_mm512_loadu_ps(from + 16)) {}
    __m512 at(__m512i index) const { return _mm512_permutex2var_ps(near, index, far); }
};

template <class Window, class In, bool Shared>
void sums_of(const Sums& plan, const In* const* rows, float* const* out, int count) {
    const int blocks = plan.blocks, widest = plan.taps->widest, pixel = plan.pixel, active = plan.active;
    const __m512i step = _mm512_set1_epi32(pixel);
    for (int row = 0; row < count; row += GROUP) {
        const In* const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        float* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        for (int block = 0; block < blocks; ++block) {
            const int base = plan.base[block], terms = plan.terms[block], at = block * active;
            const uint16_t *fused = plan.fused.data() + block * widest, *rounded = plan.rounded.data() + block * widest;
            const float* weights = plan.weights.data() + block * widest * 16;
            __m512i index = load(plan.index.data() + block * 16);
            Window window[GROUP] = {Window(from[0] + base), Window(from[1] + base), Window(from[2] + base),
                                    Window(from[3] + base)};
            __m512 sum[GROUP];
            for (int r = 0; r < GROUP; ++r) sum[r] = _mm512_mul_ps(window[r].at(index), _mm512_loadu_ps(weights));
            for (int k = 1; k < terms; ++k) {
                const __m512 weight = _mm512_loadu_ps(weights + k * 16);
                const __mmask16 once = fused[k], twice = rounded[k];
                if constexpr (Shared)
                    index = _mm512_add_epi32(index, step);
                else
                    for (int r = 0; r < GROUP; ++r) window[r] = Window(from[r] + base + k * pixel);
                if (!twice)
                    for (int r = 0; r < GROUP; ++r)
                        sum[r] = _mm512_mask3_fmadd_ps(window[r].at(index), weight, sum[r], once);
                else
                    for (int r = 0; r < GROUP; ++r) {
                        const __m512 x = window[r].at(index);
                        sum[r] = _mm512_mask_add_ps(sum[r], twice, sum[r], _mm512_mul_ps(x, weight));
                        if (once) sum[r] = _mm512_mask3_fmadd_ps(x, weight, sum[r], once);
                    }
            }
            for (int r = 0; r < GROUP; ++r) _mm512_storeu_ps(to[r] + at, sum[r]);
        }
    }
}

template <class Window, class In>
void sums_of(const Sums& plan, const In* const* rows, float* const* out, int count) {
    (plan.shared ? sums_of<Window, In, true> : sums_of<Window, In, false>)(plan, rows, out, count);
}

// Where in 192 bytes, three channels of 64 pixels, the bytes of one channel lie.
struct Third {
    alignas(64) uint8_t first[64];   // in the first 128 bytes, or as it is
    alignas(64) uint8_t second[64];  // in the last 64 bytes, for the pixels that `late` marks
    uint64_t late;
};

constexpr Third third(int channel) {
    Third made{};
    for (int i = 0; i < 64; ++i) {
        const int byte = 3 * i + channel;
        if (byte < 128) {
            made.first[i] = static_cast<uint8_t>(byte);
        } else {
            made.second[i] = static_cast<uint8_t>(byte - 128);
            made.late |= uint64_t{1} << i;
        }
    }
    return made;
}

void split(const uint8_t* in, int channels, int64_t n, uint8_t* const* planes) {
    static constexpr Third THIRDS[3] = {third(0), third(1), third(2)};
    if (channels != 3 || n < 64) return split_plain(in, channels, n, planes);
    for (int64_t at = 0; at < n; at += 64) {
        const int64_t i = std::min(at, n - 64);  // The last vector overlaps the one before.
        const __m512i a = load(in + 3 * i), b = load(in + 3 * i + 64), c = load(in + 3 * i + 128);
        for (int channel = 0; channel < 3; ++channel) {
            const Third& part = THIRDS[channel];
            const __m512i early = _mm512_permutex2var_epi8(a, load(part.first), b);
            const __m512i plane = _mm512_mask_permutexvar_epi8(early, part.late, load(part.second), c);
            _mm512_storeu_si512(planes[channel] + i, plane);
        }
    }
}

// 256 bytes, in four registers.
struct Bytes {
    __m512i part[4];

    explicit Bytes(const uint8_t* from) {
        for (int q = 0; q < 4; ++q) part[q] = load(from + 64 * q);
    }
    __m512i at(__m512i index) const {
        return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), _mm512_permutex2var_epi8(part[0], index, part[1]),
                                      _mm512_permutex2var_epi8(part[2], index, part[3]));
    }
};

inline __mmask64 first_bytes(int64_t count) { return ~uint64_t{0} >> (64 - std::min<int64_t>(count, 64)); }

void levels(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out) {
    const Bytes bytes(table);
    for (int64_t i = 0; i < n; i += 64) {
        const __mmask64 inside = first_bytes(n - i);
        _mm512_mask_storeu_epi8(out + i, inside, bytes.at(_mm512_maskz_loadu_epi8(inside, in + i)));
    }
}

// 256 words are two tables of 256 bytes.
void words(const Table& table, int64_t channel, const uint8_t* in, int64_t n, uint16_t* out) {
    const uint8_t* bytes = table.bytes.data() + channel * 512;
    const Bytes low(bytes), high(bytes + 256);
    // Unpacking works within quarters of a register: the eights of pixels are put where it will find them.
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    for (int64_t i = 0; i < n; i += 64) {
        const int64_t left = std::min<int64_t>(n - i, 64);
        const __m512i level = _mm512_permutexvar_epi64(order, _mm512_maskz_loadu_epi8(first_bytes(left), in + i));
        const __m512i near = low.at(level), far = high.at(level);
        const __m512i made[2] = {_mm512_unpacklo_epi8(near, far), _mm512_unpackhi_epi8(near, far)};
        for (int h = 0; h < 2; ++h)
            if (left > 32 * h)
                _mm512_mask_storeu_epi16(out + i + 32 * h,
                                         static_cast<__mmask32>(first_bytes(std::min<int64_t>(left - 32 * h, 32))),
                                         made[h]);
    }
}

// 256 floats are four tables of 256 bytes.
void table(const Table& table, int64_t channel, const uint8_t* in, int64_t n, float* out) {
    const uint8_t* bytes = table.bytes.data() + channel * 1024;
    const Bytes parts[4] = {Bytes(bytes), Bytes(bytes + 256), Bytes(bytes + 512), Bytes(bytes + 768)};
    // Unpacking works within quarters of a register: the fours of pixels are put where it will find them.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int64_t i = 0; i < n; i += 64) {
        const int64_t left = std::min<int64_t>(n - i, 64);
        const __m512i level = _mm512_permutexvar_epi32(order, _mm512_maskz_loadu_epi8(first_bytes(left), in + i));
        const __m512i value[4] = {parts[0].at(level), parts[1].at(level), parts[2].at(level), parts[3].at(level)};
        const __m512i low_near = _mm512_unpacklo_epi8(value[0], value[1]);
        const __m512i low_far = _mm512_unpackhi_epi8(value[0], value[1]);
        const __m512i high_near = _mm512_unpacklo_epi8(value[2], value[3]);
        const __m512i high_far = _mm512_unpackhi_epi8(value[2], value[3]);
        const __m512i floats[4] = {_mm512_unpacklo_epi16(low_near, high_near), _mm512_unpackhi_epi16(low_near, high_near),
                                   _mm512_unpacklo_epi16(low_far, high_far), _mm512_unpackhi_epi16(low_far, high_far)};
        for (int q = 0; q < 4; ++q) {
            if (left >= 16 * q + 16)
                _mm512_storeu_si512(out + i + 16 * q, floats[q]);
            else if (left > 16 * q)
                _mm512_mask_storeu_epi32(out + i + 16 * q, static_cast<__mmask16>((1u << (left - 16 * q)) - 1), floats[q]);
        }
    }
}

void cast(Dtype dtype, const float* in, int64_t n, uint16_t* out) {
    int64_t i = 0;
    for (; dtype == Dtype::float16 && i + 16 <= n; i += 16)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                            _mm512_cvtps_ph(_mm512_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
    cast_plain(dtype, in + i, n - i, out + i);
}

constexpr Kernels make() {
    Kernels made = PLAIN;
    made.name = "avx512";
    made.window = 64, made.lanes = 16, made.group = 1;
    made.piece = 4, made.pixels = 16;
    made.sums = 16, made.bytes_seen = 64, made.floats_seen = 32, made.shares = true;
    made.columns = columns;
    made.sums_bytes = sums_of<ByteWindow, uint8_t>;
    made.sums_floats = sums_of<FloatWindow, float>;
    made.rows = rows;
    made.split = split;
    made.pick = pick, made.picked = 64;
    made.table = table;
    made.levels = levels;
    made.words = words;
    made.cast = cast;
    made.frame = frame, made.warp = warp;
    return made;
}

constexpr Kernels KERNELS = make();

}  // namespace

const Kernels* avx512() {
    const bool here = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
    return here ? &KERNELS : nullptr;
}

}  // namespace lt
#else
#include "simd/kernel_table.hpp"
const lt::Kernels* lt::avx512() { return nullptr; }
#endif
