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

#include "../ir/makers.hpp"
#include "../ir/verify.hpp"
#include "../schedule/program.hpp"

namespace nb = nanobind;
using namespace nb::literals;

// Arrays are looked at where they lie.
template <class T, size_t Dimensions>
struct nb::detail::type_caster<lt::Array<T, Dimensions>> {
    using Given = nb::ndarray<const T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
    using Array = lt::Array<T, Dimensions>;
    NB_TYPE_CASTER(Array, nb::detail::make_caster<Given>::Name)

    bool from_python(nb::handle source, uint8_t flags, nb::detail::cleanup_list* cleanup) {
        nb::detail::make_caster<Given> given;
        if (!given.from_python(source, flags, cleanup)) return false;
        const auto held = std::make_shared<const Given>(given.value);
        value.data = held->data();
        for (size_t axis = 0; axis < Dimensions; ++axis) value.lengths[axis] = held->shape(axis);
        value.memory = held;
        return true;
    }
};

namespace {

template <class Made, class... Args, size_t... I>
void define(nb::module_& m, const char* name, Made (*make)(Args...), std::index_sequence<I...>) {
    const auto any = [](size_t) { return nb::arg().none(); };
    m.def(name, [make](Args... args) {
        return lt::BoundStage{std::make_shared<const lt::Stage>(make(std::forward<Args>(args)...))};
    }, any(I)...);
}

template <class Made, class... Args>
void define(nb::module_& m, const char* name, Made (*make)(Args...)) {
    define(m, name, make, std::index_sequence_for<Args...>());
}

}  // namespace

void lt::define_stages(nb::module_& m) {
    nb::class_<BoundStage>(m, "Stage");
    each_maker([&](const char* name, auto make) { define(m, name, make); });
    m.def("taps", [](const AxisTuple& axis, int64_t n_in, const ArithmeticTuple& arithmetic, const std::string& simd) {
        if (n_in < 1) throw std::invalid_argument("an axis needs at least one pixel");
        const lt::Resample resample = resample_of(axis, axis, arithmetic);
        lt::check(resample, 1);
        lt::Taps taps;
        lt::evaluate(resample.rows, n_in, resample.arithmetic, *lt::choose(simd), taps);
        return std::make_tuple(taps.first, taps.count, taps.whole, taps.real, taps.bits);
    }, "axis"_a, "n_in"_a, "arithmetic"_a, "simd"_a);
}
