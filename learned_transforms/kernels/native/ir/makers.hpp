// What makes operations out of plain values: of Python's, and of a program file's. kernels/stages.py says which.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "ir/ops.hpp"

namespace lt {

// Values of an array in C order; `memory` is what holds them.
template <class T, size_t Dimensions>
struct Array {
    const T* data = nullptr;
    std::array<size_t, Dimensions> lengths{};
    std::shared_ptr<const void> memory;

    size_t shape(size_t axis) const { return lengths[axis]; }
    size_t size() const {
        size_t all = 1;
        for (const size_t length : lengths) all *= length;
        return all;
    }
    const T& operator()(size_t row, size_t column) const { return data[row * lengths[1] + column]; }
};

using KeepTuple = std::tuple<int64_t, int64_t, int64_t>;
// kernel rows, shift, antialias, width
using KernelTuple = std::tuple<std::vector<std::vector<double>>, double, bool, double>;
// input pixels, first [n], count [n], weights [widest, n], bits
using GivenTuple = std::tuple<int64_t, Array<int32_t, 1>, Array<int32_t, 1>, Array<double, 2>, int>;
// weights, output pixels, those kept
using AxisTuple = std::tuple<std::variant<KernelTuple, GivenTuple>, int64_t, KeepTuple>;
// number, bits, adaptive, fma, grouped, rounding, each pass, tall first, quarters, order
using ArithmeticTuple = std::tuple<std::string, int, bool, bool, int64_t, std::string, bool, bool, bool, std::string>;
// outputs, offset, number, running, those kept
using NearestTuple = std::tuple<int64_t, double, std::string, bool, KeepTuple>;
// origin, first, second, border
using RuleTuple = std::tuple<std::string, int64_t, int64_t, std::string>;
// Evenly spaced pixels, a list of them, the nearest to outputs, or a rule.
using Kept = std::optional<std::variant<Array<int64_t, 1>, KeepTuple, NearestTuple, RuleTuple>>;
// wanted, bound of the longer side, longest
using SizingTuple = std::tuple<std::vector<int64_t>, std::optional<int64_t>, std::optional<double>>;
// weight, bias, both in whole numbers, arithmetic
using MixTuple = std::tuple<std::vector<std::vector<float>>, std::vector<float>, std::vector<std::vector<int32_t>>,
                            std::vector<int32_t>, ArithmeticTuple>;
// size, places, weights, border, arithmetic
using FilterTuple =
    std::tuple<std::array<int64_t, 2>, Array<int64_t, 2>, Array<double, 1>, std::string, ArithmeticTuple>;
// value, slot
using FactorTuple = std::tuple<double, std::optional<int64_t>>;

Arithmetic arithmetic_of(const ArithmeticTuple& t);

Resample resample_of(const AxisTuple& rows, const AxisTuple& columns, const ArithmeticTuple& arithmetic);
Resize resize_of(const SizingTuple& sizing, const AxisTuple& rows, const AxisTuple& columns,
                 const ArithmeticTuple& arithmetic, const std::optional<ArithmeticTuple>& larger, int64_t small,
                 bool still);
Resize pick_of(const SizingTuple& sizing, const NearestTuple& nearest);
Gather gather_of(const std::optional<std::vector<int64_t>>& channels, const Kept& rows, const Kept& columns,
                 const std::vector<float>& fill, bool outside, bool limited, std::optional<int64_t> starts);
// index and weights [terms, outputs], bias [outputs]; height and width of the image, and of what is made.
Sparse sparse_of(const Array<int64_t, 2>& index, const Array<double, 2>& weights, const Array<double, 1>& bias,
                 const std::array<int64_t, 2>& from, const std::array<int64_t, 2>& to, const ArithmeticTuple& how);
// `places` [terms, 2]: row and column in the window of each of the weights.
Filter filter_of(const std::array<int64_t, 2>& size, const Array<int64_t, 2>& places, const Array<double, 1>& weights,
                 const std::string& border, const ArithmeticTuple& how);
Mix mix_of(const std::vector<std::vector<float>>& weight, const std::vector<float>& bias,
           const std::vector<std::vector<int32_t>>& whole_weight, const std::vector<int32_t>& whole_bias,
           const ArithmeticTuple& arithmetic);
// Of floats, of levels, or of what 16 bits of a dtype say.
Table table_of(const std::variant<Array<float, 2>, Array<uint8_t, 2>, Array<uint16_t, 2>>& values,
               const std::string& name);
Tables tables_of(const Array<uint8_t, 2>& values, const FactorTuple& number);
Normalize normalize_of(const std::vector<float>& mean, const std::vector<float>& std, const std::string& dtype);
Cast cast_of(const std::string& dtype);
Blend blend_of(const std::array<double, 4>& terms, const FactorTuple& factor,
               const std::optional<std::variant<MixTuple, FilterTuple>>& other, const std::optional<std::string>& mean,
               const std::string& form, double ceiling, const ArithmeticTuple& arithmetic, bool limited);
Stretch stretch_of(const std::array<double, 2>& ends, const std::string& form, double ceiling,
                   const ArithmeticTuple& arithmetic);
Equalize equalize_of(int64_t levels, double offset);
Turn turn_of(const std::array<int32_t, 3>& centres, const FactorTuple& factor, double span, const std::string& form,
             int32_t steps, double ceiling, const ArithmeticTuple& arithmetic);
BoxBlur box_blur_of(const FactorTuple& sigma, int64_t passes);
Blur blur_of(const std::vector<double>& coefficients, const FactorTuple& sigma, const std::array<int64_t, 2>& size,
             const std::string& border, const ArithmeticTuple& arithmetic, bool limited,
             const std::optional<std::variant<std::vector<double>, int64_t>>& taps);
// `matrix`: its numbers, or where they are drawn: the first of the factors, and how many.
Warp warp_of(const std::variant<std::vector<double>, std::tuple<int64_t, int64_t>>& matrix,
             const std::optional<std::array<int64_t, 2>>& size, const std::vector<std::vector<double>>& taps,
             const std::vector<float>& fill, const std::string& form, const ArithmeticTuple& arithmetic, int64_t fused);

// f(name, what makes it) for all operations.
template <class F>
void each_maker(const F& f) {
    f("resample", &resample_of);
    f("resize", &resize_of);
    f("pick", &pick_of);
    f("gather", &gather_of);
    f("sparse", &sparse_of);
    f("filter", &filter_of);
    f("mix", &mix_of);
    f("table", &table_of);
    f("tables", &tables_of);
    f("normalize", &normalize_of);
    f("cast", &cast_of);
    f("blend", &blend_of);
    f("stretch", &stretch_of);
    f("equalize", &equalize_of);
    f("turn", &turn_of);
    f("box_blur", &box_blur_of);
    f("blur", &blur_of);
    f("warp", &warp_of);
}

}  // namespace lt
