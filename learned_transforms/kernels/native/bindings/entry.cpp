#include "entry.hpp"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "../ir/verify.hpp"
#include "route.hpp"
#include "torch.hpp"

namespace nb = nanobind;

namespace lt {

Entry::Entry(nb::object watch, nb::list empty, int64_t threads) : watch_(std::move(watch)), threads_(threads) {
    require(nb::isinstance<Watch>(watch_), "an entry lacks a watch");
    for (nb::handle one : empty) {
        require(nb::isinstance<nb::dict>(one), "what must be empty is a dictionary");
        empty_.push_back(nb::borrow(one));
    }
}

void Entry::add(nb::object route, bool every) {
    require(nb::isinstance<Route>(route), "an entry has routes");
    std::vector<nb::object>& among = every ? every_ : routes_;
    if (among.size() == MOST) among.pop_back();
    among.insert(among.begin(), std::move(route));
}

nb::object Entry::run(nb::handle image) const {
    for (const nb::object& one : empty_)
        if (PyDict_GET_SIZE(one.ptr())) return {};
    Arrival arrival(image);
    if (!arrival || !nb::inst_ptr<Watch>(watch_)->same() || !TORCH->calm.same() ||
        nb::cast<int64_t>(TORCH->threads()) != threads_)
        return {};
    arrival.look();
    if (!arrival) return {};
    for (const auto* among : {&routes_, &every_})
        for (size_t n = 0; n < among->size(); ++n) {
            const nb::object route = (*among)[n];  // held, since other threads may put another in its place
            nb::object made = nb::inst_ptr<Route>(route)->run(arrival, threads_);
            if (made.is_valid()) return made;
        }
    return {};
}

int Entry::traverse(visitproc visit, void* arg) const {
    Py_VISIT(watch_.ptr());
    for (const auto* held : {&empty_, &routes_, &every_})
        for (const nb::object& one : *held) Py_VISIT(one.ptr());
    return 0;
}

void Entry::clear() {
    watch_.reset();
    empty_.clear(), routes_.clear(), every_.clear();
}

namespace {

ternaryfunc PYTHON = nullptr;  // the way through the `__call__` of a class

// A call of an instance whose class has entered: through its entry, if that knows the image.
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
// assigns another takes its place, and subclasses have their own. names: attributes of the class that must stay what they
// are. False: this torch, or this Python, has no such way.
bool enter(nb::type_object owner, const nb::dict& names, const nb::dict& parts, const nb::list& empty, const nb::list& answers) {
#if defined(Py_LIMITED_API) || defined(Py_GIL_DISABLED)
    return false;
#else
    auto* type = reinterpret_cast<PyTypeObject*>(owner.ptr());
    auto* torch = new Torch(parts, empty, answers);
    if (!torch->known() || !type->tp_call || type->tp_call == called) {
        delete torch;
        return false;
    }
    torch->calm.attributes(std::move(owner), names);
    TORCH = torch;  // Another one, where there is one, may be in use.
    PYTHON = type->tp_call;
    type->tp_call = called;
    return true;
#endif
}

template <class T>
int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return nb::inst_ready(self) ? nb::inst_ptr<T>(self)->traverse(visit, arg) : 0;
}

int clear(PyObject* self) {
    nb::inst_ptr<Entry>(self)->clear();
    return 0;
}

PyType_Slot ENTRY_SLOTS[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse<Entry>)},
                             {Py_tp_clear, reinterpret_cast<void*>(clear)},
                             {0, nullptr}};
PyType_Slot ROUTE_SLOTS[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse<Route>)}, {0, nullptr}};

}  // namespace

void define_entry(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Route>(m, "Route", nb::type_slots(ROUTE_SLOTS))
        .def(nb::init<nb::object, std::vector<int64_t>, std::vector<int64_t>, std::vector<double>, nb::object,
                      std::optional<std::array<int64_t, 2>>, nb::object, nb::object>(),
             "kind"_a, "shape"_a, "strides"_a, "chances"_a, "sampler"_a.none(), "still"_a.none(), "result"_a, "rest"_a)
        .def("add", [](Route& route, const std::vector<bool>& outcomes, std::shared_ptr<Call> call, nb::object like) {
            route.add(outcomes, std::move(call), std::move(like));
        }, "outcomes"_a, "call"_a, "like"_a);
    nb::class_<Entry>(m, "Entry", nb::type_slots(ENTRY_SLOTS))
        .def(nb::init<nb::object, nb::list, int64_t>(), "watch"_a, "empty"_a, "threads"_a)
        .def_prop_ro("threads", &Entry::threads)
        .def("add", &Entry::add, "route"_a, "every"_a);
    m.def("enter", &enter, "owner"_a, "names"_a, "parts"_a, "empty"_a, "answers"_a);
}

}  // namespace lt
