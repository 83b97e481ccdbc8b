// What is picked out of bytes, in rows and in tables, over any vector trait. Of one it asks for `picked`, the bytes at
// places in two or three neighboring vectors; Levels, a table of 256 bytes; and parts of vectors, where a row ends.
#pragma once

#include <array>

#include "simd/generic-inl.hpp"

namespace lt {
namespace {

template <class V>
constexpr int64_t PICKED = sizeof(typename V::Bytes);

template <class V>
void pick(const Picks& picks, const uint8_t* row, uint8_t* out) {
    constexpr size_t BLOCK = PICKED<V>;
    const size_t bytes = picks.at.size();
    const int32_t* base = picks.base.data();
    const uint8_t* index = picks.index.data();
    for (size_t at = 0; at < bytes; at += BLOCK, ++base, index += BLOCK) {
        const bool whole = at + BLOCK <= bytes;
        if (*base < 0 || (!V::MASKED && !whole)) {
            pick_some(picks, row, at, std::min(at + BLOCK, bytes), out);
            continue;
        }
        const uint8_t* window = row + *base;
        const auto made = V::picked(V::load_bytes(window), V::load_bytes(window + BLOCK), V::load_bytes(index));
        if (!V::MASKED || whole)
            V::store_bytes(out + at, made);
        else
            return V::store_part(out + at, made, static_cast<int64_t>(bytes - at));
    }
}

// Where the bytes of each of three channels lie in that many pixels.
template <size_t Pixels>
constexpr auto thirds() {
    std::array<std::array<uint8_t, Pixels>, 3> made{};
    for (size_t c = 0; c < 3; ++c)
        for (size_t i = 0; i < Pixels; ++i) made[c][i] = static_cast<uint8_t>(3 * i + c);
    return made;
}

template <class V>
void split(const uint8_t* in, int channels, int64_t n, uint8_t* const* planes) {
    constexpr int64_t BLOCK = PICKED<V>;
    alignas(64) static constexpr auto THIRDS = thirds<BLOCK>();
    if (channels != 3 || n < BLOCK) return split_plain(in, channels, n, planes);
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t i = std::min(at, n - BLOCK);  // The last vector overlaps the one before.
        const uint8_t* from = in + 3 * i;
        const auto a = V::load_bytes(from), b = V::load_bytes(from + BLOCK), c = V::load_bytes(from + 2 * BLOCK);
        for (size_t channel = 0; channel < 3; ++channel)
            V::store_bytes(planes[channel] + i, V::picked(a, b, c, V::load_bytes(THIRDS[channel].data())));
    }
}

template <class V>
void levels(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out) {
    using Ints = typename V::Ints;
    constexpr int64_t BLOCK = sizeof(Ints);
    const typename V::Levels levels(table);
    for (int64_t i = 0; i < n; i += BLOCK)
        V::store_part(out + i, levels.at(V::template load_part<Ints>(in + i, n - i)), n - i);
}

// A table that is a formula is computed, which is faster than loading its values one by one.
void table_formula(const Table& table, int64_t channel, const uint8_t* in, int64_t n, float* out) {
    if (!table.formula) return table_plain(table, channel, in, n, out);
    const float unit = table.formula->unit, mean = table.formula->mean[static_cast<size_t>(channel)];
    const float std = table.formula->std[static_cast<size_t>(channel)];
    if (mean == 0 && std == 1)
        for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * unit;
    else
        for (int64_t i = 0; i < n; ++i) out[i] = (static_cast<float>(in[i]) * unit - mean) / std;
}

template <class V>
void cast(Dtype dtype, const float* in, int64_t n, uint16_t* out) {
    int64_t i = 0;
    for (; dtype == Dtype::float16 && i + FLOATS<V> <= n; i += FLOATS<V>)
        V::store_halves(out + i, V::load_floats(in + i));
    cast_plain(dtype, in + i, n - i, out + i);
}

}  // namespace
}  // namespace lt
