// The kernels of a vector trait.
#pragma once

#include "simd/lookups-inl.hpp"
#include "simd/passes-inl.hpp"
#include "simd/sums-inl.hpp"

namespace lt {
namespace {

// Passes in place of plain loops.
template <class V>
constexpr void add_passes(Kernels& made) {
    made.name = V::NAME;
    made.window = V::WINDOW, made.lanes = V::LANES / V::BLOCKS, made.group = V::BLOCKS;
    made.piece = V::LANES / 4, made.pixels = V::LANES;
    made.columns = columns<V>;
    made.rows = rows<V>;
    made.split = split<V>;
    made.pick = pick<V>, made.picked = PICKED<V>;
    made.table = table_formula, made.formulas = true;
    made.levels = levels<V>;
    if constexpr (V::HALVES) made.cast = cast<V>;
    if constexpr (V::BYTES_SEEN > 0) {
        made.sums = FLOATS<V>, made.bytes_seen = V::BYTES_SEEN, made.floats_seen = V::FLOATS_SEEN;
        made.shares = V::SHARES;
        made.sums_bytes = sums<V, uint8_t>;
        made.sums_floats = sums<V, float>;
    }
}

template <class V>
constexpr Kernels make_kernels() {
    Kernels made = PLAIN<V>;
    add_passes<V>(made);
    return made;
}

}  // namespace
}  // namespace lt
