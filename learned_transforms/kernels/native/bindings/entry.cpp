#include "entry.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "../ir/verify.hpp"
#include "memory.hpp"
#include "watch.hpp"

namespace nb = nanobind;

namespace lt {

namespace {

constexpr size_t MOST_COINS = 6;
constexpr int64_t LONG = 1 << 16;  // values that a run reads and writes, from which on other threads may go on meanwhile

// What calls ask of torch, and take of it; it lives as long as the process.
struct Torch {
    Watch calm;  // nothing but a plain call is wanted
    const ExchangeInterface* exchange;
    nb::object tensor, image, empty_like, storage_of, bytes_of, start_of, plainly, buffer_of, threads;
    nb::str arrow{"__arrow_c_array__"}, mode{"mode"}, size{"size"}, type{"__class__"}, entry{"entry"};
    nb::str coins{"learned_transforms.coins"};
};

Torch* TORCH = nullptr;
ternaryfunc PYTHON = nullptr;  // the way through the `__call__` of a class

nb::object call(const nb::object& function, nb::handle argument) {
    nb::object made = nb::steal(PyObject_CallOneArg(function.ptr(), argument.ptr()));
    if (!made.is_valid()) throw nb::python_error();
    return made;
}

uintptr_t number(const nb::object& value) {
    const size_t found = PyLong_AsSize_t(value.ptr());
    if (found == size_t(-1) && PyErr_Occurred()) throw nb::python_error();
    return found;
}

// Where so many numbers lie, just drawn as torch.rand draws them. Each thread has memory of its own for them: while torch
// draws, others run.
const float* draw(size_t count) {
    const nb::handle own = PyThreadState_GetDict();
    nb::object kept = nb::borrow(PyDict_GetItemWithError(own.ptr(), TORCH->coins.ptr()));
    if (!kept.is_valid()) {
        kept = nb::dict();
        own[TORCH->coins] = kept;
    }
    const nb::object key = nb::int_(count);
    nb::object pair = nb::borrow(PyDict_GetItemWithError(kept.ptr(), key.ptr()));
    if (!pair.is_valid()) {
        const nb::object buffer = TORCH->buffer_of(key);
        pair = nb::make_tuple(buffer.attr("uniform_"), buffer.attr("data_ptr")());
        kept[key] = pair;
    }
    const nb::object drawn = nb::steal(PyObject_CallNoArgs(PyTuple_GET_ITEM(pair.ptr(), 0)));
    if (!drawn.is_valid()) throw nb::python_error();
    return reinterpret_cast<const float*>(PyLong_AsSize_t(PyTuple_GET_ITEM(pair.ptr(), 1)));
}

bool told(nb::handle tensor, TensorInfo& info) {
    if (TORCH->exchange->tensor(tensor.ptr(), &info) == 0) return true;
    PyErr_Clear();
    return false;
}

bool same(const nb::object& tuple, const std::vector<int64_t>& numbers) {
    if (!PyTuple_Check(tuple.ptr()) || size_t(PyTuple_GET_SIZE(tuple.ptr())) != numbers.size()) return false;
    for (size_t n = 0; n < numbers.size(); ++n)
        if (PyLong_AsLongLong(PyTuple_GET_ITEM(tuple.ptr(), Py_ssize_t(n))) != numbers[n]) return PyErr_Clear(), false;
    return true;
}

}  // namespace

Route::Route(nb::object kind, std::vector<int64_t> shape, std::vector<int64_t> strides, std::vector<double> chances,
             nb::object result, nb::object rest)
    : kind_(std::move(kind)), shape_(std::move(shape)), strides_(std::move(strides)), chances_(std::move(chances)),
      result_(std::move(result)), rest_(std::move(rest)) {
    require(chances_.size() <= MOST_COINS, "too many coins for a route");
    known_.resize(size_t(1) << chances_.size());
}

void Route::add(const std::vector<bool>& coins, std::shared_ptr<const Call> call, nb::object like) {
    require(call && coins.size() == chances_.size(), "a route lacks a call, or some of its coins");
    size_t outcome = 0;
    for (size_t n = 0; n < coins.size(); ++n) outcome |= size_t(coins[n]) << n;
    reach_ = std::max(reach_, call->reach());
    known_[outcome] = {std::move(call), std::move(like)};
}

const uint8_t* Route::tensor(const Arrival& given) const {
    const TensorInfo& info = given.info;
    const size_t count = shape_.size();
    if (!given.tensor || given.image.type().ptr() != kind_.ptr() || size_t(info.dimensions) != count ||
        !std::equal(info.shape, info.shape + count, shape_.begin()) ||
        !std::equal(info.strides, info.strides + count, strides_.begin()))
        return nullptr;
    // Its storage may have been made shorter than it is. Torch asks subclasses what its functions do to them.
    nb::object storage;
    if (kind_.is(TORCH->tensor)) {
        storage = call(TORCH->storage_of, given.image);
    } else {
        const nb::object plainly = TORCH->plainly();
        plainly.attr("__enter__")();
        storage = nb::steal(PyObject_CallOneArg(TORCH->storage_of.ptr(), given.image.ptr()));
        plainly.attr("__exit__")(nb::none(), nb::none(), nb::none());
        if (!storage.is_valid()) throw nb::python_error();
    }
    const uintptr_t start = number(call(TORCH->start_of, storage)), bytes = number(call(TORCH->bytes_of, storage));
    const auto data = reinterpret_cast<uintptr_t>(info.data) + info.offset;
    return data + uintptr_t(reach_) <= start + bytes ? reinterpret_cast<const uint8_t*>(data) : nullptr;
}

const uint8_t* Route::pil(const Arrival& given, nb::object& owner) const {
    if (given.tensor || PyObject_RichCompareBool(given.mode.ptr(), kind_.ptr(), Py_EQ) != 1 || !same(given.size, shape_))
        return nullptr;
    const nb::object exported = nb::steal(PyObject_CallMethodNoArgs(given.image.ptr(), TORCH->arrow.ptr()));
    if (!exported.is_valid()) return PyErr_Clear(), nullptr;
    owner = exported[1];
    const auto [address, bytes] = arrow_pixels(nb::borrow<nb::capsule>(owner));
    return bytes >= reach_ ? reinterpret_cast<const uint8_t*>(address) : nullptr;
}

nb::object Route::run(const Arrival& given, int64_t threads) const {
    nb::object owner;
    const uint8_t* source = strides_.empty() ? pil(given, owner) : tensor(given);
    if (!source) return {};
    const size_t count = chances_.size();
    const float* drawn = count ? draw(count) : nullptr;
    size_t outcome = 0;
    for (size_t n = 0; n < count; ++n) outcome |= size_t(double(drawn[n]) < chances_[n]) << n;
    const Known known = known_[outcome];  // a copy, since other threads add to it
    if (!known.call) {
        nb::list coins;
        for (size_t n = 0; n < count; ++n) coins.append(bool(outcome >> n & 1));
        return rest_(given.image, nb::tuple(coins));
    }
    nb::object made = call(TORCH->empty_like, known.like);
    TensorInfo to;
    require(told(made, to), "torch does not tell where a tensor lies");
    auto* target = static_cast<uint8_t*>(to.data) + to.offset;
    if (known.call->work() < LONG) {
        known.call->run(source, target, threads, nullptr, {});
    } else {
        const nb::gil_scoped_release released;
        known.call->run(source, target, threads, nullptr, {});
    }
    // A class of the same layout, without values of its own.
    if (!result_.is(TORCH->tensor)) nb::setattr(made, TORCH->type, result_);
    return made;
}

int Route::traverse(visitproc visit, void* arg) const {
    for (const nb::object* held : {&kind_, &result_, &rest_}) Py_VISIT(held->ptr());
    for (const Known& known : known_) Py_VISIT(known.like.ptr());
    return 0;
}

Entry::Entry(nb::object watch, nb::list empty, int64_t threads) : watch_(std::move(watch)), threads_(threads) {
    require(nb::isinstance<Watch>(watch_), "an entry lacks a watch");
    for (nb::handle one : empty) {
        require(nb::isinstance<nb::dict>(one), "what must be empty is a dictionary");
        empty_.push_back(nb::borrow(one));
    }
}

void Entry::add(nb::object route) {
    require(nb::isinstance<Route>(route), "an entry has routes");
    if (routes_.size() < MOST)
        routes_.push_back(std::move(route));
    else
        routes_[next_++ % MOST] = std::move(route);
}

nb::object Entry::run(nb::handle image) const {
    Arrival given{image, PyObject_TypeCheck(image.ptr(), reinterpret_cast<PyTypeObject*>(TORCH->tensor.ptr())) != 0, {}, {}, {}};
    if (given.tensor) {
        if (!told(image, given.info) || !given.info.bytes_on_cpu()) return {};
    } else if (!PyObject_TypeCheck(image.ptr(), reinterpret_cast<PyTypeObject*>(TORCH->image.ptr()))) {
        return {};
    }
    for (const nb::object& one : empty_)
        if (PyDict_GET_SIZE(one.ptr())) return {};
    if (!nb::inst_ptr<Watch>(watch_)->same() || !TORCH->calm.same() || nb::cast<int64_t>(TORCH->threads()) != threads_)
        return {};
    if (!given.tensor) {
        given.mode = image.attr(TORCH->mode), given.size = image.attr(TORCH->size);
    }
    for (size_t n = 0; n < routes_.size(); ++n) {
        const nb::object route = routes_[n];  // held, since other threads may put another in its place
        nb::object made = nb::inst_ptr<Route>(route)->run(given, threads_);
        if (made.is_valid()) return made;
    }
    return {};
}

int Entry::traverse(visitproc visit, void* arg) const {
    Py_VISIT(watch_.ptr());
    for (const nb::object& one : empty_) Py_VISIT(one.ptr());
    for (const nb::object& one : routes_) Py_VISIT(one.ptr());
    return 0;
}

void Entry::clear() {
    watch_.reset();
    empty_.clear();
    routes_.clear();
}

namespace {

// A call of an instance whose class was given to `enter`: through its entry, if that knows the image.
PyObject* called(PyObject* self, PyObject* arguments, PyObject* keywords) {
    if (PyTuple_GET_SIZE(arguments) != 1 || (keywords && PyDict_GET_SIZE(keywords))) return PYTHON(self, arguments, keywords);
    try {
        const nb::object entry = nb::steal(PyObject_GenericGetAttr(self, TORCH->entry.ptr()));
        if (!entry.is_valid()) {
            PyErr_Clear();
        } else if (nb::isinstance<Entry>(entry)) {
            nb::object made = nb::inst_ptr<Entry>(entry)->run(PyTuple_GET_ITEM(arguments, 0));
            if (made.is_valid()) return made.release().ptr();
        }
    } catch (nb::python_error& error) {
        error.restore();
        return nullptr;
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
        return nullptr;
    }
    return PYTHON(self, arguments, keywords);
}

// Have calls of instances of a class begin in their entry. The `__call__` of the class stays what a call means: whatever
// assigns another takes its place, and subclasses have their own. False: this torch, or this Python, has no such way.
// empty: dictionaries that must be. answers: functions, and what each must give.
bool enter(nb::type_object owner, nb::dict names, nb::dict parts, nb::list empty, nb::list answers) {
#if defined(Py_LIMITED_API) || defined(Py_GIL_DISABLED)
    return false;
#else
    auto* type = reinterpret_cast<PyTypeObject*>(owner.ptr());
    const auto exchange = nb::cast<nb::capsule>(parts["exchange"]);
    const auto* interface = static_cast<const ExchangeInterface*>(exchange.data("dlpack_exchange_api"));
    if (interface->major != 1 || !interface->tensor || !type->tp_call || type->tp_call == called) return false;
    auto* torch = new Torch;
    torch->exchange = interface;
    for (nb::handle dictionary : empty) torch->calm.mapping(nb::cast<nb::dict>(dictionary), nb::dict());
    for (nb::handle answer : answers) torch->calm.result(nb::borrow(answer[0]), nb::borrow(answer[1]));
    torch->calm.attributes(std::move(owner), names);
    torch->tensor = parts["tensor"], torch->image = parts["image"], torch->empty_like = parts["empty_like"];
    torch->storage_of = parts["storage_of"], torch->bytes_of = parts["bytes_of"], torch->start_of = parts["start_of"];
    torch->plainly = parts["plainly"], torch->buffer_of = parts["buffer_of"], torch->threads = parts["threads"];
    TORCH = torch;  // Another one, where there is one, may be in use.
    PYTHON = type->tp_call;
    type->tp_call = called;
    return true;
#endif
}

template <class T>
int traverse_of(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return nb::inst_ready(self) ? nb::inst_ptr<T>(self)->traverse(visit, arg) : 0;
}

int clear_entry(PyObject* self) {
    nb::inst_ptr<Entry>(self)->clear();
    return 0;
}

PyType_Slot ENTRY_SLOTS[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse_of<Entry>)},
                             {Py_tp_clear, reinterpret_cast<void*>(clear_entry)},
                             {0, nullptr}};
PyType_Slot ROUTE_SLOTS[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse_of<Route>)}, {0, nullptr}};

}  // namespace

void define_entry(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Route>(m, "Route", nb::type_slots(ROUTE_SLOTS))
        .def(nb::init<nb::object, std::vector<int64_t>, std::vector<int64_t>, std::vector<double>, nb::object, nb::object>(),
             "kind"_a, "shape"_a, "strides"_a, "chances"_a, "result"_a, "rest"_a)
        .def("add", [](Route& route, const std::vector<bool>& coins, std::shared_ptr<Call> call, nb::object like) {
            route.add(coins, std::move(call), std::move(like));
        }, "coins"_a, "call"_a, "like"_a);
    nb::class_<Entry>(m, "Entry", nb::type_slots(ENTRY_SLOTS))
        .def(nb::init<nb::object, nb::list, int64_t>(), "watch"_a, "empty"_a, "threads"_a)
        .def_prop_ro("threads", &Entry::threads)
        .def("add", &Entry::add, "route"_a);
    m.def("enter", &enter, "owner"_a, "names"_a, "parts"_a, "empty"_a, "answers"_a);
}

}  // namespace lt
