// How a pass along a row is laid out in vectors.
#include <algorithm>
#include <utility>

#include "simd/kernel_table.hpp"

namespace lt {
namespace {

// Lanes of a vector of floats with which windows of a row are faster than rows that lie side by side.
constexpr int FEWEST = 6;

// Instructions that end the sums of an output of pieces, and those of a block, about.
constexpr int64_t PIXEL_ENDS = 24, BLOCK_ENDS = 10;

// The first taps of outputs j to last, of which given weights may have any order: the leftmost and the rightmost.
std::pair<int, int> ends(const Taps& taps, int j, int last) {
    const auto [left, right] = std::minmax_element(taps.first.begin() + j, taps.first.begin() + last + 1);
    return {*left, *right};
}

// Whether `span` neighboring taps of every lane of a block lie in one window.
bool fits(const Blocks& plan, int active, int span, int window) {
    const Taps& taps = *plan.taps;
    const int outputs = static_cast<int>(taps.outputs()), most = (window - plan.channels) / plan.pixel - span + 1;
    const int pixels = active / plan.channels, values = active % plan.channels;
    for (int j = 0, c = 0; j < outputs; j += pixels, c += values) {
        if (c >= plan.channels) c -= plan.channels, ++j;
        if (j >= outputs) break;
        const auto [left, right] = ends(taps, j, std::min(j + (c + active - 1) / plan.channels, outputs - 1));
        if (right - left > most) return false;
    }
    return true;
}

// The most lanes, up to `active`, for which they do.
int most(const Blocks& plan, int active, int span, int window) {
    while (active > 1 && !fits(plan, active, span, window)) --active;
    return active;
}

// Pairs of taps in a piece, where a pass can be one of pieces; or 0.
int piece_of(const Columns& plan, const Kernels& kernels) {
    if (plan.pixel == 1) return kernels.pixels;
    return plan.pixel <= 4 && plan.channels <= 4 ? kernels.piece : 0;
}

// Pieces of the windows of all outputs.
int64_t pieces_of(const Taps& taps, int piece) {
    int64_t all = 0;
    for (const int32_t count : taps.count) all += (count + 2 * piece - 1) / (2 * piece);
    return all;
}

// Instructions that sum the taps of a group of rows in so many vectors, each from so many loads, about.
int64_t cost(const Columns& plan, int64_t vectors, int loads) {
    const int weights = plan.taps->wide ? 2 : 1;
    return vectors * (weights * (1 + GROUP) + GROUP * (1 + loads));
}

void prepare_pieces(Columns& plan, int piece) {
    const Taps& taps = *plan.taps;
    const int64_t outputs = taps.outputs(), all = pieces_of(taps, piece) * piece;
    plan.piece = piece;
    plan.blocks = static_cast<int>(outputs);
    plan.base.resize(static_cast<size_t>(outputs));
    plan.pieces.resize(static_cast<size_t>(outputs));
    plan.low.assign(static_cast<size_t>(all), 0);
    plan.high.assign(taps.wide ? plan.low.size() : 0, 0);
    // Lanes of a channel lie side by side, those of the channels one after the other; single ones need no shuffle.
    plan.index.assign(4 * static_cast<size_t>(piece), 0);
    for (int lane = 0; plan.pixel > 1 && lane < 4 * piece; ++lane) {
        const int channel = lane / piece, byte = 2 * (lane % piece) * plan.pixel + (channel < plan.channels ? channel : 0);
        plan.index[static_cast<size_t>(lane)] = static_cast<int32_t>(0x80008000u) | byte | (byte + plan.pixel) << 16;
    }
    int32_t *low = plan.low.data(), *high = plan.high.data();
    for (int64_t j = 0; j < outputs; ++j) {
        const int pairs = (taps.count[j] + 1) / 2, pieces = (pairs + piece - 1) / piece;
        plan.base[j] = taps.first[j] * plan.pixel;
        plan.pieces[j] = pieces;
        plan.reach = std::max<int64_t>(plan.reach, plan.base[j] + pieces * piece * plan.step() + PADDING);
        for (int p = 0; p < pairs; ++p) {
            low[p] = taps.low[p * outputs + j];
            if (taps.wide) high[p] = taps.high[p * outputs + j];
        }
        low += pieces * piece;
        if (taps.wide) high += pieces * piece;
    }
}

}  // namespace

void prepare(Columns& plan, const Kernels& kernels) {
    plan.piece = 0;
    if (kernels.lanes == 0) return;
    const Taps& taps = *plan.taps;
    const int window = kernels.window, lanes = kernels.lanes, group = kernels.group, pairs = taps.pairs;
    const int outputs = static_cast<int>(taps.outputs()), total = outputs * plan.channels;
    plan.active = most(plan, std::min(lanes, total), 2, window);
    plan.shared = fits(plan, plan.active, taps.widest, window);
    const int used = (total + plan.active - 1) / plan.active;
    plan.blocks = (used + group - 1) / group * group;
    const int piece = piece_of(plan, kernels);
    if (piece > 0) {
        const int64_t vectors = static_cast<int64_t>(plan.blocks / group) * pairs;
        const int64_t whole = cost(plan, vectors, plan.shared ? 0 : group) + BLOCK_ENDS * plan.blocks;
        if (cost(plan, pieces_of(taps, piece), 1) + PIXEL_ENDS * outputs < whole) return prepare_pieces(plan, piece);
    }
    const auto values = static_cast<size_t>(plan.blocks) * static_cast<size_t>(lanes);
    plan.base.assign(static_cast<size_t>(plan.blocks), 0);
    plan.index.assign(values, 0);
    plan.low.assign(values * static_cast<size_t>(pairs), 0);
    plan.high.assign(taps.wide ? plan.low.size() : 0, 0);
    const int moved = plan.shared ? 0 : (pairs - 1) * plan.step();
    for (int block = 0, lane = 0, j = 0, c = 0; block < used; ++block) {
        const int stop = std::min(lane + plan.active, total), last = j + (c + stop - lane - 1) / plan.channels;
        const int left = ends(taps, j, last).first;
        plan.base[block] = left * plan.pixel;
        plan.reach = std::max<int64_t>(plan.reach, plan.base[block] + moved + window);
        int32_t* index = plan.index.data() + block * lanes;
        const int entry = (block / group * pairs * group + block % group) * lanes;  // of the first pair
        int32_t* low = plan.low.data() + entry;
        int32_t* high = taps.wide ? plan.high.data() + entry : nullptr;
        for (int n = 0; lane < stop; ++lane, ++n) {
            const int byte = (taps.first[j] - left) * plan.pixel + c;
            index[n] = static_cast<int32_t>(0x80008000u) | byte | (byte + plan.pixel) << 16;
            for (int p = 0; p < pairs; ++p) {
                low[p * group * lanes + n] = taps.low[p * outputs + j];
                if (high) high[p * group * lanes + n] = taps.high[p * outputs + j];
            }
            if (++c == plan.channels) c = 0, ++j;
        }
    }
}

void prepare(Sums& plan, bool floating, const Arithmetic& arithmetic, const Kernels& kernels) {
    if (kernels.sums == 0) return;
    const Taps& taps = *plan.taps;
    const int window = floating ? kernels.floats_seen : kernels.bytes_seen, lanes = kernels.sums;
    const int outputs = static_cast<int>(taps.outputs()), total = outputs * plan.channels;
    if (plan.channels > window) return;
    plan.active = most(plan, std::min(lanes, total), 1, window);
    // A few lanes less are worth one window for all taps.
    const int fewer = kernels.shares ? most(plan, plan.active, taps.widest, window) : 0;
    plan.shared = 3 * fewer >= 2 * plan.active && fits(plan, fewer, taps.widest, window);
    if (plan.shared) plan.active = fewer;
    if (plan.active < FEWEST) {
        plan.active = 0;
        return;
    }
    plan.blocks = (total + plan.active - 1) / plan.active;
    const auto blocks = static_cast<size_t>(plan.blocks), steps = blocks * static_cast<size_t>(taps.widest);
    plan.base.assign(blocks, 0);
    plan.terms.assign(blocks, 0);
    plan.index.assign(blocks * static_cast<size_t>(lanes), 0);
    plan.weights.assign(steps * static_cast<size_t>(lanes), 0);
    plan.fused.assign(steps, 0);
    plan.rounded.assign(steps, 0);
    for (int block = 0, lane = 0, j = 0, c = 0; block < plan.blocks; ++block) {
        const int stop = std::min(lane + plan.active, total), last = j + (c + stop - lane - 1) / plan.channels;
        const int left = ends(taps, j, last).first, step = block * taps.widest;
        plan.base[block] = left * plan.pixel;
        for (int n = 0; lane < stop; ++lane, ++n) {
            const int count = taps.count[j];
            const int64_t rounded = arithmetic.rounded(count - 1);
            plan.index[block * lanes + n] = (taps.first[j] - left) * plan.pixel + c;
            plan.terms[block] = std::max(plan.terms[block], count);
            for (int k = 0; k < count; ++k) {
                plan.weights[(step + k) * lanes + n] = taps.real[k * outputs + j];
                (k > rounded ? plan.fused : plan.rounded)[step + k] |= static_cast<uint16_t>(1 << n);
            }
            if (++c == plan.channels) c = 0, ++j;
        }
        const int moved = plan.shared ? 0 : (plan.terms[block] - 1) * plan.pixel;
        plan.reach = std::max<int64_t>(plan.reach, plan.base[block] + moved + window);
    }
}

}  // namespace lt
