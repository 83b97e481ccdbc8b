// Kernels for SSE4.1: windows of 16 bytes, one block of four lanes in a vector. Fused sums are those of the plain loops.
#ifdef LT_SSE4
#include "simd/kernels-inl.hpp"
#include "simd/x86-inl.hpp"

namespace lt {
namespace {

struct Sse4 : Plain, Sixteen {
    static constexpr const char* NAME = "sse4";

    // Floats.
    static constexpr bool HALVES = false;
    using Plain::load_floats;
    static Floats load_floats(const uint8_t* from) {
        int32_t four;
        std::memcpy(&four, from, 4);
        return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
    }

    // Integers.
    using Ints = __m128i;
    using Shift = __m128i;
    static constexpr int LANES = 4;
    static Ints load(const void* from) { return load_bytes(from); }
    static void store(void* to, Ints x) { store_bytes(to, x); }
    static Ints set(int32_t x) { return _mm_set1_epi32(x); }
    static Ints add(Ints a, Ints b) { return _mm_add_epi32(a, b); }
    static Ints add_bytes(Ints a, Ints b) { return _mm_add_epi8(a, b); }
    static Ints dot(Ints sum, Ints x, Ints weights) { return add(sum, _mm_madd_epi16(x, weights)); }
    template <int N>
    static Ints left(Ints x) {
        return _mm_slli_epi32(x, N);
    }
    static Shift shift(int bits) { return _mm_cvtsi32_si128(bits); }
    static Ints right(Ints x, Shift bits) { return _mm_sra_epi32(x, bits); }

    // Windows, and what blocks of lanes come to.
    using Window = Ints;
    static constexpr int BLOCKS = 1, WINDOW = 16;
    static Window window(const uint8_t* row, const int32_t* base) { return load(row + *base); }
    static Ints words(Window window, Ints shuffle) { return _mm_shuffle_epi8(window, shuffle); }
    static void store_lanes(const Ints (&sum)[GROUP], Shift bits, uint8_t* const (&to)[GROUP], int at, int) {
        alignas(16) uint8_t made[16];
        store(made, packed(sum, bits));
        for (int r = 0; r < GROUP; ++r) std::memcpy(to[r] + at, made + 4 * r, 4);
    }

    // Pieces: 8 values, or 2 pixels.
    static Ints widened(const uint8_t* from) {
        return _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
    }
    static Ints pixels(const uint8_t* from, Ints shuffle) { return words(load(from), shuffle); }
    static Ints repeat(const int32_t* from) { return set(*from); }
    static void store_totals(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) {
        const Ints total = _mm_hadd_epi32(_mm_hadd_epi32(sum[0], sum[1]), _mm_hadd_epi32(sum[2], sum[3]));
        const Ints words = _mm_packs_epi32(right(total, bits), _mm_setzero_si128());
        store(to, _mm_packus_epi16(words, words));
    }
    static void store_pixels(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) { store(to, packed(sum, bits)); }

    // Down columns.
    static void across(Ints a, Ints b, Ints (&x)[4]) {
        const Ints near = _mm_unpacklo_epi8(a, b), far = _mm_unpackhi_epi8(a, b), zero = _mm_setzero_si128();
        x[0] = _mm_unpacklo_epi8(near, zero), x[1] = _mm_unpackhi_epi8(near, zero);
        x[2] = _mm_unpacklo_epi8(far, zero), x[3] = _mm_unpackhi_epi8(far, zero);
    }
    static Ints packed(const Ints (&sum)[4], Shift bits) {
        return _mm_packus_epi16(_mm_packs_epi32(right(sum[0], bits), right(sum[1], bits)),
                                _mm_packs_epi32(right(sum[2], bits), right(sum[3], bits)));
    }

    // Bytes.
    using Levels = Halved<Sse4>;
    static Ints repeat_16(const uint8_t* from) { return load(from); }
    static Ints low_halves(Ints x) { return _mm_and_si128(x, _mm_set1_epi8(15)); }
    static Ints shuffled(Ints x, Ints index) { return _mm_shuffle_epi8(x, index); }
    static Ints blended(Ints a, Ints b, Ints which) { return _mm_blendv_epi8(a, b, which); }

    static constexpr int BYTES_SEEN = 0;  // Sums of floats have too few lanes for windows.
};

#ifndef __wasm__
constexpr Kernels KERNELS = make_kernels<Sse4>();
#endif

}  // namespace

#ifdef __wasm__
// Plain loops are there once, so that the module stays small.
const Kernels* sse4() {
    static const Kernels made = [] {
        Kernels kernels = PORTABLE;
        add_passes<Sse4>(kernels);
        return kernels;
    }();
    return &made;
}
#else
const Kernels* sse4() { return __builtin_cpu_supports("sse4.1") ? &KERNELS : nullptr; }
#endif

}  // namespace lt
#else
#include "simd/kernel_table.hpp"
const lt::Kernels* lt::sse4() { return nullptr; }
#endif
