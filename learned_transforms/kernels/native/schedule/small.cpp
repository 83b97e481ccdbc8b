#include "schedule/small.hpp"

#include <algorithm>

namespace lt {
namespace {

constexpr int64_t MOST_SIDE = 128;  // of an image, and of what is made of it
constexpr int MOST_TAPS = 4;

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
bool lay_out(const Taps& taps, int window, int lanes, Small& plan) {
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

// Weights of a gray channel that the kernels make; null: another mix.
const float* gray_of(const Mix& mix) {
    const Arithmetic& how = mix.arithmetic;
    const auto negative = [](float weight) { return !(weight >= 0); };
    const bool known = mix.outputs == 1 && mix.inputs == 3 && how.number == Number::float32 && how.fma &&
                       how.rounding == Rounding::truncate && mix.bias[0] == 0;
    return known && std::none_of(mix.weight.begin(), mix.weight.end(), negative) ? mix.weight.data() : nullptr;
}

}  // namespace

bool SmallPass::resamples(const Resample& resample, const View& view, const Geometry& geometry, const Kernels& kernels) {
    const Arithmetic& how = resample.arithmetic;
    const int window = kernels.window, lanes = kernels.lanes * kernels.group;
    if (!kernels.small || how.number != Number::integer || how.quarters || geometry.rows_first ||
        !few(geometry.rows) || !few(geometry.columns) || (window < 64 && view.width < window))
        return false;
    lay_out_rows(geometry.rows, plan_);
    return lay_out(geometry.columns, window, lanes, plan_);
}

std::shared_ptr<const SmallPass> SmallPass::of(const Pass& pass, const View& view, const Geometry* geometry,
                                               const Target& to, const Kernels& kernels) {
    const auto* resample = std::get_if<Resample>(&pass.change);
    if (!resample || pass.before || view.dtype != Dtype::uint8 || view.interleaved() || to.interleaved ||
        std::max({view.height, view.width, to.height, to.width}) > MOST_SIDE || view.channels > 4)
        return nullptr;
    auto made = std::make_shared<SmallPass>();
    Small& plan = made->plan_;
    plan.channels = static_cast<int>(view.channels);
    plan.height = static_cast<int>(view.height), plan.width = static_cast<int>(view.width);
    plan.channel = view.channel, plan.row = view.row;
    plan.rows = static_cast<int>(to.height), plan.columns = static_cast<int>(to.width);
    auto next = pass.pointwise.begin();
    if (next != pass.pointwise.end() && std::holds_alternative<Mix>(**next)) {
        made->gray_ = *next++;
        plan.gray = gray_of(std::get<Mix>(*made->gray_));
        if (!plan.gray) return nullptr;
    }
    if (next != pass.pointwise.end() && std::holds_alternative<Table>(**next)) made->table_ = *next++;
    if (next != pass.pointwise.end() || !made->resamples(*resample, view, *geometry, kernels)) return nullptr;
    made->planes_ = to.channels, made->pixels_ = to.height * to.width, made->element_ = to.element();
    return made;
}

void SmallPass::run(const uint8_t* image, uint8_t* target, const Kernels& kernels) const {
    static thread_local Scratch scratch;
    const int64_t plane = pixels_ + PADDING, words = int64_t{plan_.blocks} * kernels.lanes * kernels.group;
    auto* middle = scratch.get<int16_t>(Scratch::MIDDLE, words * plan_.height * plan_.channels);
    uint8_t* levels = scratch.get(Scratch::TILES, plane * planes_);
    uint8_t* out[4];
    for (int64_t c = 0; c < planes_; ++c) out[c] = levels + c * plane;
    kernels.small(plan_, image, middle, out);
    const auto* table = table_ ? &std::get<Table>(*table_) : nullptr;
    for (int64_t c = 0; c < planes_; ++c, target += pixels_ * element_) {
        if (table)
            look_up(*table, c, out[c], pixels_, target, kernels);
        else
            std::copy_n(out[c], pixels_, target);
    }
}

}  // namespace lt
