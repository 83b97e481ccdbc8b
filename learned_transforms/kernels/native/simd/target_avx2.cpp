// Kernels for AVX2: windows of 16 bytes, two blocks of four lanes in a vector.
#ifdef LT_AVX2
#include "simd/kernels-inl.hpp"
#include "simd/x86-inl.hpp"
#include "simd/small-inl.hpp"
#include "simd/warp-inl.hpp"

namespace lt {
namespace {

struct Avx2 : Sixteen, Eights {
    static constexpr const char* NAME = "avx2";

    // Floats.
    using Floats = __m256;
    static constexpr bool HALVES = true;
    static Floats load_floats(const float* from) { return load_eight(from); }
    static Floats load_floats(const uint8_t* from) { return load_eight(from); }
    static void store_halves(uint16_t* to, Floats x) { store_bytes(to, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)); }

    // Integers.
    using Ints = __m256i;
    using Shift = __m128i;
    static constexpr int LANES = 8;
    static Ints load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
    static void store(void* to, Ints x) { _mm256_storeu_si256(static_cast<__m256i*>(to), x); }
    static Ints set(int32_t x) { return _mm256_set1_epi32(x); }
    static Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
    static Ints add_bytes(Ints a, Ints b) { return _mm256_add_epi8(a, b); }
    static Ints dot(Ints sum, Ints x, Ints weights) { return add(sum, _mm256_madd_epi16(x, weights)); }
    template <int N>
    static Ints left(Ints x) {
        return _mm256_slli_epi32(x, N);
    }
    static Shift shift(int bits) { return _mm_cvtsi32_si128(bits); }
    static Ints right(Ints x, Shift bits) { return _mm256_sra_epi32(x, bits); }

    // Windows, and what blocks of lanes come to.
    using Window = Ints;
    static constexpr int BLOCKS = 2, WINDOW = 16;
    static Window window(const uint8_t* row, const int32_t* base) {
        return _mm256_inserti128_si256(_mm256_castsi128_si256(load_bytes(row + base[0])), load_bytes(row + base[1]), 1);
    }
    static Ints words(Window window, Ints shuffle) { return _mm256_shuffle_epi8(window, shuffle); }
    static void store_lanes(const Ints (&sum)[GROUP], Shift bits, uint8_t* const (&to)[GROUP], int at, int active) {
        // The bytes of a row lie four here, four there; blocks of four lanes join to eight.
        alignas(32) uint8_t made[32];
        store(made, _mm256_permutevar8x32_epi32(packed(sum, bits), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
        for (int r = 0; r < GROUP; ++r) {
            if (active == 4) {
                std::memcpy(to[r] + at, made + 8 * r, 8);
            } else {
                std::memcpy(to[r] + at, made + 8 * r, 4);
                std::memcpy(to[r] + at + active, made + 8 * r + 4, 4);
            }
        }
    }

    // Pieces: 16 values, or 4 pixels.
    static Ints widened(const uint8_t* from) { return _mm256_cvtepu8_epi16(load_bytes(from)); }
    static Ints pixels(const uint8_t* from, Ints shuffle) { return words(repeat_16(from), shuffle); }
    static Ints repeat(const int32_t* from) {
        return _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    }
    static void store_totals(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) {
        const Ints halves =
            _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
        const __m128i total = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        const __m128i words = _mm_packs_epi32(_mm_sra_epi32(total, bits), _mm_setzero_si128());
        store_bytes(to, _mm_packus_epi16(words, words));
    }
    static void store_pixels(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) {
        const Ints near = right(_mm256_hadd_epi32(sum[0], sum[1]), bits);
        const Ints words = _mm256_packs_epi32(near, right(_mm256_hadd_epi32(sum[2], sum[3]), bits));
        const Ints bytes = _mm256_packus_epi16(words, words);  // two channels of each row here, two there
        store_bytes(to, _mm_unpacklo_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
    }

    // Down columns.
    static void across(Ints a, Ints b, Ints (&x)[4]) {
        const Ints near = _mm256_unpacklo_epi8(a, b), far = _mm256_unpackhi_epi8(a, b), zero = _mm256_setzero_si256();
        x[0] = _mm256_unpacklo_epi8(near, zero), x[1] = _mm256_unpackhi_epi8(near, zero);
        x[2] = _mm256_unpacklo_epi8(far, zero), x[3] = _mm256_unpackhi_epi8(far, zero);
    }
    static Ints packed(const Ints (&sum)[4], Shift bits) {
        return _mm256_packus_epi16(_mm256_packs_epi32(right(sum[0], bits), right(sum[1], bits)),
                                   _mm256_packs_epi32(right(sum[2], bits), right(sum[3], bits)));
    }

    // Bytes.
    using Levels = Halved<Avx2>;
    static Ints repeat_16(const uint8_t* from) { return _mm256_broadcastsi128_si256(load_bytes(from)); }
    static Ints low_halves(Ints x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
    static Ints shuffled(Ints x, Ints index) { return _mm256_shuffle_epi8(x, index); }
    static Ints blended(Ints a, Ints b, Ints which) { return _mm256_blendv_epi8(a, b, which); }

    // Lanes out of windows of 16 bytes, and of 16 floats, which are loaded where they are needed.
    static constexpr int BYTES_SEEN = 16, FLOATS_SEEN = 16;
    static constexpr bool SHARES = false;
    template <class In>
    static const In* seen(const In* from) {
        return from;
    }
    struct Places {
        Ints index;      // a value each
        Floats second;   // those in the second half of a window of floats
        __m128i packed;  // a byte each

        explicit Places(const int32_t* from) : index(load(from)) {
            second = _mm256_castsi256_ps(_mm256_cmpgt_epi32(index, set(7)));
            const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(index), _mm256_extracti128_si256(index, 1));
            packed = _mm_packus_epi16(words, words);
        }
        Floats values(const uint8_t* window) const {
            return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_shuffle_epi8(load_bytes(window), packed)));
        }
        Floats values(const float* window) const {
            return _mm256_blendv_ps(_mm256_permutevar8x32_ps(load_floats(window), index),
                                    _mm256_permutevar8x32_ps(load_floats(window + 8), index), second);
        }
    };
    static Floats lanes(uint16_t mask) {
        const Ints bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(set(mask), bits), bits));
    }
    static Floats fused_in(Floats lanes, Floats x, Floats weight, Floats sum) {
        return _mm256_blendv_ps(sum, fused(x, weight, sum), lanes);
    }
    static Floats added_in(Floats lanes, Floats x, Floats sum) { return _mm256_blendv_ps(sum, sum + x, lanes); }
};

constexpr Kernels make() {
    Kernels made = make_kernels<Avx2>();
    made.frame = frame, made.warp = warp;
    made.small = small_images::small, made.small_copy = small_images::small_copy;
    return made;
}

constexpr Kernels KERNELS = make();

// Not every compiler can be asked for it by name.
bool converts_halves() {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

}  // namespace

const Kernels* avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && converts_halves() ? &KERNELS : nullptr;
}

}  // namespace lt
#else
#include "simd/kernel_table.hpp"
const lt::Kernels* lt::avx2() { return nullptr; }
#endif
