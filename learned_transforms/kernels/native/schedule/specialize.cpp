#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "schedule/specialize.hpp"
#include "ir/lut.hpp"
#include "ir/verify.hpp"
#include "schedule/tiles.hpp"

namespace lt {
namespace {

struct Ramp {
    uint8_t levels[256];
    constexpr Ramp() : levels() {
        for (int level = 0; level < 256; ++level) levels[level] = static_cast<uint8_t>(level);
    }
};
constexpr Ramp EVERY;  // level, in order

constexpr double MOST_ADDRESS = 9007199254740992;  // 2^53, to which a double holds all whole numbers

const float* floats_of(const uint8_t* plane) { return reinterpret_cast<const float*>(plane); }

float mean_of(const Mix& mix, Rounding rounding, const View& from, const Kernels& kernels, Scratch& scratch) {
    const bool floats = mix.arithmetic.rounding == Rounding::none;
    uint64_t levels = 0;
    double total = 0;
    each_tile(from, kernels, scratch, [&](const Planes& planes, int64_t n) {
        float* gray = scratch.get<float>(Scratch::FLOATS, n);
        if (planes.floating())
            kernels.mix_floats(mix, 0, reinterpret_cast<const float* const*>(planes.of), n, gray);
        else
            kernels.mix_bytes(mix, 0, planes.of, n, gray);
        if (floats)
            total += kernels.total_floats(gray, n);
        else
            levels += kernels.total_bytes(reinterpret_cast<const uint8_t*>(gray), n);
    });
    const int64_t count = from.height * from.width;
    if (!floats) total = static_cast<double>(levels);  // Exact: levels of 2^45 pixels would not be.
    if (rounding == Rounding::half_up) return static_cast<float>(std::floor(total / static_cast<double>(count) + 0.5));
    return static_cast<float>(total) / static_cast<float>(count);
}

std::vector<std::array<double, 2>> ends_of(const View& from, const Kernels& kernels, Scratch& scratch) {
    std::vector<std::array<double, 2>> ends(static_cast<size_t>(from.channels), {INFINITY, -INFINITY});
    each_tile(from, kernels, scratch, [&](const Planes& planes, int64_t n) {
        for (size_t c = 0; c < ends.size(); ++c) {
            if (planes.floating())
                kernels.ends_floats(floats_of(planes.of[c]), n, ends[c].data());
            else
                kernels.ends_bytes(planes.of[c], n, ends[c].data());
        }
    });
    return ends;
}

// The table of a channel with such a histogram.
void flatten(const Equalize& how, const int64_t* counts, int64_t pixels, uint8_t* table) {
    int64_t largest = 255, below = 0;
    while (counts[largest] == 0) --largest;
    const int64_t step = (pixels - counts[largest]) / how.levels;
    const auto offset =
        static_cast<int64_t>(std::floor(static_cast<float>(step) * static_cast<float>(how.offset)));
    for (int64_t level = 0; level < 256; ++level) {
        const int64_t sum = below + offset;
        table[level] = step == 0 ? static_cast<uint8_t>(level)
                                 : static_cast<uint8_t>(sum < 0 ? 0 : std::min<int64_t>(sum / step, 255));
        below += counts[level];
    }
}

// Taps without those on both ends that are no normal numbers: they cannot reach a level, and are slow.
std::vector<float> without_ends(const std::vector<float>& taps) {
    size_t ends = 0;
    constexpr float NORMAL = std::numeric_limits<float>::min();
    while (ends < taps.size() / 2 && std::max(taps[ends], taps[taps.size() - 1 - ends]) < NORMAL) ++ends;
    return {taps.begin() + static_cast<std::ptrdiff_t>(ends), taps.end() - static_cast<std::ptrdiff_t>(ends)};
}

// Taps in double, rounded to float32; of `levels`, without ends.
std::vector<float> taps_of(const Blur& blur, double sigma, int64_t length, bool levels) {
    std::vector<double> taps(static_cast<size_t>(length));
    double sum = 0;
    for (int64_t i = 0; i < length; ++i) {
        const double distance = static_cast<double>(i - length / 2) / sigma, square = distance * distance;
        double power = 1, exponent = 0;
        for (const double coefficient : blur.coefficients) exponent += coefficient * (power *= square);
        sum += taps[static_cast<size_t>(i)] = std::exp(exponent);
    }
    std::vector<float> made;
    for (const double tap : taps) made.push_back(static_cast<float>(tap / sum));
    return levels ? without_ends(made) : made;
}

constexpr double LEVELS = 255, LAST_BIT = 1.0 / (1 << 23);  // of a float32 from 1 to 2
constexpr double MORE = 1.001;  // than all roundings of what is said here

// How far roundings may lead a sum of products of levels with these weights, added one by one, away from their sum, where
// that is below `end`, and the sum of the weights. A rounding is at most half of the last bit of a sum, and no more than
// what is added; a sum is at most 255 times that of the weights until then, and what it comes to in the end.
std::pair<double, double> reached(const std::vector<float>& weights, double end) {
    double total = 0, error = 0;
    for (const float weight : weights) {
        const double most = LEVELS * std::abs(static_cast<double>(weight));
        total += most;
        error += std::min(most, static_cast<double>(power_in(static_cast<float>(std::min(total * MORE, end)))) * LAST_BIT / 2);
    }
    return {error, total / LEVELS};
}

// Of a window that is summed at once: the products of its taps, rounded, and how far from that are sums of rows and then
// columns.
Window window_of(const std::vector<float>& down, const std::vector<float>& along) {
    constexpr double LEAST = 1e-30, WHOLE = 256;
    const auto zeros = [](const std::vector<float>& taps, float other) {  // at both ends
        size_t n = 0;
        while (n < taps.size() / 2 && taps[n] * other == 0 && taps[taps.size() - 1 - n] * other == 0) ++n;
        return static_cast<std::ptrdiff_t>(n);
    };
    const auto largest = [](const std::vector<float>& taps) { return *std::max_element(taps.begin(), taps.end()); };
    const auto top = zeros(down, largest(along)), left = zeros(along, largest(down));
    Window window;
    window.height = static_cast<int64_t>(down.size()) - 2 * top, window.width = static_cast<int64_t>(along.size()) - 2 * left;
    for (auto row = down.begin() + top; row != down.end() - top; ++row)
        for (auto column = along.begin() + left; column != along.end() - left; ++column)
            window.weights.push_back(*row * *column);
    const auto [rows, all_rows] = reached(down, WHOLE);
    const auto [columns, all_columns] = reached(along, WHOLE);
    const double products = LEVELS * LAST_BIT / 2 * all_rows * all_columns;
    window.steady = (products + rows * all_columns + columns * all_rows) * MORE + LEAST;
    for (double power = LOW; power < WHOLE; power *= 2)
        window.relative = std::max(window.relative, reached(window.weights, 2 * power * (1 - LAST_BIT)).first / power * MORE);
    return window;
}

// The box that, so many times, comes to a Gaussian (Gwosdek et al., Theoretical Foundations of Gaussian Convolution by
// Extended Box Filtering), in Pillow's float32.
Box box_of(double sigma, int64_t passes) {
    const auto given = static_cast<float>(sigma);
    const float variance = given * given / static_cast<float>(passes);
    const auto length = static_cast<float>(std::sqrt(12.0 * static_cast<double>(variance) + 1.0));
    const auto whole = static_cast<float>(std::floor((static_cast<double>(length) - 1.0) / 2.0));
    float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
    part /= 6 * (variance - (whole + 1) * (whole + 1));
    const float radius = whole + part;
    Box box{static_cast<int64_t>(radius), static_cast<uint32_t>(16777216.0f / (radius * 2 + 1)), 0};
    box.beyond = ((1u << 24) - static_cast<uint32_t>(2 * box.radius + 1) * box.inside) / 2;
    return box;
}

Blending blending_of(const Blend& blend, const std::vector<double>& factors) {
    const double factor = blend.factor.of(factors);
    const auto term = [&](size_t n) { return static_cast<float>(blend.terms[n] + blend.terms[n + 1] * factor); };
    const auto* mix = blend.of_mean() ? nullptr : std::get_if<Mix>(&blend.other);
    const bool black = std::holds_alternative<std::monostate>(blend.other);
    return {mix,
            term(0),
            black ? 0 : term(2),
            0,
            black ? Blend::sum : blend.form,
            blend.arithmetic.fma,
            blend.arithmetic.rounding,
            static_cast<float>(blend.ceiling)};
}

// The field of places that an image comes with.
const float* places_of(const std::array<double, 8>& told, const Size& size) {
    require(told[1] == static_cast<double>(size[0]) && told[2] == static_cast<double>(size[1]),
            "Expected a place for each pixel of the output.");
    require(told[0] >= 1 && told[0] < MOST_ADDRESS && told[0] == std::floor(told[0]), "Expected places in memory.");
    return reinterpret_cast<const float*>(static_cast<uintptr_t>(told[0]));
}

}  // namespace

// Makes one step after the other.
struct Settler {
    Settled& made;
    const View& from;
    const std::vector<double>& factors;
    const Kernels& kernels;
    Scratch& scratch;
    int64_t channels;
    Dtype dtype;

    template <class What>
    void push(What&& what, int64_t channels_after, Dtype dtype_after) {
        channels = channels_after, dtype = dtype_after;
        made.steps.push_back({std::forward<What>(what), channels, dtype});
    }

    Table& fresh(int64_t rows, Dtype of) {
        if (made.used_ == made.tables_.size()) made.tables_.push_back(std::make_unique<Table>());
        Table& table = *made.tables_[made.used_++];
        const auto size = static_cast<size_t>(rows) * 256;
        table.channels = rows;
        table.dtype = of;
        table.levels.resize(of == Dtype::uint8 ? size : 0);
        table.values.resize(of == Dtype::float32 ? size : 0);
        table.words.resize(size_of(of) == 2 ? size : 0);
        table.bytes.resize(of == Dtype::uint8 ? 0 : size * static_cast<size_t>(size_of(of)));
        return table;
    }

    // What `how` makes of every level, for each channel: how(channel, out).
    template <class How>
    void tabulate(int64_t rows, Dtype of, const How& how) {
        const bool floats = of == Dtype::float32;
        Table& table = fresh(rows, of);
        for (int64_t c = 0; c < rows; ++c)
            how(c, floats ? static_cast<void*>(table.values.data() + c * 256) : table.levels.data() + c * 256);
        if (floats) set_bytes(table);
        (*this)(table);
    }

    // A table behind one of levels joins it, unless it is better left alone.
    void operator()(const Table& next) {
        auto* before = made.steps.empty() ? nullptr : std::get_if<const Table*>(&made.steps.back().what);
        if (!before || (*before)->dtype != Dtype::uint8 || (kernels.formulas && next.formula))
            return push(&next, channels, next.dtype);
        const Table& first = **before;
        Table& both = fresh(std::max(first.channels, next.channels), next.dtype);
        const int64_t row_bytes = size_of(next.dtype) * 256;
        for (int64_t c = 0; c < both.channels; ++c) {
            const uint8_t* levels = first.levels.data() + (first.channels == 1 ? 0 : c) * 256;
            const int64_t row = next.channels == 1 ? 0 : c;
            if (next.dtype == Dtype::uint8) {
                kernels.levels(next.levels.data() + row * 256, levels, 256, both.levels.data() + c * 256);
                continue;
            }
            if (next.dtype == Dtype::float32)
                for (int64_t n = 0; n < 256; ++n) both.values[c * 256 + n] = next.values[row * 256 + levels[n]];
            else
                for (int64_t n = 0; n < 256; ++n) both.words[c * 256 + n] = next.words[row * 256 + levels[n]];
            for (int64_t b = 0; b < row_bytes; b += 256)
                kernels.levels(next.bytes.data() + row * row_bytes + b, levels, 256,
                               both.bytes.data() + c * row_bytes + b);
        }
        made.steps.pop_back();
        push(&both, channels, next.dtype);
    }

    void operator()(const Gather& gather) {
        push(&gather, static_cast<int64_t>(gather.channels->size()), dtype);
    }
    void operator()(const Mix& mix) { push(&mix, mix.outputs, dtype_of(mix.arithmetic.rounding)); }
    void operator()(const Normalize& normalize) { push(&normalize, channels, normalize.dtype); }
    void operator()(const Cast& cast) { push(&cast, channels, cast.dtype); }

    void operator()(const Tables& tables) {
        const auto number = static_cast<size_t>(tables.number.of(factors));
        tabulate(1, Dtype::uint8,
                 [&](int64_t, void* out) { std::copy_n(tables.levels.data() + number * 256, 256, static_cast<uint8_t*>(out)); });
    }

    void operator()(const Blend& blend) {
        Blending how = blending_of(blend, factors);
        const Dtype after = dtype_of(how.rounding);
        if (blend.of_mean()) how.mean = mean_of(std::get<Mix>(blend.other), *blend.mean, from, kernels, scratch);
        if (how.mix || dtype == Dtype::float32) return push(how, channels, after);
        float other[256];
        std::fill_n(other, 256, how.mean);
        tabulate(1, after, [&](int64_t, void* out) { kernels.blend_bytes(how, EVERY.levels, other, 256, out); });
    }

    void operator()(const Stretch& stretch) {
        auto ends = ends_of(from, kernels, scratch);
        const Dtype after = dtype_of(stretch.arithmetic.rounding);
        if (dtype == Dtype::float32) return push(Stretching{&stretch, std::move(ends)}, channels, after);
        tabulate(channels, after, [&](int64_t c, void* out) {
            const auto [low, high] = ends[static_cast<size_t>(c)];
            kernels.stretch_bytes(stretch, low, high, EVERY.levels, 256, out);
        });
    }

    void operator()(const Equalize& equalize) {
        std::vector<int64_t> counts(static_cast<size_t>(channels) * 256);
        each_tile(from, kernels, scratch, [&](const Planes& planes, int64_t n) {
            for (int64_t c = 0; c < channels; ++c) kernels.histogram(planes.of[c], n, counts.data() + c * 256);
        });
        tabulate(channels, Dtype::uint8, [&](int64_t c, void* out) {
            flatten(equalize, counts.data() + c * 256, from.height * from.width, static_cast<uint8_t*>(out));
        });
    }

    void operator()(const Turn& turn) {
        const double factor = turn.factor.of(factors);
        const auto steps = static_cast<int64_t>(factor * turn.steps);
        push(Turning{&turn, static_cast<float>(factor), static_cast<int32_t>(modulo(steps, 256))}, channels,
             dtype_of(turn.arithmetic.rounding));
    }

    template <class Stage>
    void operator()(const Stage&) {
        throw std::logic_error("a stage is not pointwise");
    }
};

void Settled::settle_blur(const Blur& blur, bool levels, const std::vector<double>& factors) {
    if (!blur.joint()) {
        const double sigma = blur.sigma.of(factors);
        down = taps_of(blur, sigma, blur.height, levels);
        along = taps_of(blur, sigma, blur.width, levels);
        return;
    }
    const auto* given = std::get_if<std::vector<double>>(&blur.taps);
    const double* first = given ? given->data() : factors.data() + std::get<int64_t>(blur.taps);
    const std::vector<float> high(first, first + blur.height), wide(first + blur.height, first + blur.count());
    window = window_of(high, wide);
    down = without_ends(high), along = without_ends(wide);
}

void Settled::settle(const Pass& pass, const View& from, const std::vector<double>& factors, const Kernels& kernels,
                     Scratch& scratch) {
    steps.clear();
    used_ = 0;
    if (const auto* blur = changes<Blur>(pass.change)) {
        settle_blur(*blur, !from.floating() && blur->arithmetic.rounding != Rounding::none, factors);
    } else if (const auto* blur = changes<BoxBlur>(pass.change)) {
        box = box_of(blur->sigma.of(factors), blur->passes);
    } else if (const auto* warp = changes<Warp>(pass.change)) {
        warping.stage = warp;
        for (size_t n = 0; n < warp->matrix.size(); ++n)
            warping.matrix[n] = warp->slot ? factors[static_cast<size_t>(*warp->slot) + n] : warp->matrix[n];
        warping.places = warp->field() ? places_of(warping.matrix, warp->of({from.height, from.width})) : nullptr;
    } else if (const auto* blend = changes<Blend>(pass.change)) {
        blending = blending_of(*blend, factors);
    }
    Settler settler{*this, from, factors, kernels, scratch, from.channels, pass.dtype_between(from.dtype)};
    for (const Shared& stage : pass.pointwise) std::visit(settler, *stage);
}

}  // namespace lt
