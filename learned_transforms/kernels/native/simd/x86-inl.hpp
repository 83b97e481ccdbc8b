// What the vector traits of x86 share; compilers for WebAssembly have the intrinsics up to SSE4.1, too.
#pragma once

#ifdef __wasm__
#include <smmintrin.h>
#else
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "simd/vector-inl.hpp"

namespace lt {
namespace {

// Bytes picked out of vectors of sixteen.
struct Sixteen : Buffered {
    using Bytes = __m128i;

    static Bytes load_bytes(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
    static void store_bytes(void* to, Bytes x) { _mm_storeu_si128(static_cast<__m128i*>(to), x); }
    // A shuffle gives 0 for an index of 128 and more.
    static Bytes picked(Bytes a, Bytes b, Bytes index) {
        return _mm_or_si128(_mm_shuffle_epi8(a, _mm_adds_epu8(index, _mm_set1_epi8(0x70))),
                            _mm_shuffle_epi8(b, _mm_sub_epi8(index, _mm_set1_epi8(16))));
    }
    static Bytes picked(Bytes a, Bytes b, Bytes c, Bytes index) {
        const Bytes beyond = _mm_sub_epi8(index, _mm_set1_epi8(16)), most = _mm_set1_epi8(0x70);
        return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, _mm_adds_epu8(index, most)),
                                         _mm_shuffle_epi8(b, _mm_adds_epu8(beyond, most))),
                            _mm_shuffle_epi8(c, _mm_sub_epi8(index, _mm_set1_epi8(32))));
    }
};

// 256 bytes in registers of 16: each looks up the low half of an index; the bits of the high half choose among them.
template <class V>
struct Halved {
    const uint8_t* table;

    explicit Halved(const uint8_t* table) : table(table) {}
    typename V::Ints at(typename V::Ints index) const {
        const typename V::Ints bits[4] = {V::template left<3>(index), V::template left<2>(index),
                                          V::template left<1>(index), index};
        return chosen<3>(V::low_halves(index), bits, table);
    }

  private:
    // Bit 4 + Bit of each index lies at the top of a byte of bits[Bit], where a blend looks for it.
    template <int Bit>
    static typename V::Ints chosen(typename V::Ints near, const typename V::Ints* bits, const uint8_t* part) {
        if constexpr (Bit < 0)
            return V::shuffled(V::repeat_16(part), near);
        else
            return V::blended(chosen<Bit - 1>(near, bits, part), chosen<Bit - 1>(near, bits, part + (16 << Bit)),
                              bits[Bit]);
    }
};

#ifdef __AVX2__
// A value of each of eight rows.
struct Eights {
    using Eight = __m256;

    static Eight load_eight(const float* from) { return _mm256_loadu_ps(from); }
    static Eight load_eight(const uint8_t* from) {
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
    }
    static Eight fused(Eight a, Eight b, Eight c) { return _mm256_fmadd_ps(a, b, c); }
    static void transpose(Eight (&rows)[TOGETHER]) {
        Eight pair[8], four[8];
        for (int r = 0; r < 8; r += 2) {
            pair[r] = _mm256_unpacklo_ps(rows[r], rows[r + 1]);
            pair[r + 1] = _mm256_unpackhi_ps(rows[r], rows[r + 1]);
        }
        for (int r = 0; r < 8; r += 4)
            for (int half = 0; half < 2; ++half) {
                four[r + 2 * half] = _mm256_shuffle_ps(pair[r + half], pair[r + half + 2], 0x44);
                four[r + 2 * half + 1] = _mm256_shuffle_ps(pair[r + half], pair[r + half + 2], 0xee);
            }
        for (int r = 0; r < 4; ++r) {
            rows[r] = _mm256_permute2f128_ps(four[r], four[r + 4], 0x20);
            rows[r + 4] = _mm256_permute2f128_ps(four[r], four[r + 4], 0x31);
        }
    }
};
#endif

}  // namespace
}  // namespace lt
