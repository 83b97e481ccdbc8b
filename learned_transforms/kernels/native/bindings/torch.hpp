// What native code takes of torch where it has a call to itself: tensors by the exchange interface of DLPack, random
// numbers and memory for results by torch's functions.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

#include "watch.hpp"

namespace lt {

// A tensor, as DLPack 1 tells of it.
struct TensorInfo {
    void* data;
    int32_t device, device_number, dimensions;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t offset;

    uint8_t* begin() const { return static_cast<uint8_t*>(data) + offset; }
    bool bytes_on_cpu() const { return device == 1 && code == 1 && bits == 8 && lanes == 1 && data && strides; }
};

// The exchange interface, as far as it is used here.
struct ExchangeInterface {
    uint32_t major, minor;
    const void *before, *allocate, *managed, *to_object;
    int (*tensor)(void* object, TensorInfo* info);  // 0: told; else a Python exception is set
    const void* stream;
};

// It lives as long as the process.
struct Torch {
    // parts: the interface and the functions by name. empty: dictionaries that must be, in a call without hooks. answers:
    // functions, and what each gives then.
    Torch(const nanobind::dict& parts, const nanobind::list& empty, const nanobind::list& answers);

    // Whether the interface is one that is known here.
    bool known() const { return exchange->major == 1 && exchange->tensor; }

    // Whether torch tells of a tensor.
    bool tell(nanobind::handle tensor, TensorInfo& info) const;

    // Bytes of the storage of a tensor from an address on.
    uint64_t bytes_from(nanobind::handle tensor, const uint8_t* address) const;

    // Where so many numbers lie, just drawn as torch.rand draws them, until this thread draws again.
    const float* draw(size_t count) const;

    Watch calm;  // nothing but a plain call is wanted of modules
    const ExchangeInterface* exchange;
    nanobind::object tensor, image, array, empty_like, empty_array, storage_of, start_of, bytes_of, plainly, buffer_of, state_of, threads;
    nanobind::str arrow{"__arrow_c_array__"}, mode{"mode"}, size{"size"}, type{"__class__"}, entry{"entry"};

  private:
    nanobind::str numbers_{"learned_transforms.numbers"};
};

// Call a function with one argument.
nanobind::object call(const nanobind::object& function, nanobind::handle argument);

// None until a class enters.
extern const Torch* TORCH;

}  // namespace lt
