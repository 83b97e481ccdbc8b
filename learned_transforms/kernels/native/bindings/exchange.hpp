// Tensors as their library tells of them in C: the exchange interface of DLPack 1, as far as it is used here.
#pragma once

#include <cstdint>

namespace lt {

struct TensorInfo {
    void* data;
    int32_t device, device_id;  // 1: the CPU
    int32_t dimensions;
    uint8_t code, bits;  // 1: unsigned integers
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t offset;  // in bytes
};

constexpr int32_t ON_CPU = 1;
constexpr uint8_t UNSIGNED = 1;

struct ExchangeInterface {
    uint32_t major, minor;
    const void *before, *allocate, *managed, *to_object;
    int (*tensor)(void* object, TensorInfo* info);  // 0: told; else with a Python exception
    const void* stream;
};

}  // namespace lt
