// What touches a pixel: inline functions without threads or memory of their own, which compile for a GPU and for a CPU.
#pragma once

#ifdef __CUDACC__
#define PIXEL __device__ __forceinline__
#else
#include <cmath>
#define PIXEL inline
#endif

namespace px {

// x * y + z, rounded once. Nothing else is fused.
PIXEL float fused(float x, float y, float z) {
#ifdef __CUDACC__
    return __fmaf_rn(x, y, z);
#else
    return std::fma(x, y, z);
#endif
}

// The nearest integer, halves to even.
PIXEL int nearest(float x) {
#ifdef __CUDACC__
    return __float2int_rn(x);
#else
    return static_cast<int>(std::nearbyint(x));
#endif
}

// A level as a float, and back: an addition each, where a conversion takes eight times as long. 2^23 counts in ones.
PIXEL float real(int level) {
#ifdef __CUDACC__
    return __int_as_float(0x4b000000 | level) - 8388608.0f;
#else
    return static_cast<float>(level);
#endif
}

PIXEL int whole(float level) {
#ifdef __CUDACC__
    return __float_as_int(level + 8388608.0f) & 255;
#else
    return static_cast<int>(level);
#endif
}

// In [0, 255], and cut off to a level.
PIXEL float truncated(float x) {
    const float y = x < 0 ? 0.0f : x > 255 ? 255.0f : x;
#ifdef __CUDACC__
    return __fadd_rz(y, 8388608.0f) - 8388608.0f;
#else
    return std::trunc(y);
#endif
}

// Two int16 weights (of a word) times two bytes of a word, the lower or the upper ones, plus a sum.
template <bool upper>
PIXEL int two_taps(int weights, unsigned bytes, int sum) {
#ifdef __CUDACC__
    if (upper)
        asm("dp2a.hi.s32.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(weights), "r"(bytes), "r"(sum));
    else
        asm("dp2a.lo.s32.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(weights), "r"(bytes), "r"(sum));
    return sum;
#else
    const unsigned half = upper ? bytes >> 16 : bytes;
    const int low = static_cast<short>(weights) * static_cast<int>(half & 255);
    const int both = low + (weights >> 16) * static_cast<int>(half >> 8 & 255);
    return static_cast<int>(static_cast<unsigned>(sum) + static_cast<unsigned>(both));  // It wraps, as on a GPU.
#endif
}

// A sum as a level; half a level is in it already.
PIXEL int level(int sum, int bits) {
    const int v = sum >> bits;
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

// Four sums as levels, in one word.
PIXEL unsigned four_levels(int a, int b, int c, int d, int bits) {
#ifdef __CUDACC__
    unsigned upper, all;
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, 0;" : "=r"(upper) : "r"(d >> bits), "r"(c >> bits));
    asm("cvt.pack.sat.u8.s32.b32 %0, %1, %2, %3;" : "=r"(all) : "r"(b >> bits), "r"(a >> bits), "r"(upper));
    return all;
#else
    const int sums[4] = {a, b, c, d};
    unsigned all = 0;
    for (int n = 0; n < 4; ++n) all |= static_cast<unsigned>(level(sums[n], bits)) << 8 * n;
    return all;
#endif
}

// Four of the eight bytes of (low, high), by number, one to a hexadecimal digit.
PIXEL unsigned pick(unsigned low, unsigned high, unsigned which) {
#ifdef __CUDACC__
    return __byte_perm(low, high, which);
#else
    const unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
    unsigned made = 0;
    for (int b = 0; b < 4; ++b) made |= static_cast<unsigned>(both >> (which >> 4 * b & 7) * 8 & 255) << 8 * b;
    return made;
#endif
}

// Memory that no kernel of this launch writes.
PIXEL unsigned read_word(const unsigned char* at) {
#ifdef __CUDACC__
    return __ldg(reinterpret_cast<const unsigned*>(at));
#else
    emulated::read(at, 4);
    return *reinterpret_cast<const unsigned*>(at);
#endif
}

PIXEL unsigned read_byte(const unsigned char* at) {
#ifdef __CUDACC__
    return __ldg(at);
#else
    emulated::read(at, 1);
    return *at;
#endif
}

// How many bytes behind the start of a word an address lies.
PIXEL unsigned behind_word(const unsigned char* at) {
    return static_cast<unsigned>(reinterpret_cast<unsigned long long>(at)) & 3;
}

// The word that begins `bits` < 32 behind the start of (low, high).
PIXEL unsigned word_at(unsigned low, unsigned high, unsigned bits) {
#ifdef __CUDACC__
    return __funnelshift_r(low, high, bits);
#else
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> bits);
#endif
}

// Four pixels r g b r | g b r g | b r g b as a word for each channel.
PIXEL void part(unsigned a, unsigned b, unsigned c, unsigned (&channels)[3]) {
    channels[0] = pick(pick(a, b, 0x0630), c, 0x5210);
    channels[1] = pick(pick(a, b, 0x0741), c, 0x6210);
    channels[2] = pick(pick(a, b, 0x0052), c, 0x7410);
}

}  // namespace px
