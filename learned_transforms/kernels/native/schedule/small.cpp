#include "schedule/small.hpp"

#include <algorithm>

namespace lt {
namespace {

constexpr int MOST_TAPS = 4, MOST_CHANNELS = 4;
constexpr uintptr_t ALIGNED = 64;  // bytes of a cache line, and of the longest vectors

bool fits(const View& view, const Target& to, const Kernels& kernels) {
    return kernels.small && view.dtype == Dtype::uint8 && !view.interleaved() && view.channels <= MOST_CHANNELS &&
           std::max({view.height, view.width, to.height, to.width}) <= MOST_SIDE &&
           (kernels.window >= 64 || view.width >= kernels.window);  // The longest windows may be cut.
}

const Table* table_of(const Stage& stage) { return std::get_if<Table>(&stage); }

// Whether sums of bytes need no bounds: weights are at least 0, and add up to little more than 1.
bool stays_within(const Taps& taps) {
    const int64_t n = taps.outputs(), unit = int64_t{1} << taps.bits;
    for (int64_t i = 0; i < n; ++i) {
        int64_t sum = 0;
        for (int k = 0; k < taps.widest; ++k) {
            const int32_t weight = taps.whole[static_cast<size_t>(k * n + i)];
            if (weight < 0) return false;
            sum += weight;
        }
        if (255 * sum + unit / 2 >= 256 * unit) return false;
    }
    return true;
}

bool few(const Taps& taps) { return !taps.wide && taps.bits > 0 && taps.widest <= MOST_TAPS && stays_within(taps); }

// False: some block reaches beyond a window. `lanes` of a block.
bool lay_out_columns(const Taps& taps, int window, int lanes, Small& plan) {
    const auto n = static_cast<int>(taps.outputs());
    Small::Taps& along = plan.along;
    plan.blocks = (n + 2 * lanes - 1) / (2 * lanes) * 2;
    along.pairs = taps.pairs, along.bits = taps.bits;
    const auto values = static_cast<size_t>(plan.blocks * along.pairs * lanes);
    along.base.assign(static_cast<size_t>(plan.blocks), 0);
    along.index.assign(values, 0), along.weights.assign(values, 0);
    for (int block = 0; block * lanes < n; ++block) {
        const int begin = block * lanes, end = std::min(begin + lanes, n);
        const int left = *std::min_element(taps.first.begin() + begin, taps.first.begin() + end);
        const int base = std::max(std::min(left, plan.width - window), 0);
        along.base[static_cast<size_t>(block)] = base;
        for (int j = begin; j < end; ++j)
            for (int pair = 0; pair < along.pairs; ++pair) {
                const int first = taps.first[static_cast<size_t>(j)], last = first + taps.count[static_cast<size_t>(j)] - 1;
                const int a = std::min(first + 2 * pair, last) - base, b = std::min(first + 2 * pair + 1, last) - base;
                if (b >= window) return false;
                const auto at = static_cast<size_t>((block * along.pairs + pair) * lanes + j - begin);
                along.index[at] = static_cast<int32_t>(0x80008000u) | a | b << 16;
                along.weights[at] = taps.low[static_cast<size_t>(pair * n + j)];
            }
    }
    return true;
}

void lay_out_rows(const Taps& taps, Small& plan) {
    const int64_t n = taps.outputs();
    plan.down.pairs = taps.pairs, plan.down.bits = taps.bits;
    for (int64_t i = 0; i < n; ++i) {
        const auto row = static_cast<size_t>(i);
        for (int k = 0; k < MOST_TAPS; ++k)
            plan.down.base.push_back(taps.first[row] + std::min(k, taps.count[row] - 1));
        for (int64_t pair = 0; pair < 2; ++pair)
            plan.down.weights.push_back(pair < taps.pairs ? taps.low[static_cast<size_t>(pair * n + i)] : 0);
    }
}

// Weights of a gray channel that the kernels make, of levels; null: another mix.
const float* gray_of(const Mix& mix) {
    const Arithmetic& how = mix.arithmetic;
    if (mix.outputs != 1 || mix.inputs != 3 || how.number != Number::float32 || !how.fma ||
        how.rounding != Rounding::truncate || mix.bias[0] != 0)
        return nullptr;
    const float *weight = mix.weight.data(), most = 255.5f / 255;
    const bool positive = weight[0] >= 0 && weight[1] >= 0 && weight[2] >= 0;
    return positive && weight[0] + weight[1] + weight[2] <= most ? weight : nullptr;
}

}  // namespace

template <class Make>
void SmallOutput::write(uint8_t* target, const Kernels& kernels, Scratch& scratch, const Make& make) const {
    const int64_t plane = pixels + PADDING;
    uint8_t *levels = scratch.get(Scratch::TILES, plane * planes), *out[MOST_CHANNELS];
    for (int64_t c = 0; c < planes; ++c) out[c] = levels + c * plane;
    make(out);
    for (int64_t c = 0; c < planes; ++c, target += pixels * element) {
        if (table)
            look_up(*table, c, out[c], pixels, target, kernels);
        else
            std::copy_n(out[c], pixels, target);
    }
}

bool SmallPass::lay_out(const Resample& resample, const Geometry& geometry, const Kernels& kernels) {
    const Arithmetic& how = resample.arithmetic;
    if (how.number != Number::integer || how.quarters || geometry.rows_first || !few(geometry.rows) ||
        !few(geometry.columns))
        return false;
    lay_out_rows(geometry.rows, plan_);
    return lay_out_columns(geometry.columns, kernels.window, kernels.lanes * kernels.group, plan_);
}

std::shared_ptr<const SmallPass> SmallPass::of(const Pass& pass, const View& view, const Geometry* geometry,
                                               const Target& to, const Kernels& kernels) {
    const auto* resample = std::get_if<Resample>(&pass.change);
    if (!resample || pass.before || !fits(view, to, kernels)) return nullptr;
    auto made = std::make_shared<SmallPass>();
    Small& plan = made->plan_;
    plan.channels = static_cast<int>(view.channels);
    plan.height = static_cast<int>(view.height), plan.width = static_cast<int>(view.width);
    plan.channel = view.channel, plan.row = view.row;
    plan.rows = static_cast<int>(to.height), plan.columns = static_cast<int>(to.width);
    made->output_ = {nullptr, to.channels, to.height * to.width, to.element()};
    auto next = pass.pointwise.begin();
    if (next != pass.pointwise.end() && std::holds_alternative<Mix>(**next)) {
        made->gray_ = *next++;
        plan.gray = gray_of(std::get<Mix>(*made->gray_));
        if (!plan.gray) return nullptr;
    }
    if (next != pass.pointwise.end() && table_of(**next)) {
        made->table_ = *next++;
        made->output_.table = table_of(*made->table_);
    }
    return next == pass.pointwise.end() && made->lay_out(*resample, *geometry, kernels) ? made : nullptr;
}

void SmallPass::run(const uint8_t* image, uint8_t* target, const Kernels& kernels) const {
    static thread_local Scratch scratch;
    const int64_t words = int64_t{plan_.blocks} * kernels.lanes * kernels.group;
    uint8_t* room = scratch.get(Scratch::MIDDLE, 2 * words * plan_.height * plan_.channels + ALIGNED);
    auto* middle = reinterpret_cast<int16_t*>(room + ALIGNED - reinterpret_cast<uintptr_t>(room) % ALIGNED);
    output_.write(target, kernels, scratch, [&](uint8_t* const* out) { kernels.small(plan_, image, middle, out); });
}

std::optional<SmallCopies> SmallCopies::of(const Pass& pass, const View& view, const std::array<int64_t, 4>& window,
                                           Border border, const std::vector<float>& fill, const Target& to,
                                           const Kernels& kernels) {
    static const Gather EVERYTHING{};
    const auto [top, left, height, width] = window;
    const bool still = std::holds_alternative<std::monostate>(pass.change);
    const auto* gather = still ? &EVERYTHING : std::get_if<Gather>(&pass.change);
    const auto beyond = [](const std::optional<Keep>& keep, int64_t size) { return keep && keep->beyond(size); };
    if (!gather || pass.before || pass.pointwise.size() > 1 || !fits(view, to, kernels) ||
        beyond(gather->rows, height) || beyond(gather->columns, width))
        return {};
    SmallCopies made;
    made.output_ = {nullptr, to.channels, to.height * to.width, to.element()};
    if (!pass.pointwise.empty() && !(made.output_.table = table_of(*pass.pointwise.front()))) return {};
    SmallCopy& plan = made.plan_;
    plan.channels = static_cast<int>(view.channels), plan.width = static_cast<int>(view.width);
    plan.channel = view.channel, plan.row = view.row;
    plan.rows = static_cast<int>(to.height), plan.columns = static_cast<int>(to.width);
    for (size_t c = 0; c < std::min(fill.size(), plan.fill.size()); ++c) plan.fill[c] = static_cast<uint8_t>(fill[c]);
    // Of number i of what is kept of `size` pixels, the first of which is pixel `start` of `length`.
    const auto place = [border](const std::optional<Keep>& keep, int i, int64_t size, int64_t start, int64_t length) {
        const int64_t index = start + (keep ? keep->at(i, size) : i);
        return static_cast<int>(index >= 0 && index < length ? index : bordered(index, length, border));
    };
    for (int i = 0; i < plan.rows; ++i) plan.row_of[i] = place(gather->rows, i, height, top, view.height);
    for (int first = 0; first < plan.columns; first += kernels.window) {
        int from[64], least = plan.width, most = 0;
        const int count = std::min(kernels.window, plan.columns - first);
        for (int j = 0; j < count; ++j) {
            from[j] = place(gather->columns, first + j, width, left, view.width);
            if (from[j] >= 0) least = std::min(least, from[j]), most = std::max(most, from[j]);
        }
        const int base = std::max(std::min(least, plan.width - kernels.window), 0);
        if (most - base >= kernels.window) return {};
        plan.base[first / kernels.window] = base;
        for (int j = 0; j < count; ++j) plan.index[first + j] = static_cast<uint8_t>(from[j] < 0 ? 128 : from[j] - base);
    }
    return made;
}

void SmallCopies::run(const uint8_t* image, uint8_t* target, const Kernels& kernels) const {
    static thread_local Scratch scratch;
    output_.write(target, kernels, scratch, [&](uint8_t* const* out) { kernels.small_copy(plan_, image, out); });
}

}  // namespace lt
