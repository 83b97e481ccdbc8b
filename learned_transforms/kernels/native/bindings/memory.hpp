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

// A tensor as its library tells of it in C.
struct TensorInfo {
    void* data;
    int32_t device, device_number, dimensions;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t offset;

    bool bytes_on_cpu() const { return device == 1 && code == 1 && bits == 8 && lanes == 1 && data && strides; }
};

// The exchange interface of DLPack 1, as far as it is used here.
struct ExchangeInterface {
    uint32_t major, minor;
    const void *before, *allocate, *managed, *to_object;
    int (*tensor)(void* object, TensorInfo* info);  // 0: told; else a Python exception is set
    const void* stream;
};

}  // namespace lt
