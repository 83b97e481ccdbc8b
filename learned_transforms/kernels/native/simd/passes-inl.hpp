// The passes of a resample of bytes, in whole numbers, two taps at a time, over any vector trait. A vector has LANES
// integers, to number i of which `dot` adds words[2 i] * weights[2 i] + words[2 i + 1] * weights[2 i + 1]. Words are
// - of BLOCKS of lanes, each out of a `window` of WINDOW bytes, by a shuffle (`words`); `store_lanes` ends them;
// - of neighboring values (`widened`) or pixels, channel by channel (`pixels`), whose lanes are added in the end
//   (`store_totals`, `store_pixels`);
// - of two rows (`across`); `packed` ends them, in the order of the bytes.
#pragma once

#include <array>

#include "simd/generic-inl.hpp"

namespace lt {
namespace {

template <class V>
using Ints = typename V::Ints;

// What is summed of the rest of wide weights counts 2^15 times.
template <class V, bool Wide>
inline void join(Ints<V> (&sum)[GROUP], const Ints<V> (&rest)[GROUP]) {
    if constexpr (Wide)
        for (int r = 0; r < GROUP; ++r) sum[r] = V::add(sum[r], V::template left<15>(rest[r]));
}

// `Shared`: all taps of a block lie in one window. `Pairs` of taps, if they are known beforehand, or 0.
template <class V, bool Wide, bool Shared, int Pairs>
void columns_of(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    constexpr int LANES = V::LANES / V::BLOCKS;  // of a block
    // Copies: as far as the compiler knows, bytes that are stored might be parts of the plan.
    const int pairs = Pairs ? Pairs : plan.taps->pairs, blocks = plan.blocks, active = plan.active, move = plan.step();
    const int32_t *bases = plan.base.data(), *index = plan.index.data();
    const int32_t *low = plan.low.data(), *high = plan.high.data();
    const auto bits = V::shift(plan.taps->bits);
    const Ints<V> half = V::set(1 << (plan.taps->bits - 1));
    for (int row = 0; row < count; row += GROUP) {
        const uint8_t *const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        uint8_t* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        int fetched = blocks ? bases[0] : 0;
        for (int block = 0; block < blocks; block += V::BLOCKS) {
            const int32_t* base = bases + block;
            const int32_t *near = low + block * pairs * LANES, *far = high + block * pairs * LANES;
            fetched = ahead.fetch(from, GROUP, fetched, *base + 64);
            Ints<V> sum[GROUP], rest[GROUP];
            const Ints<V> shuffle = V::load(index + block * LANES);
            typename V::Window window[GROUP];
            for (int r = 0; r < GROUP; ++r)
                sum[r] = half, rest[r] = V::set(0), window[r] = V::window(from[r], base);
            for (int pair = 0; pair < pairs; ++pair) {
                Ints<V> x[GROUP], places = shuffle;
                if constexpr (Shared) places = V::add_bytes(shuffle, V::set(0x01010101 * pair * move));
                for (int r = 0; r < GROUP; ++r) {
                    if constexpr (!Shared) window[r] = V::window(from[r] + pair * move, base);
                    x[r] = V::words(window[r], places);
                }
                const Ints<V> weight = V::load(near + pair * V::LANES);
                for (int r = 0; r < GROUP; ++r) sum[r] = V::dot(sum[r], x[r], weight);
                if constexpr (Wide) {
                    const Ints<V> upper = V::load(far + pair * V::LANES);
                    for (int r = 0; r < GROUP; ++r) rest[r] = V::dot(rest[r], x[r], upper);
                }
            }
            join<V, Wide>(sum, rest);
            V::store_lanes(sum, bits, to, block * active, active);
        }
    }
}

// `Single` channels: neighboring values in a piece; otherwise neighboring pixels, channel by channel.
template <class V, bool Wide, bool Single>
void pieces_of(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    constexpr int CHANNELS = Single ? 1 : 4, PAIRS = V::LANES / CHANNELS;
    const int blocks = plan.blocks, channels = plan.channels, move = PAIRS * plan.step();
    const int32_t *bases = plan.base.data(), *pieces = plan.pieces.data();
    const auto bits = V::shift(plan.taps->bits);
    alignas(64) int32_t once[V::LANES] = {};  // The rounding term is that of one lane of each channel.
    for (int channel = 0; channel < CHANNELS; ++channel) once[channel * PAIRS] = 1 << (plan.taps->bits - 1);
    const Ints<V> half = V::load(once), shuffle = V::load(plan.index.data());
    const auto weights = [](const int32_t* from) { return Single ? V::load(from) : V::repeat(from); };
    for (int row = 0; row < count; row += GROUP) {
        const uint8_t *const from[GROUP] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
        uint8_t* const to[GROUP] = {out[row], out[row + 1], out[row + 2], out[row + 3]};
        const int32_t *low = plan.low.data(), *high = plan.high.data();
        int fetched = blocks ? bases[0] : 0;
        for (int block = 0; block < blocks; ++block) {
            const int base = bases[block], stop = base + pieces[block] * move;
            fetched = ahead.fetch(from, GROUP, fetched, stop);
            Ints<V> sum[GROUP], rest[GROUP];
            for (int r = 0; r < GROUP; ++r) sum[r] = half, rest[r] = V::set(0);
            for (int at = base; at < stop; at += move, low += PAIRS) {
                const Ints<V> weight = weights(low);
                for (int r = 0; r < GROUP; ++r) {
                    const Ints<V> x = Single ? V::widened(from[r] + at) : V::pixels(from[r] + at, shuffle);
                    sum[r] = V::dot(sum[r], x, weight);
                    if constexpr (Wide) rest[r] = V::dot(rest[r], x, weights(high));
                }
                if constexpr (Wide) high += PAIRS;
            }
            join<V, Wide>(sum, rest);
            alignas(16) uint8_t made[16];
            if constexpr (Single) {
                V::store_totals(sum, bits, made);
                for (int r = 0; r < GROUP; ++r) to[r][block] = made[r];
            } else {
                V::store_pixels(sum, bits, made);
                for (int r = 0; r < GROUP; ++r) std::memcpy(to[r] + block * channels, made + 4 * r, 4);
            }
        }
    }
}

template <class V, bool Wide, int... Pairs>
constexpr auto known_pairs(std::integer_sequence<int, Pairs...>) {
    return std::array{columns_of<V, Wide, true, Pairs>...};
}

template <class V, bool Wide>
void columns_as(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    if (plan.piece == V::LANES) return pieces_of<V, Wide, true>(plan, rows, out, count, ahead);
    if (plan.piece) return pieces_of<V, Wide, false>(plan, rows, out, count, ahead);
    if (!plan.shared) return columns_of<V, Wide, false, 0>(plan, rows, out, count, ahead);
    constexpr auto KNOWN = known_pairs<V, Wide>(std::make_integer_sequence<int, 9>());
    const auto pairs = static_cast<size_t>(plan.taps->pairs);
    KNOWN[pairs < KNOWN.size() ? pairs : 0](plan, rows, out, count, ahead);
}

template <class V>
void columns(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead) {
    (plan.taps->wide ? columns_as<V, true> : columns_as<V, false>)(plan, rows, out, count, ahead);
}

template <class V, bool Wide>
void rows_as(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out) {
    const auto bits = V::shift(plan.bits);
    const Ints<V> half = V::set(1 << (plan.bits - 1));
    for (int64_t at = 0; at < bytes; at += sizeof(Ints<V>)) {
        Ints<V> sum[4], rest[4];
        for (int q = 0; q < 4; ++q) sum[q] = half, rest[q] = V::set(0);
        for (int k = 0; k < plan.count; k += 2) {
            Ints<V> x[4];
            V::across(V::load(rows[k] + at), V::load(rows[std::min(k + 1, plan.count - 1)] + at), x);
            const Ints<V> weight = V::set(plan.low[k / 2 * plan.stride]);
            for (int q = 0; q < 4; ++q) sum[q] = V::dot(sum[q], x[q], weight);
            if constexpr (Wide) {
                const Ints<V> upper = V::set(plan.high[k / 2 * plan.stride]);
                for (int q = 0; q < 4; ++q) rest[q] = V::dot(rest[q], x[q], upper);
            }
        }
        join<V, Wide>(sum, rest);
        V::store(out + at, V::packed(sum, bits));
    }
}

template <class V>
void rows(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out) {
    plan.high ? rows_as<V, true>(plan, rows, bytes, out) : rows_as<V, false>(plan, rows, bytes, out);
}

}  // namespace
}  // namespace lt
