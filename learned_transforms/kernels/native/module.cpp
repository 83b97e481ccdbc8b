// What Python sees: build a program stage by stage, run it on memory that Python owns.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <limits>
#include <stdexcept>

#include "program.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using lt::Axis;
using lt::Keep;

using KeepTuple = std::tuple<int64_t, int64_t, int64_t>;
// kernel rows, shift, output pixels, those kept
using AxisTuple = std::tuple<std::vector<std::vector<double>>, double, int64_t, KeepTuple>;
// number, bits, adaptive, fma, rounding, each pass, tall first
using ArithmeticTuple = std::tuple<std::string, int, bool, bool, std::string, bool, bool>;

Keep keep_of(const KeepTuple& t) { return {std::get<0>(t), std::get<1>(t), std::get<2>(t)}; }

std::optional<Keep> keep_of(const std::optional<KeepTuple>& t) {
    return t ? std::optional<Keep>(keep_of(*t)) : std::nullopt;
}

Axis axis_of(const AxisTuple& t) {
    const auto& [kernel, shift, size, keep] = t;
    Axis axis{{}, static_cast<int64_t>(kernel.size()), kernel.empty() ? 0 : static_cast<int64_t>(kernel[0].size()),
              shift, size, keep_of(keep)};
    for (const auto& row : kernel) axis.kernel.insert(axis.kernel.end(), row.begin(), row.end());
    return axis;
}

lt::Arithmetic arithmetic_of(const ArithmeticTuple& t) {
    const auto& [number, bits, adaptive, fma, rounding, each_pass, tall_first] = t;
    static const std::pair<const char*, lt::Rounding> ROUNDINGS[] = {{"none", lt::Rounding::none},
                                                                     {"truncate", lt::Rounding::truncate},
                                                                     {"half_up", lt::Rounding::half_up},
                                                                     {"half_even", lt::Rounding::half_even}};
    if (number != "int" && number != "float32") throw std::invalid_argument("unknown number " + number);
    for (const auto& [name, value] : ROUNDINGS)
        if (rounding == name)
            return {number == "int" ? lt::Number::integer : lt::Number::float32, bits, adaptive, fma, value, each_pass,
                    tall_first};
    throw std::invalid_argument("unknown rounding " + rounding);
}

template <class T>
std::vector<T> flat(const std::vector<std::vector<T>>& rows) {
    std::vector<T> all;
    for (const auto& row : rows) {
        if (row.size() != rows[0].size()) throw std::invalid_argument("rows of unequal length");
        all.insert(all.end(), row.begin(), row.end());
    }
    return all;
}

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

lt::Table table_of(const std::vector<std::vector<float>>& values) {
    if (values.empty() || values[0].size() != 256) throw std::invalid_argument("a table has 256 values a channel");
    return lt::make_table(static_cast<int64_t>(values.size()), flat(values));
}

void run(const lt::Call& call, uintptr_t source, uintptr_t target, int64_t threads,
         const std::optional<std::array<int64_t, 4>>& window) {
    const nb::gil_scoped_release released;
    call.run(reinterpret_cast<const uint8_t*>(source), reinterpret_cast<uint8_t*>(target), threads,
             window ? &*window : nullptr);
}

// Address and bytes of the pixels in an ArrowArray (the Arrow C data interface): a flat array, or a list of fixed size.
struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void** buffers;
    ArrowArray** children;
    ArrowArray* dictionary;
    void (*release)(ArrowArray*);
    void* private_data;
};

std::tuple<uintptr_t, int64_t> arrow_pixels(const nb::capsule& capsule) {
    if (std::strcmp(capsule.name(), "arrow_array") != 0) throw std::invalid_argument("not an arrow_array capsule");
    const auto* array = static_cast<const ArrowArray*>(capsule.data());
    if (array->release == nullptr) throw std::invalid_argument("the arrow array was released");
    const ArrowArray* flat = array->n_children == 1 ? array->children[0] : array;
    if (array->n_children > 1 || flat->n_buffers != 2 || array->offset != 0 || flat->offset != 0)
        throw std::invalid_argument("an arrow array of another layout than an image's");
    return {reinterpret_cast<uintptr_t>(flat->buffers[1]), flat->length};
}

}  // namespace

NB_MODULE(_native, m) {
    nb::class_<lt::Program>(m, "Program")
        .def(nb::init<int64_t, const std::string&>(), "channels"_a, "simd"_a)
        .def_prop_ro("simd", &lt::Program::simd)
        .def("resample",
             [](lt::Program& p, const AxisTuple& rows, const AxisTuple& columns, const ArithmeticTuple& arithmetic) {
                 p.add(lt::Resample{axis_of(rows), axis_of(columns), arithmetic_of(arithmetic)});
             },
             "rows"_a, "columns"_a, "arithmetic"_a)
        .def("gather",
             [](lt::Program& p, std::optional<std::vector<int64_t>> channels, const std::optional<KeepTuple>& rows,
                const std::optional<KeepTuple>& columns) {
                 p.add(lt::Gather{std::move(channels), keep_of(rows), keep_of(columns)});
             },
             "channels"_a.none(), "rows"_a.none(), "columns"_a.none())
        .def("mix",
             [](lt::Program& p, const std::vector<std::vector<float>>& weight, const std::vector<float>& bias,
                const std::vector<std::vector<int32_t>>& whole_weight, const std::vector<int32_t>& whole_bias,
                const ArithmeticTuple& arithmetic) {
                 p.add(mix_of(weight, bias, whole_weight, whole_bias, arithmetic));
             },
             "weight"_a, "bias"_a, "whole_weight"_a, "whole_bias"_a, "arithmetic"_a)
        .def("table", [](lt::Program& p, const std::vector<std::vector<float>>& values) { p.add(table_of(values)); },
             "values"_a)
        .def("normalise",
             [](lt::Program& p, std::vector<float> mean, std::vector<float> std) {
                 p.add(lt::Normalise{std::move(mean), std::move(std)});
             },
             "mean"_a, "std"_a)
        .def("bind",
             [](std::shared_ptr<lt::Program> program, int64_t images, std::array<int64_t, 3> shape,
                std::array<int64_t, 3> strides, int64_t step, bool floating, bool interleaved) {
                 return lt::Call(std::move(program), images, shape, strides, step, floating, interleaved);
             },
             "images"_a, "shape"_a, "strides"_a, "step"_a, "floating"_a, "interleaved"_a);
    nb::class_<lt::Call>(m, "Call")
        .def_prop_ro("output",
                     [](const lt::Call& call) {
                         const lt::Target& to = call.output();
                         return std::make_tuple(to.channels, to.height, to.width, to.floating);
                     })
        .def_prop_ro("bytes", &lt::Call::bytes)
        .def("__call__", &run, "source"_a, "target"_a, "threads"_a, "window"_a = nb::none());
    m.def("arrow_pixels", &arrow_pixels, "capsule"_a);
    m.def("taps", [](const AxisTuple& axis, int64_t n_in, const ArithmeticTuple& arithmetic, const std::string& simd) {
        if (n_in < 1) throw std::invalid_argument("an axis needs at least one pixel");
        const lt::Taps taps = lt::evaluate(axis_of(axis), n_in, arithmetic_of(arithmetic), *lt::choose(simd));
        return std::make_tuple(taps.first, taps.count, taps.whole, taps.real, taps.bits);
    }, "axis"_a, "n_in"_a, "arithmetic"_a, "simd"_a);
    m.def("simd", [] {
        std::vector<std::string> names;
        for (const lt::Kernels* kernels : {lt::avx512(), lt::avx2(), &lt::PORTABLE})
            if (kernels) names.emplace_back(kernels->name);
        return names;
    });
}
