// Operations out of plain values of Python's.
#include "stages.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "../ir/lut.hpp"
#include "../ir/verify.hpp"
#include "../schedule/program.hpp"
#include "names.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using lt::Axis;
using lt::BORDERS;
using lt::DTYPES;
using lt::named;
using lt::Keep;

using KeepTuple = std::tuple<int64_t, int64_t, int64_t>;
template <class T, size_t Dimensions>
using Array = nb::ndarray<const T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
// kernel rows, shift, antialias, width
using KernelTuple = std::tuple<std::vector<std::vector<double>>, double, bool, double>;
// input pixels, first [n], count [n], weights [widest, n], bits
using GivenTuple = std::tuple<int64_t, Array<int32_t, 1>, Array<int32_t, 1>, Array<double, 2>, int>;
// weights, output pixels, those kept
using AxisTuple = std::tuple<std::variant<KernelTuple, GivenTuple>, int64_t, KeepTuple>;
// number, bits, adaptive, fma, grouped, rounding, each pass, tall first, quarters
using ArithmeticTuple = std::tuple<std::string, int, bool, bool, int64_t, std::string, bool, bool, bool, std::string>;

template <class A>
auto values_of(const A& array) {
    return std::vector<std::remove_const_t<typename A::Scalar>>(array.data(), array.data() + array.size());
}

Keep keep_of(const KeepTuple& t) { return {std::get<0>(t), std::get<1>(t), std::get<2>(t)}; }

// outputs, offset, number, running, those kept
using NearestTuple = std::tuple<int64_t, double, std::string, bool, KeepTuple>;
// origin, first, second, border
using RuleTuple = std::tuple<std::string, int64_t, int64_t, std::string>;
// Evenly spaced pixels, a list of them, the nearest to outputs, or a rule.
using Kept = std::optional<std::variant<Array<int64_t, 1>, KeepTuple, NearestTuple, RuleTuple>>;

template <class T>
std::vector<T> flat(const std::vector<std::vector<T>>& rows) {
    std::vector<T> all;
    for (const auto& row : rows) {
        if (row.size() != rows[0].size()) throw std::invalid_argument("rows of unequal length");
        all.insert(all.end(), row.begin(), row.end());
    }
    return all;
}

lt::Interpolation weights_of(const KernelTuple& t) {
    const auto& [kernel, shift, antialias, width] = t;
    return {flat(kernel), static_cast<int64_t>(kernel.size()),
            kernel.empty() ? 0 : static_cast<int64_t>(kernel[0].size()), shift, antialias, width};
}

lt::Given weights_of(const GivenTuple& t) {
    const auto& [inputs, first, count, weights, bits] = t;
    const auto widest = static_cast<int64_t>(weights.shape(0));
    return {inputs, values_of(first), values_of(count), widest, values_of(weights), bits};
}

Axis axis_of(const AxisTuple& t) {
    const auto& [weights, size, keep] = t;
    using Weights = std::variant<lt::Interpolation, lt::Given>;
    Axis axis{{}, size, keep_of(keep)};
    std::visit([&](const auto& which) { axis.weights = std::make_shared<const Weights>(weights_of(which)); }, weights);
    return axis;
}

const std::pair<const char*, lt::Order> ORDERS[] = {
    {"taps", lt::Order::taps}, {"second", lt::Order::second}, {"joint", lt::Order::joint}};
const std::pair<const char*, lt::Rounding> ROUNDINGS[] = {{"none", lt::Rounding::none},
                                                          {"truncate", lt::Rounding::truncate},
                                                          {"half_up", lt::Rounding::half_up},
                                                          {"half_even", lt::Rounding::half_even}};

const std::pair<const char*, lt::Number> NUMBERS[] = {
    {"int", lt::Number::integer}, {"float32", lt::Number::float32}, {"float64", lt::Number::float64}};

const std::pair<const char*, lt::Rule::Origin> ORIGINS[] = {{"mirror", lt::Rule::mirror},
                                                            {"start", lt::Rule::start},
                                                            {"end", lt::Rule::end},
                                                            {"middle", lt::Rule::middle},
                                                            {"padded", lt::Rule::padded}};

lt::Arithmetic arithmetic_of(const ArithmeticTuple& t) {
    const auto& [number, bits, adaptive, fma, grouped, rounding, each_pass, tall_first, quarters, order] = t;
    return {named(NUMBERS, number),     bits,      adaptive,   fma,     grouped,
            named(ROUNDINGS, rounding), each_pass, tall_first, quarters, named(ORDERS, order)};
}

std::optional<Keep> keep_of(const Kept& kept) {
    if (!kept) return std::nullopt;
    if (const auto* t = std::get_if<KeepTuple>(&*kept)) return keep_of(*t);
    if (const auto* t = std::get_if<NearestTuple>(&*kept)) {
        const auto& [size, offset, number, running, outputs] = *t;
        Keep keep = keep_of(outputs);
        keep.nearest = lt::Nearest{size, offset, named(NUMBERS, number), running};
        return keep;
    }
    if (const auto* t = std::get_if<RuleTuple>(&*kept)) {
        const auto& [origin, first, second, border] = *t;
        Keep keep{0, 1, 0};
        keep.rule = lt::Rule{named(ORIGINS, origin), first, second, named(BORDERS, border)};
        return keep;
    }
    const auto list = values_of(std::get<Array<int64_t, 1>>(*kept));
    return Keep{0, 1, static_cast<int64_t>(list.size()), list};
}

// index and weights [terms, outputs], bias [outputs]; height and width of the image, and of what is made.
lt::Sparse sparse_of(const Array<int64_t, 2>& index, const Array<double, 2>& weights, const Array<double, 1>& bias,
                     const std::array<int64_t, 2>& from, const std::array<int64_t, 2>& to,
                     const ArithmeticTuple& how) {
    const lt::Arithmetic arithmetic = arithmetic_of(how);
    const auto numbers = [&](const auto& array) { return lt::Numbers(values_of(array), arithmetic.number); };
    if (index.shape(0) != weights.shape(0) || index.shape(1) != weights.shape(1))
        throw std::invalid_argument("index and weights do not fit each other");
    lt::Sparse sparse{static_cast<int64_t>(index.shape(0)), {}, numbers(weights), numbers(bias), from, to, arithmetic};
    for (const int64_t at : values_of(index)) {
        const bool inside = from[1] > 0 && at >= 0 && at / from[1] < from[0];
        if (!inside) throw std::invalid_argument("a pixel is weighed that does not lie in the image");
        sparse.pixels.push_back({static_cast<int32_t>(at / from[1]), static_cast<int32_t>(at % from[1])});
    }
    return sparse;
}

// `places` [terms, 2]: row and column in the window of each of the weights.
lt::Filter filter_of(const std::array<int64_t, 2>& size, const Array<int64_t, 2>& places,
                     const Array<double, 1>& weights, const std::string& border, const ArithmeticTuple& how) {
    const lt::Arithmetic arithmetic = arithmetic_of(how);
    lt::Filter filter{size[0], size[1], {}, {}, {values_of(weights), arithmetic.number}, named(BORDERS, border),
                      arithmetic};
    if (places.shape(1) != 2) throw std::invalid_argument("a place is a row and a column");
    for (size_t k = 0; k < places.shape(0); ++k) {
        filter.rows.push_back(places(k, 0));
        filter.columns.push_back(places(k, 1));
    }
    return filter;
}

// weight, bias, both in whole numbers, arithmetic
using MixTuple = std::tuple<std::vector<std::vector<float>>, std::vector<float>, std::vector<std::vector<int32_t>>,
                            std::vector<int32_t>, ArithmeticTuple>;
// size, places, weights, border, arithmetic
using FilterTuple =
    std::tuple<std::array<int64_t, 2>, Array<int64_t, 2>, Array<double, 1>, std::string, ArithmeticTuple>;
using FactorTuple = std::tuple<double, std::optional<int64_t>>;

lt::Mix mix_of(const std::vector<std::vector<float>>& weight, const std::vector<float>& bias,
               const std::vector<std::vector<int32_t>>& whole_weight, const std::vector<int32_t>& whole_bias,
               const ArithmeticTuple& arithmetic) {
    lt::Mix mix{static_cast<int64_t>(weight.size()), weight.empty() ? 0 : static_cast<int64_t>(weight[0].size()),
                flat(weight), bias, flat(whole_weight), whole_bias, arithmetic_of(arithmetic)};
    if (mix.bias.size() != weight.size() || mix.whole_weight.size() != mix.weight.size() ||
        mix.whole_bias.size() != mix.bias.size())
        throw std::invalid_argument("weight and bias do not fit each other");
    return mix;
}

lt::Factor factor_of(const FactorTuple& t) { return {std::get<0>(t), std::get<1>(t)}; }

const std::pair<const char*, lt::Blend::Form> BLENDS[] = {{"sum", lt::Blend::sum},
                                                          {"from_image", lt::Blend::from_image},
                                                          {"from_other", lt::Blend::from_other}};
const std::pair<const char*, lt::Turn::Form> TURNS[] = {{"multiply", lt::Turn::multiply}, {"divide", lt::Turn::divide}};
const std::pair<const char*, lt::Stretch::Form> STRETCHES[] = {{"divide", lt::Stretch::divide},
                                                               {"multiply", lt::Stretch::multiply},
                                                               {"affine", lt::Stretch::affine}};

lt::Blend blend_of(const std::array<double, 4>& terms, const FactorTuple& factor,
                   const std::optional<std::variant<MixTuple, FilterTuple>>& other,
                   const std::optional<std::string>& mean, const std::string& form, double ceiling,
                   const ArithmeticTuple& arithmetic, bool limited) {
    lt::Blend blend{terms, factor_of(factor), {}, {}, named(BLENDS, form), ceiling, arithmetic_of(arithmetic), limited};
    if (mean) blend.mean = named(ROUNDINGS, *mean);
    if (!other) return blend;
    if (const auto* mix = std::get_if<MixTuple>(&*other))
        blend.other = std::apply(mix_of, *mix);
    else
        blend.other = std::apply(filter_of, std::get<FilterTuple>(*other));
    return blend;
}

// Of floats, of levels, or of what 16 bits of a dtype say.
lt::Table table_of(const std::variant<Array<float, 2>, Array<uint8_t, 2>, Array<uint16_t, 2>>& values,
                   const std::string& name) {
    const lt::Dtype dtype = named(DTYPES, name);
    const auto made = [&](const auto& array) {
        if (array.shape(0) == 0 || array.shape(1) != 256)
            throw std::invalid_argument("a table has 256 values a channel");
        if (static_cast<size_t>(lt::size_of(dtype)) != sizeof(*array.data()))
            throw std::invalid_argument("the values of a table are of another dtype than they are said to be");
        const auto channels = static_cast<int64_t>(array.shape(0));
        if constexpr (sizeof(*array.data()) == 2)
            return lt::make_table(channels, values_of(array), dtype);
        else
            return lt::make_table(channels, values_of(array));
    };
    return std::visit(made, values);
}

lt::Tables tables_of(const Array<uint8_t, 2>& values, const FactorTuple& number) {
    if (values.shape(1) != 256) throw std::invalid_argument("a table has 256 levels");
    return {static_cast<int64_t>(values.shape(0)), values_of(values), factor_of(number)};
}

lt::Resample resample_of(const AxisTuple& rows, const AxisTuple& columns, const ArithmeticTuple& arithmetic) {
    return {axis_of(rows), axis_of(columns), arithmetic_of(arithmetic)};
}

lt::Gather gather_of(const std::optional<std::vector<int64_t>>& channels, const Kept& rows, const Kept& columns,
                     const std::vector<float>& fill, bool outside, bool limited, std::optional<int64_t> starts) {
    return {channels, keep_of(rows), keep_of(columns), fill, outside, limited, starts};
}

// wanted, bound of the longer side, longest
using SizingTuple = std::tuple<std::vector<int64_t>, std::optional<int64_t>, std::optional<double>>;

lt::Resize resize_of(const SizingTuple& sizing, const AxisTuple& rows, const AxisTuple& columns,
                     const ArithmeticTuple& arithmetic, const std::optional<ArithmeticTuple>& larger, int64_t small,
                     bool still) {
    const auto& [wanted, most, longest] = sizing;
    lt::Resize resize{{wanted, most, longest}, resample_of(rows, columns, arithmetic), {}, small, still};
    if (larger) resize.larger = arithmetic_of(*larger);
    return resize;
}

lt::Resize pick_of(const SizingTuple& sizing, const NearestTuple& nearest) {
    const auto& [wanted, most, longest] = sizing;
    const std::optional<Keep> keep = keep_of(Kept(nearest));
    return {{wanted, most, longest}, lt::Gather{{}, keep, keep}, {}, 0, true};
}

lt::Normalize normalize_of(const std::vector<float>& mean, const std::vector<float>& std, const std::string& dtype) {
    return {mean, std, named(DTYPES, dtype)};
}

lt::Cast cast_of(const std::string& dtype) { return {named(DTYPES, dtype)}; }

lt::Stretch stretch_of(const std::array<double, 2>& ends, const std::string& form, double ceiling,
                       const ArithmeticTuple& arithmetic) {
    return {ends, named(STRETCHES, form), ceiling, arithmetic_of(arithmetic)};
}

lt::Equalize equalize_of(int64_t levels, double offset) { return {levels, offset}; }

lt::Turn turn_of(const std::array<int32_t, 3>& centres, const FactorTuple& factor, double span,
                 const std::string& form, int32_t steps, double ceiling, const ArithmeticTuple& arithmetic) {
    return {centres, factor_of(factor), span, named(TURNS, form), steps, ceiling, arithmetic_of(arithmetic)};
}

lt::Blur blur_of(const std::vector<double>& coefficients, const FactorTuple& sigma,
                 const std::array<int64_t, 2>& size, const std::string& border, const ArithmeticTuple& arithmetic,
                 bool limited, const std::optional<std::variant<std::vector<double>, int64_t>>& taps) {
    lt::Blur blur{coefficients, factor_of(sigma),         size[0], size[1], named(BORDERS, border),
                  arithmetic_of(arithmetic), limited};
    if (taps) std::visit([&](const auto& given) { blur.taps = given; }, *taps);
    return blur;
}

lt::BoxBlur box_blur_of(const FactorTuple& sigma, int64_t passes) { return {factor_of(sigma), passes}; }

const std::pair<const char*, lt::Warp::Form> WARPS[] = {
    {"cut", lt::Warp::cut}, {"from_fill", lt::Warp::from_fill}, {"sum", lt::Warp::sum}};

// `matrix`: its numbers, or where they are drawn: the first of the factors, and how many.
lt::Warp warp_of(const std::variant<std::vector<double>, std::tuple<int64_t, int64_t>>& matrix,
                 const std::optional<std::array<int64_t, 2>>& size, const std::vector<std::vector<double>>& taps,
                 const std::vector<float>& fill, const std::string& form, const ArithmeticTuple& arithmetic,
                 int64_t fused) {
    lt::Warp warp{{}, {}, size, flat(taps), static_cast<int64_t>(taps.size()),
                  taps.empty() ? 0 : static_cast<int64_t>(taps[0].size()), fill, named(WARPS, form),
                  arithmetic_of(arithmetic), fused};
    if (const auto* numbers = std::get_if<std::vector<double>>(&matrix)) {
        warp.matrix = *numbers;
    } else {
        const auto [first, count] = std::get<1>(matrix);
        if (count != 3 && count != 6 && count != 8)
            throw std::invalid_argument("a matrix has 6 numbers, or 8, and a field is told by 3");
        warp.slot = first;
        warp.matrix.resize(static_cast<size_t>(count));
    }
    return warp;
}

// Give what makes an operation, of what makes one of its kind.
template <class Made, class... Args>
auto stage(Made (*make)(Args...)) {
    return [make](Args... args) {
        return lt::BoundStage{std::make_shared<const lt::Stage>(make(std::forward<Args>(args)...))};
    };
}

}  // namespace

void lt::define_stages(nb::module_& m) {
    nb::class_<BoundStage>(m, "Stage");
    m.def("resample", stage(&resample_of), "rows"_a, "columns"_a, "arithmetic"_a);
    m.def("resize", stage(&resize_of), "sizing"_a, "rows"_a, "columns"_a, "arithmetic"_a, "larger"_a.none(), "small"_a,
          "still"_a);
    m.def("pick", stage(&pick_of), "sizing"_a, "nearest"_a);
    m.def("gather", stage(&gather_of), "channels"_a.none(), "rows"_a.none(), "columns"_a.none(), "fill"_a,
          "outside"_a = false, "limited"_a = false, "starts"_a = nb::none());
    m.def("sparse", stage(&sparse_of), "index"_a, "weights"_a, "bias"_a, "size"_a, "shape"_a, "arithmetic"_a);
    m.def("filter", stage(&filter_of), "size"_a, "places"_a, "weights"_a, "border"_a, "arithmetic"_a);
    m.def("mix", stage(&mix_of), "weight"_a, "bias"_a, "whole_weight"_a, "whole_bias"_a, "arithmetic"_a);
    m.def("table", stage(&table_of), "values"_a, "dtype"_a);
    m.def("tables", stage(&tables_of), "values"_a, "number"_a);
    m.def("normalize", stage(&normalize_of), "mean"_a, "std"_a, "dtype"_a);
    m.def("cast", stage(&cast_of), "dtype"_a);
    m.def("blend", stage(&blend_of), "terms"_a, "factor"_a, "other"_a.none(), "mean"_a.none(), "form"_a, "ceiling"_a,
          "arithmetic"_a, "limited"_a);
    m.def("stretch", stage(&stretch_of), "ends"_a, "form"_a, "ceiling"_a, "arithmetic"_a);
    m.def("equalize", stage(&equalize_of), "levels"_a, "offset"_a);
    m.def("turn", stage(&turn_of), "centres"_a, "factor"_a, "span"_a, "form"_a, "steps"_a, "ceiling"_a,
          "arithmetic"_a);
    m.def("box_blur", stage(&box_blur_of), "sigma"_a, "passes"_a);
    m.def("warp", stage(&warp_of), "matrix"_a, "size"_a.none(), "taps"_a, "fill"_a, "form"_a, "arithmetic"_a, "fused"_a);
    m.def("blur", stage(&blur_of), "coefficients"_a, "sigma"_a, "size"_a, "border"_a, "arithmetic"_a, "limited"_a,
          "taps"_a = nb::none());
    m.def("taps", [](const AxisTuple& axis, int64_t n_in, const ArithmeticTuple& arithmetic, const std::string& simd) {
        if (n_in < 1) throw std::invalid_argument("an axis needs at least one pixel");
        const lt::Resample resample = resample_of(axis, axis, arithmetic);
        lt::check(resample, 1);
        lt::Taps taps;
        lt::evaluate(resample.rows, n_in, resample.arithmetic, *lt::choose(simd), taps);
        return std::make_tuple(taps.first, taps.count, taps.whole, taps.real, taps.bits);
    }, "axis"_a, "n_in"_a, "arithmetic"_a, "simd"_a);
}
