// Vector traits: what a processor's vectors are, and some forty operations on them; passes are written once, over a
// trait. This is the least of them, of plain C++, and the part that others share.
#pragma once

#include <cstdint>
#include <cstring>

#include "simd/accumulate-inl.hpp"

namespace lt {
namespace {

// Floats of one row, and one value of each of TOGETHER rows: all that passes over floats ask for.
struct Plain {
    static constexpr const char* NAME = "portable";
    typedef float Floats __attribute__((vector_size(16)));
    typedef float Eight __attribute__((vector_size(4 * TOGETHER)));

    static Floats load_floats(const float* from) { return load_as<Floats>(from); }
    static Floats load_floats(const uint8_t* from) {
        return Floats{static_cast<float>(from[0]), static_cast<float>(from[1]), static_cast<float>(from[2]),
                      static_cast<float>(from[3])};
    }
    static Floats fused(Floats a, Floats b, Floats c) { return each_fused(a, b, c); }

    static Eight load_eight(const float* from) { return load_as<Eight>(from); }
    static Eight load_eight(const uint8_t* from) {
        Eight made;
        for (int r = 0; r < TOGETHER; ++r) made[r] = from[r];
        return made;
    }
    static Eight fused(Eight a, Eight b, Eight c) { return each_fused(a, b, c); }
    static void transpose(Eight (&rows)[TOGETHER]) {
        for (int r = 0; r < TOGETHER; ++r)
            for (int other = 0; other < r; ++other) {
                const float before = rows[r][other];
                rows[r][other] = rows[other][r], rows[other][r] = before;
            }
    }

  protected:
    template <class T>
    static T load_as(const void* from) {
        T made;
        std::memcpy(&made, from, sizeof(made));
        return made;
    }
    template <class T>
    static T each_fused(T a, T b, T c) {
        for (size_t i = 0; i < sizeof(T) / 4; ++i) c[i] = lt::fused(a[i], b[i], c[i]);
        return c;
    }
};

// The first `n` bytes of a vector, or all of it, where the processor has no masks for them.
struct Buffered {
    static constexpr bool MASKED = false;
    template <class T>
    static T load_part(const void* from, int64_t n) {
        T made{};
        if (n < static_cast<int64_t>(sizeof(T)))
            std::memcpy(&made, from, static_cast<size_t>(n));
        else
            std::memcpy(&made, from, sizeof(T));
        return made;
    }
    template <class T>
    static void store_part(void* to, T x, int64_t n) {
        if (n < static_cast<int64_t>(sizeof(T)))
            std::memcpy(to, &x, static_cast<size_t>(n));
        else
            std::memcpy(to, &x, sizeof(T));
    }
};

template <class V>
constexpr int64_t FLOATS = sizeof(typename V::Floats) / sizeof(float);

template <class Vector>
inline void store_floats(Vector vector, float* to) {
    std::memcpy(to, &vector, sizeof(vector));
}

// total + x * weight, with one rounding or two.
template <class V, bool F, class Vector>
inline Vector with_product(Vector x, float weight, Vector total) {
    const Vector all = weight - Vector{};
    if constexpr (F) return V::fused(x, all, total);
    return total + x * all;
}

}  // namespace
}  // namespace lt
