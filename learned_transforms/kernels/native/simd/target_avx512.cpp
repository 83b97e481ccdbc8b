// Kernels for AVX-512 with VBMI and VNNI: windows of 64 bytes, one block of sixteen lanes in a vector.
#ifdef LT_AVX512
#include "simd/kernels-inl.hpp"
#include "simd/x86-inl.hpp"
#include "simd/small-inl.hpp"
#include "simd/warp-inl.hpp"

namespace lt {
namespace {

struct Avx512 : Eights {
    static constexpr const char* NAME = "avx512";
    static constexpr __mmask64 EVEN = 0x5555555555555555;  // each byte becomes a word

    // Floats.
    using Floats = __m512;
    using Eights::fused;
    static constexpr bool HALVES = true;
    static Floats load_floats(const float* from) { return _mm512_loadu_ps(from); }
    static Floats load_floats(const uint8_t* from) {
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
    }
    static Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
    static void store_halves(uint16_t* to, Floats x) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }

    // Integers.
    using Ints = __m512i;
    using Shift = __m128i;
    static constexpr int LANES = 16;
    static Ints load(const void* from) { return _mm512_loadu_si512(from); }
    static void store(void* to, Ints x) { _mm512_storeu_si512(to, x); }
    static Ints set(int32_t x) { return _mm512_set1_epi32(x); }
    static Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
    static Ints add_bytes(Ints a, Ints b) { return _mm512_add_epi8(a, b); }
    static Ints dot(Ints sum, Ints x, Ints weights) { return _mm512_dpwssd_epi32(sum, x, weights); }
    template <int N>
    static Ints left(Ints x) {
        return _mm512_slli_epi32(x, N);
    }
    static Shift shift(int bits) { return _mm_cvtsi32_si128(bits); }

    // Windows, and what blocks of lanes come to.
    using Window = Ints;
    static constexpr int BLOCKS = 1, WINDOW = 64;
    static Window window(const uint8_t* row, const int32_t* base) { return load(row + *base); }
    static Ints words(Window window, Ints shuffle) { return _mm512_maskz_permutexvar_epi8(EVEN, shuffle, window); }
    static __m128i levels(Ints sum, Shift bits) {
        return _mm512_cvtusepi32_epi8(_mm512_max_epi32(_mm512_sra_epi32(sum, bits), _mm512_setzero_si512()));
    }
    static void store_lanes(const Ints (&sum)[GROUP], Shift bits, uint8_t* const (&to)[GROUP], int at, int) {
        for (int r = 0; r < GROUP; ++r) _mm_storeu_si128(reinterpret_cast<__m128i*>(to[r] + at), levels(sum[r], bits));
    }

    // Pieces: 32 values, or 8 pixels, of which 32 bytes are loaded, since 64 nearly always touch two cache lines.
    static __m256i load_half(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
    static Ints widened(const uint8_t* from) { return _mm512_cvtepu8_epi16(load_half(from)); }
    static Ints pixels(const uint8_t* from, Ints shuffle) {
        return words(_mm512_castsi256_si512(load_half(from)), shuffle);
    }
    static Ints repeat(const int32_t* from) {
        return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    // The lanes of each quarter of four vectors added.
    static Ints quarters(const Ints (&sum)[GROUP]) {
        const Ints near = add(_mm512_unpacklo_epi32(sum[0], sum[1]), _mm512_unpackhi_epi32(sum[0], sum[1]));
        const Ints far = add(_mm512_unpacklo_epi32(sum[2], sum[3]), _mm512_unpackhi_epi32(sum[2], sum[3]));
        return add(_mm512_unpacklo_epi64(near, far), _mm512_unpackhi_epi64(near, far));
    }
    static void store_totals(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) {
        Ints total = quarters(sum);
        total = add(total, _mm512_shuffle_i64x2(total, total, 0x4e));
        total = add(total, _mm512_shuffle_i64x2(total, total, 0xb1));
        _mm_store_si128(reinterpret_cast<__m128i*>(to), levels(total, bits));
    }
    static void store_pixels(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) {
        // From the rows of each channel to the channels of each row.
        const __m128i across = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(levels(quarters(sum), bits), across));
    }

    // Down columns.
    static void across(Ints a, Ints b, Ints (&x)[4]) {
        const Ints near = _mm512_unpacklo_epi8(a, b), far = _mm512_unpackhi_epi8(a, b), zero = _mm512_setzero_si512();
        x[0] = _mm512_unpacklo_epi8(near, zero), x[1] = _mm512_unpackhi_epi8(near, zero);
        x[2] = _mm512_unpacklo_epi8(far, zero), x[3] = _mm512_unpackhi_epi8(far, zero);
    }
    static Ints packed(const Ints (&sum)[4], Shift bits) {
        Ints x[4];
        for (int q = 0; q < 4; ++q) x[q] = _mm512_sra_epi32(sum[q], bits);
        return _mm512_packus_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3]));
    }

    // Bytes.
    using Bytes = Ints;
    static constexpr bool MASKED = true;
    static Bytes load_bytes(const void* from) { return load(from); }
    static void store_bytes(void* to, Bytes x) { store(to, x); }
    static __mmask64 first(int64_t n) { return ~uint64_t{0} >> (64 - std::min<int64_t>(n, 64)); }
    template <class>
    static Bytes load_part(const void* from, int64_t n) {
        return _mm512_maskz_loadu_epi8(first(n), from);
    }
    static void store_part(void* to, Bytes x, int64_t n) { _mm512_mask_storeu_epi8(to, first(n), x); }
    static Bytes picked(Bytes a, Bytes b, Bytes index) { return _mm512_permutex2var_epi8(a, index, b); }
    static Bytes picked(Bytes a, Bytes b, Bytes c, Bytes index) {
        return _mm512_mask_permutexvar_epi8(picked(a, b, index), _mm512_movepi8_mask(index), index, c);
    }
    struct Levels {  // 256 bytes, in four registers
        Ints part[4];

        explicit Levels(const uint8_t* from) {
            for (int q = 0; q < 4; ++q) part[q] = load(from + 64 * q);
        }
        Ints at(Ints index) const {
            return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), picked(part[0], part[1], index),
                                          picked(part[2], part[3], index));
        }
    };

    // Lanes out of windows of bytes, and of floats.
    static constexpr int BYTES_SEEN = 64, FLOATS_SEEN = 32;
    static constexpr bool SHARES = true;
    struct Seen {
        Floats near, far;
    };
    static Ints seen(const uint8_t* from) { return load(from); }
    static Seen seen(const float* from) { return {load_floats(from), load_floats(from + 16)}; }
    struct Places {
        Ints index;

        explicit Places(const int32_t* from) : index(load(from)) {}
        void move(int by) { index = add(index, set(by)); }
        Floats values(Ints window) const {
            constexpr __mmask64 FOURTH = 0x1111111111111111;  // each byte becomes an integer of 32 bits
            return _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(FOURTH, index, window));
        }
        Floats values(const Seen& window) const { return _mm512_permutex2var_ps(window.near, index, window.far); }
    };
    static __mmask16 lanes(uint16_t mask) { return mask; }
    static Floats fused_in(__mmask16 lanes, Floats x, Floats weight, Floats sum) {
        return _mm512_mask3_fmadd_ps(x, weight, sum, lanes);
    }
    static Floats added_in(__mmask16 lanes, Floats x, Floats sum) { return _mm512_mask_add_ps(sum, lanes, sum, x); }
};

// Only these look up 256 bytes at a time faster than values are loaded one by one, or computed.
// 256 words are two tables of 256 bytes.
void words(const Table& table, int64_t channel, const uint8_t* in, int64_t n, uint16_t* out) {
    const uint8_t* bytes = table.bytes.data() + channel * 512;
    const Avx512::Levels low(bytes), high(bytes + 256);
    // Unpacking works within quarters of a register: the eights of pixels are put where it will find them.
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    for (int64_t i = 0; i < n; i += 64) {
        const int64_t left = std::min<int64_t>(n - i, 64);
        const __m512i level = _mm512_permutexvar_epi64(order, Avx512::load_part<__m512i>(in + i, n - i));
        const __m512i near = low.at(level), far = high.at(level);
        const __m512i made[2] = {_mm512_unpacklo_epi8(near, far), _mm512_unpackhi_epi8(near, far)};
        for (int h = 0; h < 2; ++h)
            if (left > 32 * h)
                _mm512_mask_storeu_epi16(out + i + 32 * h,
                                         static_cast<__mmask32>(Avx512::first(std::min<int64_t>(left - 32 * h, 32))),
                                         made[h]);
    }
}

// 256 floats are four tables of 256 bytes.
void table(const Table& table, int64_t channel, const uint8_t* in, int64_t n, float* out) {
    const uint8_t* bytes = table.bytes.data() + channel * 1024;
    const Avx512::Levels parts[4] = {Avx512::Levels(bytes), Avx512::Levels(bytes + 256), Avx512::Levels(bytes + 512),
                                     Avx512::Levels(bytes + 768)};
    // Unpacking works within quarters of a register: the fours of pixels are put where it will find them.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int64_t i = 0; i < n; i += 64) {
        const int64_t left = std::min<int64_t>(n - i, 64);
        const __m512i level = _mm512_permutexvar_epi32(order, Avx512::load_part<__m512i>(in + i, n - i));
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

constexpr Kernels make() {
    Kernels made = make_kernels<Avx512>();
    made.table = table, made.formulas = false;
    made.words = words;
    made.frame = frame, made.warp = warp;
    made.small = small_images::small, made.small_copy = small_images::small_copy;
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
