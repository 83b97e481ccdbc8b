#include "torch.hpp"

namespace nb = nanobind;

namespace lt {

const Torch* TORCH = nullptr;

nb::object call(const nb::object& function, nb::handle argument) {
    nb::object made = nb::steal(PyObject_CallOneArg(function.ptr(), argument.ptr()));
    if (!made.is_valid()) throw nb::python_error();
    return made;
}

namespace {

uint64_t number(const nb::object& value) {
    const size_t found = PyLong_AsSize_t(value.ptr());
    if (found == size_t(-1) && PyErr_Occurred()) throw nb::python_error();
    return found;
}

}  // namespace

Torch::Torch(const nb::dict& parts, const nb::list& empty, const nb::list& answers)
    : exchange(static_cast<const ExchangeInterface*>(nb::cast<nb::capsule>(parts["exchange"]).data("dlpack_exchange_api"))),
      tensor(parts["tensor"]), image(parts["image"]), array(parts["array"]), empty_like(parts["empty_like"]), empty_array(parts["empty_array"]), storage_of(parts["storage_of"]),
      start_of(parts["start_of"]), bytes_of(parts["bytes_of"]), plainly(parts["plainly"]), buffer_of(parts["buffer_of"]),
      state_of(parts["state_of"]), threads(parts["threads"]) {
    for (nb::handle dictionary : empty) calm.mapping(nb::cast<nb::dict>(dictionary), nb::dict());
    for (nb::handle answer : answers) calm.result(nb::borrow(answer[0]), nb::borrow(answer[1]));
}

bool Torch::tell(nb::handle tensor, TensorInfo& info) const {
    if (exchange->tensor(tensor.ptr(), &info) == 0) return true;
    PyErr_Clear();
    return false;
}

uint64_t Torch::bytes_from(nb::handle given, const uint8_t* address) const {
    nb::object storage;
    if (given.type().is(tensor)) {
        storage = call(storage_of, given);
    } else {  // Subclasses are asked what torch's functions do to them, unless torch is told not to.
        const nb::object guard = plainly();
        guard.attr("__enter__")();
        storage = nb::steal(PyObject_CallOneArg(storage_of.ptr(), given.ptr()));
        guard.attr("__exit__")(nb::none(), nb::none(), nb::none());
        if (!storage.is_valid()) throw nb::python_error();
    }
    const uint64_t begin = number(call(start_of, storage)), end = begin + number(call(bytes_of, storage));
    const auto from = reinterpret_cast<uintptr_t>(address);
    return begin <= from && from <= end ? end - from : 0;
}

// Each thread has memory of its own for them: while torch draws, others run.
const float* Torch::draw(size_t count) const {
    const nb::handle own = PyThreadState_GetDict();
    nb::object kept = nb::borrow(PyDict_GetItemWithError(own.ptr(), numbers_.ptr()));
    if (!kept.is_valid()) {
        kept = nb::dict();
        own[numbers_] = kept;
    }
    const nb::object key = nb::int_(count);
    nb::object pair = nb::borrow(PyDict_GetItemWithError(kept.ptr(), key.ptr()));
    if (!pair.is_valid()) {
        const nb::object buffer = buffer_of(key);
        pair = nb::make_tuple(buffer.attr("uniform_"), buffer.attr("data_ptr")());
        kept[key] = pair;
    }
    const nb::object drawn = nb::steal(PyObject_CallNoArgs(PyTuple_GET_ITEM(pair.ptr(), 0)));
    if (!drawn.is_valid()) throw nb::python_error();
    return reinterpret_cast<const float*>(PyLong_AsSize_t(PyTuple_GET_ITEM(pair.ptr(), 1)));
}

}  // namespace lt
