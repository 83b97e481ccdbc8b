// Where the values of Python's images lie.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <tuple>

namespace lt {

// Address and bytes of the pixels in an ArrowArray (the Arrow C data interface): a flat array, or a list of fixed size.
std::tuple<uintptr_t, int64_t> arrow_pixels(const nanobind::capsule& capsule);

// Where the first value of an array lies.
uintptr_t memory_of(nanobind::handle array);

}  // namespace lt
