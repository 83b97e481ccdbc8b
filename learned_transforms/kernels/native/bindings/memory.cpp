#include "memory.hpp"

#include <cstring>
#include <stdexcept>

namespace nb = nanobind;

namespace lt {

namespace {

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void** buffers;
    ArrowArray** children;
    ArrowArray* dictionary;
    void (*release)(ArrowArray*);
    void* private_data;
};

}  // namespace

std::tuple<uintptr_t, int64_t> arrow_pixels(const nb::capsule& capsule) {
    if (std::strcmp(capsule.name(), "arrow_array") != 0) throw std::invalid_argument("not an arrow_array capsule");
    const auto* array = static_cast<const ArrowArray*>(capsule.data());
    if (array->release == nullptr) throw std::invalid_argument("the arrow array was released");
    const ArrowArray* flat = array->n_children == 1 ? array->children[0] : array;
    if (array->n_children > 1 || flat->n_buffers != 2 || array->offset != 0 || flat->offset != 0)
        throw std::invalid_argument("an arrow array of another layout than an image's");
    return {reinterpret_cast<uintptr_t>(flat->buffers[1]), flat->length};
}

uintptr_t memory_of(nb::handle array) {
    Py_buffer view;
    if (PyObject_GetBuffer(array.ptr(), &view, PyBUF_STRIDES) != 0) throw nb::python_error();
    const auto address = reinterpret_cast<uintptr_t>(view.buf);
    PyBuffer_Release(&view);
    return address;
}

}  // namespace lt
