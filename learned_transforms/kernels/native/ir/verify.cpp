#include "ir/verify.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace lt {

constexpr int64_t MOST_SLOTS = 1 << 16;
constexpr int64_t MOST_TAPS = 255;  // of a side of a window that is summed at once
constexpr int64_t FARTHEST = int64_t{1} << 32;  // from an image, of a pixel or a step: as many steps do not overflow

void require(bool holds, const char* message) {
    if (!holds) throw std::invalid_argument(message);
}

void require(bool holds, const std::string& message) { require(holds, message.c_str()); }

void check_fill(const std::vector<float>& fill, int64_t channels) {
    require(fill.empty() || static_cast<int64_t>(fill.size()) == channels, "fill is for another number of channels");
}

namespace {

void check(const Given& given, int64_t outputs) {
    const auto n = static_cast<size_t>(outputs);
    require(given.inputs > 0 && given.inputs <= LONGEST && given.first.size() == n && given.count.size() == n &&
                given.widest > 0 && given.weights.size() == n * static_cast<size_t>(given.widest),
            "an axis needs first [n], count [n] and weights [widest, n]");
    for (size_t i = 0; i < n; ++i) {
        const int64_t first = given.first[i], count = given.count[i];
        require(first >= 0 && count >= 1 && first + count <= given.inputs && count <= given.widest,
                "an axis weighs pixels that do not lie on it");
        for (int64_t k = 0; k < given.widest; ++k) {
            const double weight = given.weights[static_cast<size_t>(k) * n + i];
            require(k < count || weight == 0, "weights past the count are not 0");
            require(given.bits == 0 || std::abs(weight) < (1 << 30), "whole weights are beyond 2^30");
        }
    }
}

// Required before anything is computed of them.
void check_range(const Keep& keep) {
    require(keep.count > 0 && keep.count <= LONGEST, "a copy needs at least one pixel, and at most 2^24");
    for (const int64_t value : {keep.start, keep.step})
        require(value >= -FARTHEST && value <= FARTHEST, "pixels are kept that lie beyond any image");
}

// Whether numbers start + step * i, i < count, all are below `size`.
bool below(const Keep& keep, int64_t size) {
    const int64_t last = keep.start + keep.step * (keep.count - 1);
    return std::min(keep.start, last) >= 0 && std::max(keep.start, last) < size;
}

void check(const Keep& keep) {
    if (keep.rule) {
        for (const int64_t value : {keep.rule->first, keep.rule->second})
            require(std::abs(value) <= LONGEST, "pixels are kept that lie beyond any image");
        require(keep.rule->border != Border::copy, "a border cannot be a copy");
        return;
    }
    check_range(keep);
    if (!keep.nearest) return;
    require(keep.nearest->size > 0 && keep.nearest->size <= LONGEST && below(keep, keep.nearest->size),
            "pixels are kept that a resize does not make");
    require(keep.nearest->number != Number::integer && std::abs(keep.nearest->offset) <= 1,
            "the nearest pixel is found in floats, within one pixel of an output");
}

void check(const Axis& axis, const Arithmetic& arithmetic) {
    require(axis.keep.list.empty() && !axis.keep.nearest && !axis.keep.rule, "a resample keeps evenly spaced pixels");
    if (const auto* from = std::get_if<Interpolation>(axis.weights.get())) {
        require(from->support > 0 && from->terms > 0 &&
                    static_cast<int64_t>(from->kernel.size()) == from->support * from->terms,
                "a kernel needs [support, terms] coefficients");
        require(from->width > 0 && from->width <= 1, "a unit of a kernel is at most one pixel wide");
        require(std::abs(from->shift) <= LONGEST, "a kernel is shifted beyond any image");
    }
    check_range(axis.keep);
    require(axis.size > 0 && axis.size <= LONGEST,
            "an output needs at least one pixel, and at most 2^24 along an axis");
    require(below(axis.keep, axis.size),
            "pixels are kept that a resample does not make");
    if (const auto* given = std::get_if<Given>(axis.weights.get())) {
        const bool whole = arithmetic.number == Number::integer;
        require(whole ? given->bits >= 1 && given->bits <= 22 : given->bits == 0,
                "whole weights have 1 to 22 fraction bits, others none");
        check(*given, axis.size);
    }
}

void check(const Arithmetic& arithmetic) {
    if (arithmetic.number == Number::integer)
        require(arithmetic.bits >= 1 && arithmetic.bits <= 22 && arithmetic.rounding == Rounding::half_up,
                "integer sums have 1 to 22 fraction bits, and round half up");
    require(arithmetic.number == Number::float32 || !(arithmetic.fma || arithmetic.grouped),
            "only float32 sums are fused");
    require(arithmetic.grouped >= 0, "no group has fewer than no products");
}

void check(const Sparse& sparse) {
    check(sparse.arithmetic);
    for (const int64_t length : {sparse.from[0], sparse.from[1], sparse.to[0], sparse.to[1]})
        require(length > 0 && length <= LONGEST, "an image has at least one pixel, and at most 2^24 along an axis");
    const auto outputs = static_cast<size_t>(sparse.outputs()), terms = outputs * static_cast<size_t>(sparse.terms);
    require(terms > 0 && sparse.pixels.size() == terms && sparse.weights.size() == terms &&
                sparse.bias.size() == outputs,
            "sparse weights need an index and a weight for each term, and a bias for each output");
}

void check(const Filter& filter) {
    check(filter.arithmetic);
    require(filter.height > 0 && filter.height <= LONGEST && filter.height % 2 == 1 && filter.width > 0 &&
                filter.width <= LONGEST && filter.width % 2 == 1,
            "the height and width of a window are odd");
    const size_t terms = filter.rows.size();
    require(terms > 0 && filter.columns.size() == terms && filter.weights.size() == terms,
            "a window needs at least one weight, and a place for each");
    for (size_t k = 0; k < terms; ++k)
        require(filter.rows[k] >= 0 && filter.rows[k] < filter.height && filter.columns[k] >= 0 &&
                    filter.columns[k] < filter.width,
                "a weight does not lie in the window");
}

void check(const Mix& mix, int64_t channels) {
    check(mix.arithmetic);
    require(mix.arithmetic.number != Number::float64, "channels are not mixed in float64");
    require(mix.inputs == channels && mix.inputs > 0, "a mix is for another number of channels");
    for (int64_t c = 0; c < mix.outputs; ++c) {
        double largest = std::abs(mix.bias[static_cast<size_t>(c)]);
        for (int64_t k = 0; k < channels; ++k)
            largest += 255.0 * std::abs(mix.weight[static_cast<size_t>(c * channels + k)]);
        require(largest < (1 << 22), "weights of channels give sums of four million levels and more");
    }
}

void check(const Factor& factor) {
    require(std::isfinite(factor.value), "a factor is no finite number");
    require(!factor.slot || (*factor.slot >= 0 && *factor.slot < MOST_SLOTS), "factors are numbered from 0 to 65535");
}

void check(const Tables& tables) {
    check(tables.number);
    require(tables.count >= 1 && static_cast<int64_t>(tables.levels.size()) == tables.count * 256,
            "a table has 256 levels");
}

// Of a stage of color, whose values end at `ceiling`.
void check(const Arithmetic& arithmetic, double ceiling) {
    check(arithmetic);
    require(arithmetic.number != Number::integer, "colors are not computed in integers");
    require(std::isfinite(ceiling) && ceiling >= 0, "the ceiling is no number from 0 on");
}

void check(const Blend& blend, int64_t channels) {
    check(blend.arithmetic, blend.ceiling);
    check(blend.factor);
    require(blend.arithmetic.number == Number::float32, "blends are summed in float32");
    for (const double term : blend.terms) require(std::isfinite(term), "a term is no finite number");
    const bool rounds = blend.mean && *blend.mean != Rounding::none;
    require(!rounds || *blend.mean == Rounding::half_up, "a mean is rounded half up, or not");
    if (const auto* mix = std::get_if<Mix>(&blend.other)) {
        check(*mix, channels);
        require(mix->outputs == 1, "the other image of a blend has one gray channel");
    } else if (const auto* filter = std::get_if<Filter>(&blend.other)) {
        check(*filter);
        require(!blend.mean, "there is no mean of a smoothed image");
    }
}

void check(const Stretch& stretch) {
    check(stretch.arithmetic, stretch.ceiling);
    require(std::isfinite(stretch.ends[0]) && std::isfinite(stretch.ends[1]) && stretch.ends[0] != stretch.ends[1],
            "the ends of a stretch are two finite numbers");
}

void check(const Equalize& equalize) {
    require(equalize.levels >= 1 && equalize.levels <= LONGEST, "there is at least one level");
    require(std::abs(equalize.offset) <= 1, "the offset is a part of a step");
}

void check(const Turn& turn, int64_t channels) {
    check(turn.arithmetic, turn.ceiling);
    check(turn.factor);
    require(channels == 3, "hue is of three channels");
    const auto [a, b, c] = turn.centres;
    require(std::min({a, b, c}) >= 0 && std::max({a, b, c}) <= 5 && a != b && b != c && a != c,
            "the centres of hue are three different sixths of a turn");
    require(turn.steps == 0 || turn.steps == 255, "hue has 255 steps, or none");
    require(std::isfinite(turn.span) && turn.ceiling > 0, "span and ceiling of a turn are finite numbers");
}

void check(const Blur& blur) {
    check(blur.arithmetic, 255);
    check(blur.sigma);
    require(blur.arithmetic.number == Number::float32, "blurs are summed in float32");
    require(blur.height > 0 && blur.height <= LONGEST && blur.height % 2 == 1 && blur.width > 0 &&
                blur.width <= LONGEST && blur.width % 2 == 1,
            "the height and width of a window are odd");
    require(blur.border != Border::copy && blur.border != Border::zero, "a blur has pixels beyond every border");
    require(!blur.coefficients.empty(), "taps need at least one coefficient");
    for (const double coefficient : blur.coefficients)
        require(std::isfinite(coefficient), "a coefficient is no finite number");
    if (!blur.joint()) return;
    require(blur.arithmetic.fma && blur.arithmetic.rounding == Rounding::half_even,
            "windows are summed at once, fused, for levels that round half to even");
    require(blur.height <= MOST_TAPS && blur.width <= MOST_TAPS, "windows that are summed at once have up to 255 taps");
    if (const auto* slot = std::get_if<int64_t>(&blur.taps))
        require(*slot >= 0 && *slot < MOST_SLOTS, "factors are counted from 0 to 2^16");
    if (const auto* taps = std::get_if<std::vector<double>>(&blur.taps))
        require(static_cast<int64_t>(taps->size()) == blur.count(), "there is a tap for each row and column of a window");
}

void check(const BoxBlur& blur) {
    check(blur.sigma);
    require(blur.passes > 0 && blur.passes <= 16, "a blur takes 1 to 16 boxes");
}

void check(const Warp& warp, int64_t channels) {
    check(warp.arithmetic);
    require(warp.matrix.size() == 6 || warp.matrix.size() == 8 || warp.field(), "a matrix has 6 numbers, or 8");
    require(!warp.field() || (warp.slot && warp.form != Warp::cut),
            "a field of places comes with each image, and is in halves of it");
    require(!warp.slot || (*warp.slot >= 0 && *warp.slot < MOST_SLOTS), "factors are counted from 0 to 2^16");
    for (const double number : warp.matrix) require(std::isfinite(number), "a number of a matrix is not finite");
    for (const int64_t length : warp.of({1, 1}))
        require(length > 0 && length <= LONGEST, "an output needs at least one pixel, and at most 2^24 along an axis");
    require(warp.pixels >= 0 && warp.pixels <= 16 && warp.pixels % 2 == 0 && warp.terms >= 0 && warp.terms <= 64 &&
                static_cast<int64_t>(warp.taps.size()) == warp.pixels * warp.terms,
            "taps are [pixels, terms], up to 16 pixels and 64 terms");
    for (const double tap : warp.taps) require(std::isfinite(tap), "a coefficient is no finite number");
    require(warp.form == Warp::cut ? warp.nearest() || warp.arithmetic.number == Number::float64
                                   : warp.arithmetic.number == Number::float32,
            "places in pixels are weighed in float64, others in float32");
    require(warp.fused >= 0, "no output has fewer than no pixels");
    check_fill(warp.fill, channels);
}

}  // namespace

const Factor* factor_of(const Stage& stage) {
    if (const auto* blend = std::get_if<Blend>(&stage)) return &blend->factor;
    if (const auto* tables = std::get_if<Tables>(&stage)) return &tables->number;
    if (const auto* turn = std::get_if<Turn>(&stage)) return &turn->factor;
    if (const auto* blur = std::get_if<Blur>(&stage)) return &blur->sigma;
    if (const auto* blur = std::get_if<BoxBlur>(&stage)) return &blur->sigma;
    return nullptr;
}

void check_kept(const Keep& keep) { check_range(keep); }

namespace {

void check(const Resample& resample, const Arithmetic& arithmetic) {
    check(arithmetic), check(resample.rows, arithmetic), check(resample.columns, arithmetic);
    require(arithmetic.number != Number::float64, "resamples are not summed in float64");
    require(arithmetic.number != Number::integer || arithmetic.each_pass || arithmetic.quarters,
            "integer passes round after each pass");
    require(arithmetic.order == Order::taps || (arithmetic.number == Number::float32 && !arithmetic.grouped &&
                                               !arithmetic.each_pass && !arithmetic.tall_first),
            "only plain sums in float32 have another order");
    for (const Axis* axis : {&resample.rows, &resample.columns}) {
        const auto* from = std::get_if<Interpolation>(axis->weights.get());
        require(arithmetic.order == Order::taps || (from && !from->antialias && from->width == 1),
                "only kernels that are not stretched are summed in another order");
        require(arithmetic.order != Order::joint || from->support == 1, "a joint sum is one of two pixels along an axis");
    }
    // Fewer leave nothing to cut; with these, sums fit an int32 where weights add up to 5 at most on either axis.
    require(!arithmetic.quarters ||
                (arithmetic.number == Number::integer && arithmetic.bits >= 3 && arithmetic.bits <= 11),
            "products are cut to quarters of a level in integers of 3 to 11 fraction bits only");
}

void check(const Resize& resize) {
    const Sizing& sizing = resize.sizing;
    require(sizing.wanted.size() <= 2 && (!sizing.wanted.empty() || sizing.most) &&
                (!sizing.longest || sizing.wanted.size() == 2),
            "a resize is asked for two numbers at most");
    for (const int64_t length : sizing.wanted)
        require(length > 0 && length <= LONGEST, "an output needs at least one pixel, and at most 2^24 along an axis");
    require(!sizing.most || (*sizing.most > 0 && *sizing.most <= LONGEST), "a side is bounded by one pixel at least");
    require(!sizing.longest || std::isfinite(*sizing.longest), "a ratio is no finite number");
    if (const auto* resample = std::get_if<Resample>(&resize.made)) {
        check(*resample, resample->arithmetic);
        if (resize.larger) check(*resample, *resize.larger);
    } else {
        for (const auto* keep : {&std::get<Gather>(resize.made).rows, &std::get<Gather>(resize.made).columns}) {
            require(*keep && (*keep)->nearest, "a resize needs to know how");
            require((*keep)->start == 0 && (*keep)->step == 1, "a resize gives all pixels of its output");
            check(**keep);
        }
    }
}

}  // namespace

int64_t check(const Stage& stage, int64_t channels) {
    if (const auto* resample = std::get_if<Resample>(&stage)) {
        check(*resample, resample->arithmetic);
    } else if (const auto* resize = std::get_if<Resize>(&stage)) {
        check(*resize);
    } else if (const auto* sparse = std::get_if<Sparse>(&stage)) {
        check(*sparse);
    } else if (const auto* filter = std::get_if<Filter>(&stage)) {
        check(*filter);
    } else if (const auto* gather = std::get_if<Gather>(&stage)) {
        for (const auto* keep : {&gather->rows, &gather->columns})
            if (*keep) check(**keep);
        check_fill(gather->fill, channels);
        if (gather->starts) {
            require(*gather->starts >= 0 && *gather->starts + 1 < MOST_SLOTS, "factors are numbered from 0 to 65535");
            for (const auto* keep : {&gather->rows, &gather->columns})
                require(*keep && (*keep)->rule && (*keep)->rule->origin == Rule::start,
                        "only parts of rows and columns begin where it is drawn");
        }
        if (gather->channels) {
            for (const int64_t c : *gather->channels)
                require(c >= 0 && c < channels, "a channel is copied that is not there");
            channels = static_cast<int64_t>(gather->channels->size());
        }
    } else if (const auto* mix = std::get_if<Mix>(&stage)) {
        check(*mix, channels);
        channels = mix->outputs;
    } else if (const auto* table = std::get_if<Table>(&stage)) {
        require(table->channels == 1 || table->channels == channels, "a table is for another number of channels");
    } else if (const auto* tables = std::get_if<Tables>(&stage)) {
        check(*tables);
    } else if (const auto* blend = std::get_if<Blend>(&stage)) {
        check(*blend, channels);
    } else if (const auto* stretch = std::get_if<Stretch>(&stage)) {
        check(*stretch);
    } else if (const auto* equalize = std::get_if<Equalize>(&stage)) {
        check(*equalize);
    } else if (const auto* turn = std::get_if<Turn>(&stage)) {
        check(*turn, channels);
    } else if (const auto* blur = std::get_if<Blur>(&stage)) {
        check(*blur);
    } else if (const auto* box = std::get_if<BoxBlur>(&stage)) {
        check(*box);
    } else if (const auto* cast = std::get_if<Cast>(&stage)) {
        require(size_of(cast->dtype) == 2, "floats are rounded to 16 bits only");
    } else if (const auto* warp = std::get_if<Warp>(&stage)) {
        check(*warp, channels);
    } else {
        const auto& normalize = std::get<Normalize>(stage);
        require(normalize.dtype != Dtype::uint8, "mean and std are for float images");
        require(static_cast<int64_t>(normalize.mean.size()) == channels &&
                    normalize.mean.size() == normalize.std.size(),
                "mean and std are for another number of channels");
    }
    require(channels > 0, "an image needs at least one channel");
    return channels;
}

const char* misfit(const Stage& stage, Dtype dtype) {
    if (const auto* normalize = std::get_if<Normalize>(&stage))
        return normalize->dtype == dtype ? nullptr : "mean and std are for float images of another dtype";
    if (size_of(dtype) == 2)
        return std::holds_alternative<Gather>(stage) ? nullptr : "values of 16 bits are copied and normalized only";
    const bool floats = dtype == Dtype::float32;
    const Arithmetic* arithmetic = arithmetic_of(stage);
    if (arithmetic && arithmetic->number == Number::integer && floats) return "integer sums are for uint8 images";
    if (const auto* blend = std::get_if<Blend>(&stage)) {
        if (const auto* mix = std::get_if<Mix>(&blend->other)) return misfit(*mix, dtype);
        if (const auto* filter = std::get_if<Filter>(&blend->other)) return misfit(*filter, dtype);
    }
    if (std::holds_alternative<Equalize>(stage) && floats) return "a histogram is of uint8 images";
    if (std::holds_alternative<BoxBlur>(stage) && floats) return "boxes are for uint8 images";
    const auto* blur = std::get_if<Blur>(&stage);
    if (blur && blur->joint() && floats) return "windows that are summed at once are for uint8 images";
    if ((std::holds_alternative<Table>(stage) || std::holds_alternative<Tables>(stage)) && floats)
        return "a table is for uint8 images";
    if (std::holds_alternative<Cast>(stage) && !floats) return "only floats are rounded to 16 bits";
    return nullptr;
}

}  // namespace lt
