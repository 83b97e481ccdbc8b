// Passes along rows in floats, over vector traits of six lanes and more: Places pick the values of all lanes out of a
// window of BYTES_SEEN bytes or FLOATS_SEEN floats (`seen`); `lanes` are those in which a product is added, or fused.
#pragma once

#include <array>

#include "simd/generic-inl.hpp"

namespace lt {
namespace {

// `Shared`: all taps of a block lie in one window, which is loaded once.
template <class V, class In, bool Shared>
void sums_of(const Sums& plan, const In* const* rows, float* const* out, int count) {
    using Floats = typename V::Floats;
    constexpr int LANES = FLOATS<V>;
    const int blocks = plan.blocks, widest = plan.taps->widest, pixel = plan.pixel, active = plan.active;
    for (int row = 0; row < count; row += GROUP) {
        const In* const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        float* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        for (int block = 0; block < blocks; ++block) {
            const int base = plan.base[block], terms = plan.terms[block], at = block * active;
            const uint16_t *fused = plan.fused.data() + block * widest, *rounded = plan.rounded.data() + block * widest;
            const float* weights = plan.weights.data() + block * widest * LANES;
            typename V::Places places(plan.index.data() + block * LANES);
            auto seen = std::array{V::seen(from[0] + base), V::seen(from[1] + base), V::seen(from[2] + base),
                                   V::seen(from[3] + base)};
            Floats sum[GROUP];
            for (int r = 0; r < GROUP; ++r) sum[r] = places.values(seen[r]) * V::load_floats(weights);
            for (int k = 1; k < terms; ++k) {
                const Floats weight = V::load_floats(weights + k * LANES);
                const auto once = V::lanes(fused[k]), twice = V::lanes(rounded[k]);
                if constexpr (Shared) places.move(pixel);
                else
                    for (int r = 0; r < GROUP; ++r) seen[r] = V::seen(from[r] + base + k * pixel);
                if (!rounded[k])
                    for (int r = 0; r < GROUP; ++r) sum[r] = V::fused_in(once, places.values(seen[r]), weight, sum[r]);
                else
                    for (int r = 0; r < GROUP; ++r) {
                        const Floats x = places.values(seen[r]);
                        sum[r] = V::added_in(twice, x * weight, sum[r]);
                        if (fused[k]) sum[r] = V::fused_in(once, x, weight, sum[r]);
                    }
            }
            for (int r = 0; r < GROUP; ++r) store_floats(sum[r], to[r] + at);
        }
    }
}

template <class V, class In>
void sums(const Sums& plan, const In* const* rows, float* const* out, int count) {
    if constexpr (V::SHARES)
        if (plan.shared) return sums_of<V, In, true>(plan, rows, out, count);
    sums_of<V, In, false>(plan, rows, out, count);
}

}  // namespace
}  // namespace lt
