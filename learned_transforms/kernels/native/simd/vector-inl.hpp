// Vectors of floats, as wide as the instruction set of the file that includes them.
#pragma once

#if defined(LT_AVX512) || defined(LT_AVX2)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "simd/accumulate-inl.hpp"

namespace lt {
namespace {

#if defined(LT_AVX512)
using Vector = __m512;
inline Vector load_floats(const uint8_t* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
inline Vector fused(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(LT_AVX2)
using Vector = __m256;
inline Vector load_floats(const uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
inline Vector fused(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
#else
typedef float Vector __attribute__((vector_size(16)));
inline Vector load_floats(const uint8_t* from) {
    typedef uint8_t Bytes __attribute__((vector_size(4)));
    typedef int32_t Words __attribute__((vector_size(16)));
    Bytes bytes;
    std::memcpy(&bytes, from, sizeof(bytes));
    return __builtin_convertvector(__builtin_convertvector(bytes, Words), Vector);
}
inline Vector fused(Vector a, Vector b, Vector c) {
    return Vector{fused(a[0], b[0], c[0]), fused(a[1], b[1], c[1]), fused(a[2], b[2], c[2]), fused(a[3], b[3], c[3])};
}
#endif

// A value of each of eight rows.
#if defined(LT_AVX512) || defined(LT_AVX2)
using Eight = __m256;
inline Eight load_eight(const float* from) { return _mm256_loadu_ps(from); }
inline Eight load_eight(const uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
#if defined(LT_AVX512)
inline Eight fused(Eight a, Eight b, Eight c) { return _mm256_fmadd_ps(a, b, c); }
#endif
inline void transpose(Eight (&rows)[TOGETHER]) {
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
#else
typedef float Eight __attribute__((vector_size(32)));
inline Eight load_eight(const float* from) {
    Eight made;
    std::memcpy(&made, from, sizeof(made));
    return made;
}
inline Eight load_eight(const uint8_t* from) {
    Eight made;
    for (int r = 0; r < TOGETHER; ++r) made[r] = from[r];
    return made;
}
inline Eight fused(Eight a, Eight b, Eight c) {
    for (int r = 0; r < TOGETHER; ++r) c[r] = fused(a[r], b[r], c[r]);
    return c;
}
inline void transpose(Eight (&rows)[TOGETHER]) {
    for (int r = 0; r < TOGETHER; ++r)
        for (int other = 0; other < r; ++other) {
            const float before = rows[r][other];
            rows[r][other] = rows[other][r], rows[other][r] = before;
        }
}
#endif

constexpr int64_t LANES = sizeof(Vector) / sizeof(float);

inline Vector load_floats(const float* from) {
    Vector made;
    std::memcpy(&made, from, sizeof(made));
    return made;
}

template <class V>
inline void store_floats(const V& vector, float* to) { std::memcpy(to, &vector, sizeof(vector)); }

// total + x * weight, with one rounding or two.
template <bool F, class V>
inline V with_product(V x, float weight, V total) {
    const V all = weight - V{};
    if constexpr (F) return fused(x, all, total);
    return total + x * all;
}

}  // namespace
}  // namespace lt
