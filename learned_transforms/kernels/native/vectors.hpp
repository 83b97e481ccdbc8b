// Vectors of floats, as wide as the instruction set of the file that includes them.
#pragma once

#if defined(LT_AVX512) || defined(LT_AVX2)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "sums.hpp"

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

constexpr int64_t LANES = sizeof(Vector) / sizeof(float);

inline Vector load_floats(const float* from) {
    Vector made;
    std::memcpy(&made, from, sizeof(made));
    return made;
}

inline void store_floats(const Vector& vector, float* to) { std::memcpy(to, &vector, sizeof(vector)); }

// total + x * weight, with one rounding or two.
template <bool F>
inline Vector with_product(Vector x, float weight, Vector total) {
    const Vector all = weight - Vector{};
    if constexpr (F) return fused(x, all, total);
    return total + x * all;
}

}  // namespace
}  // namespace lt
