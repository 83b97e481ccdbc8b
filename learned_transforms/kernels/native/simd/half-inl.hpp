// Floats in 16 bits, in plain integers and floats that the compiler vectorizes: rounded to the nearest, halves to even.
#pragma once

#include <cstdint>
#include <cstring>

namespace lt {
namespace {

inline uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

inline float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// float16: 5 bits of exponent, 10 behind the point.
struct Half {
    static uint16_t of(float value) {
        const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
        // Adding a number whose last bit counts as much as theirs rounds those below the least normal number.
        constexpr uint32_t SHIFT = 126u << 23;
        const uint32_t small = bits_of(float_of(size) + float_of(SHIFT)) - SHIFT;
        const uint32_t normal = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
        uint32_t made = size < 113u << 23 ? small : normal;
        made = size < 143u << 23 ? made : 0x7c00;
        made = size <= 0x7f800000 ? made : 0x7e00;
        return static_cast<uint16_t>(sign | made);
    }

    static float value(uint16_t half) {
        const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, size = half & 0x7fff;
        const uint32_t normal = (size << 13) + (112u << 23);
        const uint32_t small = bits_of(static_cast<float>(static_cast<int32_t>(size)) * float_of(103u << 23));
        const uint32_t endless = (size << 13) + (224u << 23);
        const uint32_t made = size < 0x400 ? small : size < 0x7c00 ? normal : endless;
        return float_of(sign | made);
    }
};

// bfloat16: the first half of a float32.
struct Brain {
    static uint16_t of(float value) {
        const uint32_t bits = bits_of(value), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        return static_cast<uint16_t>((bits & 0x7fffffff) <= 0x7f800000 ? rounded : 0x7fc0);
    }

    static float value(uint16_t brain) { return float_of(static_cast<uint32_t>(brain) << 16); }
};

}  // namespace
}  // namespace lt
