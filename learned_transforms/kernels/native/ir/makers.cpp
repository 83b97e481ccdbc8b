// Operations out of plain values.
#include "ir/makers.hpp"

#include <stdexcept>

#include "ir/lut.hpp"
#include "ir/names.hpp"
#include "ir/verify.hpp"

namespace lt {
namespace {

template <class T, size_t N>
std::vector<T> values_of(const Array<T, N>& array) {
    return {array.data, array.data + array.size()};
}

Keep keep_of(const KeepTuple& t) { return {std::get<0>(t), std::get<1>(t), std::get<2>(t)}; }

template <class T>
std::vector<T> flat(const std::vector<std::vector<T>>& rows) {
    std::vector<T> all;
    for (const auto& row : rows) {
        if (row.size() != rows[0].size()) throw std::invalid_argument("rows of unequal length");
        all.insert(all.end(), row.begin(), row.end());
    }
    return all;
}

Interpolation weights_of(const KernelTuple& t) {
    const auto& [kernel, shift, antialias, width] = t;
    return {flat(kernel), static_cast<int64_t>(kernel.size()),
            kernel.empty() ? 0 : static_cast<int64_t>(kernel[0].size()), shift, antialias, width};
}

Given weights_of(const GivenTuple& t) {
    const auto& [inputs, first, count, weights, bits] = t;
    const auto widest = static_cast<int64_t>(weights.shape(0));
    return {inputs, values_of(first), values_of(count), widest, values_of(weights), bits};
}

Axis axis_of(const AxisTuple& t) {
    const auto& [weights, size, keep] = t;
    using Weights = std::variant<Interpolation, Given>;
    Axis axis{{}, size, keep_of(keep)};
    std::visit([&](const auto& which) { axis.weights = std::make_shared<const Weights>(weights_of(which)); }, weights);
    return axis;
}

const std::pair<const char*, Order> ORDERS[] = {
    {"taps", Order::taps}, {"second", Order::second}, {"joint", Order::joint}};
const std::pair<const char*, Rounding> ROUNDINGS[] = {{"none", Rounding::none},
                                                      {"truncate", Rounding::truncate},
                                                      {"half_up", Rounding::half_up},
                                                      {"half_even", Rounding::half_even}};

const std::pair<const char*, Number> NUMBERS[] = {
    {"int", Number::integer}, {"float32", Number::float32}, {"float64", Number::float64}};

const std::pair<const char*, Rule::Origin> ORIGINS[] = {{"mirror", Rule::mirror},
                                                        {"start", Rule::start},
                                                        {"end", Rule::end},
                                                        {"middle", Rule::middle},
                                                        {"padded", Rule::padded}};

std::optional<Keep> keep_of(const Kept& kept) {
    if (!kept) return std::nullopt;
    if (const auto* t = std::get_if<KeepTuple>(&*kept)) return keep_of(*t);
    if (const auto* t = std::get_if<NearestTuple>(&*kept)) {
        const auto& [size, offset, number, running, outputs] = *t;
        Keep keep = keep_of(outputs);
        keep.nearest = Nearest{size, offset, named(NUMBERS, number), running};
        return keep;
    }
    if (const auto* t = std::get_if<RuleTuple>(&*kept)) {
        const auto& [origin, first, second, border] = *t;
        Keep keep{0, 1, 0};
        keep.rule = Rule{named(ORIGINS, origin), first, second, named(BORDERS, border)};
        return keep;
    }
    const auto list = values_of(std::get<Array<int64_t, 1>>(*kept));
    return Keep{0, 1, static_cast<int64_t>(list.size()), list};
}

Factor factor_of(const FactorTuple& t) { return {std::get<0>(t), std::get<1>(t)}; }

const std::pair<const char*, Blend::Form> BLENDS[] = {{"sum", Blend::sum},
                                                      {"from_image", Blend::from_image},
                                                      {"from_other", Blend::from_other}};
const std::pair<const char*, Turn::Form> TURNS[] = {{"multiply", Turn::multiply}, {"divide", Turn::divide}};
const std::pair<const char*, Stretch::Form> STRETCHES[] = {{"divide", Stretch::divide},
                                                           {"multiply", Stretch::multiply},
                                                           {"affine", Stretch::affine}};

const std::pair<const char*, Warp::Form> WARPS[] = {
    {"cut", Warp::cut}, {"from_fill", Warp::from_fill}, {"sum", Warp::sum}};

}  // namespace

Arithmetic arithmetic_of(const ArithmeticTuple& t) {
    const auto& [number, bits, adaptive, fma, grouped, rounding, each_pass, tall_first, quarters, order] = t;
    return {named(NUMBERS, number),     bits,      adaptive,   fma,     grouped,
            named(ROUNDINGS, rounding), each_pass, tall_first, quarters, named(ORDERS, order)};
}

Sparse sparse_of(const Array<int64_t, 2>& index, const Array<double, 2>& weights, const Array<double, 1>& bias,
                 const std::array<int64_t, 2>& from, const std::array<int64_t, 2>& to,
                 const ArithmeticTuple& how) {
    const Arithmetic arithmetic = arithmetic_of(how);
    const auto numbers = [&](const auto& array) { return Numbers(values_of(array), arithmetic.number); };
    if (index.shape(0) != weights.shape(0) || index.shape(1) != weights.shape(1))
        throw std::invalid_argument("index and weights do not fit each other");
    Sparse sparse{static_cast<int64_t>(index.shape(0)), {}, numbers(weights), numbers(bias), from, to, arithmetic};
    for (const int64_t at : values_of(index)) {
        const bool inside = from[1] > 0 && at >= 0 && at / from[1] < from[0];
        if (!inside) throw std::invalid_argument("a pixel is weighed that does not lie in the image");
        sparse.pixels.push_back({static_cast<int32_t>(at / from[1]), static_cast<int32_t>(at % from[1])});
    }
    return sparse;
}

Filter filter_of(const std::array<int64_t, 2>& size, const Array<int64_t, 2>& places,
                 const Array<double, 1>& weights, const std::string& border, const ArithmeticTuple& how) {
    const Arithmetic arithmetic = arithmetic_of(how);
    Filter filter{size[0], size[1], {}, {}, {values_of(weights), arithmetic.number}, named(BORDERS, border),
                  arithmetic};
    if (places.shape(1) != 2) throw std::invalid_argument("a place is a row and a column");
    for (size_t k = 0; k < places.shape(0); ++k) {
        filter.rows.push_back(places(k, 0));
        filter.columns.push_back(places(k, 1));
    }
    return filter;
}

Mix mix_of(const std::vector<std::vector<float>>& weight, const std::vector<float>& bias,
           const std::vector<std::vector<int32_t>>& whole_weight, const std::vector<int32_t>& whole_bias,
           const ArithmeticTuple& arithmetic) {
    Mix mix{static_cast<int64_t>(weight.size()), weight.empty() ? 0 : static_cast<int64_t>(weight[0].size()),
            flat(weight), bias, flat(whole_weight), whole_bias, arithmetic_of(arithmetic)};
    if (mix.bias.size() != weight.size() || mix.whole_weight.size() != mix.weight.size() ||
        mix.whole_bias.size() != mix.bias.size())
        throw std::invalid_argument("weight and bias do not fit each other");
    return mix;
}

Blend blend_of(const std::array<double, 4>& terms, const FactorTuple& factor,
               const std::optional<std::variant<MixTuple, FilterTuple>>& other,
               const std::optional<std::string>& mean, const std::string& form, double ceiling,
               const ArithmeticTuple& arithmetic, bool limited) {
    Blend blend{terms, factor_of(factor), {}, {}, named(BLENDS, form), ceiling, arithmetic_of(arithmetic), limited};
    if (mean) blend.mean = named(ROUNDINGS, *mean);
    if (!other) return blend;
    if (const auto* mix = std::get_if<MixTuple>(&*other))
        blend.other = std::apply(mix_of, *mix);
    else
        blend.other = std::apply(filter_of, std::get<FilterTuple>(*other));
    return blend;
}

Table table_of(const std::variant<Array<float, 2>, Array<uint8_t, 2>, Array<uint16_t, 2>>& values,
               const std::string& name) {
    const Dtype dtype = named(DTYPES, name);
    const auto made = [&](const auto& array) {
        if (array.shape(0) == 0 || array.shape(1) != 256)
            throw std::invalid_argument("a table has 256 values a channel");
        if (static_cast<size_t>(size_of(dtype)) != sizeof(*array.data))
            throw std::invalid_argument("the values of a table are of another dtype than they are said to be");
        const auto channels = static_cast<int64_t>(array.shape(0));
        if constexpr (sizeof(*array.data) == 2)
            return make_table(channels, values_of(array), dtype);
        else
            return make_table(channels, values_of(array));
    };
    return std::visit(made, values);
}

Tables tables_of(const Array<uint8_t, 2>& values, const FactorTuple& number) {
    if (values.shape(1) != 256) throw std::invalid_argument("a table has 256 levels");
    return {static_cast<int64_t>(values.shape(0)), values_of(values), factor_of(number)};
}

Resample resample_of(const AxisTuple& rows, const AxisTuple& columns, const ArithmeticTuple& arithmetic) {
    return {axis_of(rows), axis_of(columns), arithmetic_of(arithmetic)};
}

Gather gather_of(const std::optional<std::vector<int64_t>>& channels, const Kept& rows, const Kept& columns,
                 const std::vector<float>& fill, bool outside, bool limited, std::optional<int64_t> starts) {
    return {channels, keep_of(rows), keep_of(columns), fill, outside, limited, starts};
}

Resize resize_of(const SizingTuple& sizing, const AxisTuple& rows, const AxisTuple& columns,
                 const ArithmeticTuple& arithmetic, const std::optional<ArithmeticTuple>& larger, int64_t small,
                 bool still) {
    const auto& [wanted, most, longest] = sizing;
    Resize resize{{wanted, most, longest}, resample_of(rows, columns, arithmetic), {}, small, still};
    if (larger) resize.larger = arithmetic_of(*larger);
    return resize;
}

Resize pick_of(const SizingTuple& sizing, const NearestTuple& nearest) {
    const auto& [wanted, most, longest] = sizing;
    const std::optional<Keep> keep = keep_of(Kept(nearest));
    return {{wanted, most, longest}, Gather{{}, keep, keep}, {}, 0, true};
}

Normalize normalize_of(const std::vector<float>& mean, const std::vector<float>& std, const std::string& dtype) {
    return {mean, std, named(DTYPES, dtype)};
}

Cast cast_of(const std::string& dtype) { return {named(DTYPES, dtype)}; }

Stretch stretch_of(const std::array<double, 2>& ends, const std::string& form, double ceiling,
                   const ArithmeticTuple& arithmetic) {
    return {ends, named(STRETCHES, form), ceiling, arithmetic_of(arithmetic)};
}

Equalize equalize_of(int64_t levels, double offset) { return {levels, offset}; }

Turn turn_of(const std::array<int32_t, 3>& centres, const FactorTuple& factor, double span,
             const std::string& form, int32_t steps, double ceiling, const ArithmeticTuple& arithmetic) {
    return {centres, factor_of(factor), span, named(TURNS, form), steps, ceiling, arithmetic_of(arithmetic)};
}

Blur blur_of(const std::vector<double>& coefficients, const FactorTuple& sigma, const std::array<int64_t, 2>& size,
             const std::string& border, const ArithmeticTuple& arithmetic, bool limited,
             const std::optional<std::variant<std::vector<double>, int64_t>>& taps) {
    Blur blur{coefficients, factor_of(sigma),         size[0], size[1], named(BORDERS, border),
              arithmetic_of(arithmetic), limited};
    if (taps) std::visit([&](const auto& given) { blur.taps = given; }, *taps);
    return blur;
}

BoxBlur box_blur_of(const FactorTuple& sigma, int64_t passes) { return {factor_of(sigma), passes}; }

Warp warp_of(const std::variant<std::vector<double>, std::tuple<int64_t, int64_t>>& matrix,
             const std::optional<std::array<int64_t, 2>>& size, const std::vector<std::vector<double>>& taps,
             const std::vector<float>& fill, const std::string& form, const ArithmeticTuple& arithmetic,
             int64_t fused) {
    Warp warp{{}, {}, size, flat(taps), static_cast<int64_t>(taps.size()),
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

}  // namespace lt
