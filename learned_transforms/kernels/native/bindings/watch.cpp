#include "watch.hpp"

namespace nb = nanobind;

namespace lt {

namespace {

// Values that cannot be compared, such as tensors of several numbers, are other values.
bool equal(PyObject* value, PyObject* copy) {
    if (value == copy) return true;
    if (PyDict_Check(copy) && PyDict_GET_SIZE(copy) == 0) return PyDict_Check(value) && PyDict_GET_SIZE(value) == 0;
    if (Py_TYPE(value) != Py_TYPE(copy)) return false;
    const int found = PyObject_RichCompareBool(value, copy, Py_EQ);
    if (found < 0) PyErr_Clear();
    return found == 1;
}

// Every change of a class, or of one that it inherits from, takes its version away; 0: it has none.
unsigned version_of(const nb::type_object& owner) {
#ifdef Py_LIMITED_API
    return 0;
#else
    const auto* type = reinterpret_cast<PyTypeObject*>(owner.ptr());
#if PY_VERSION_HEX < 0x030B0000
    if (!PyType_HasFeature(const_cast<PyTypeObject*>(type), Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
#endif
    return type->tp_version_tag;
#endif
}

// Every change of a dictionary gives it another version; 0: this Python does not count them.
uint64_t version_of(const nb::dict& dict) {
#if defined(Py_LIMITED_API) || PY_VERSION_HEX >= 0x030C0000
    return 0;
#else
    return reinterpret_cast<const PyDictObject*>(dict.ptr())->ma_version_tag;
#endif
}

}  // namespace

void Watch::mapping(nb::dict watched, const nb::dict& copy) {
    Mapping made{std::move(watched), {}, {}, 0};
    for (auto [key, value] : copy) made.entries.emplace_back(nb::borrow(key), nb::borrow(value));
    mappings_.push_back(std::move(made));
}

bool Watch::Mapping::same() const {
    const uint64_t now = version_of(watched);
    if (now == 0 || now != version) return same_entries(now);
    for (const auto& [value, copy] : loose)
        if (!equal(value.ptr(), copy.ptr())) return false;
    return true;
}

bool Watch::Mapping::same_entries(uint64_t now) const {
    if (static_cast<size_t>(PyDict_GET_SIZE(watched.ptr())) != entries.size()) return false;
    version = 0;
    loose.clear();
    Py_ssize_t position = 0;
    PyObject *key, *value;
    for (const auto& [name, copy] : entries) {
        if (!PyDict_Next(watched.ptr(), &position, &key, &value) || key != name.ptr() || !equal(value, copy.ptr()))
            return false;
        if (value != copy.ptr()) loose.emplace_back(nb::borrow(value), copy);
    }
    version = now;
    return true;
}

void Watch::sequence(nb::object watched, const nb::tuple& copy) {
    Sequence made{std::move(watched), {}};
    for (nb::handle entry : copy) made.entries.push_back(nb::borrow(entry));
    sequences_.push_back(std::move(made));
}

void Watch::attributes(nb::type_object owner, const nb::dict& copy) {
    Class made{std::move(owner), {}, 0};
    for (auto [name, value] : copy) made.entries.emplace_back(nb::borrow(name), nb::borrow(value));
    classes_.push_back(std::move(made));
}

bool Watch::Class::same() const {
    const unsigned now = version_of(owner);
    if (now != 0 && now == version) return true;
    for (const auto& [name, value] : entries) {
        const nb::object found = nb::steal(PyObject_GetAttr(owner.ptr(), name.ptr()));
        if (!found.is_valid()) PyErr_Clear();
        if (!found.is(value)) return false;
    }
    version = version_of(owner);
    return true;
}

void Watch::result(nb::object function, nb::object value) {
    results_.push_back({std::move(function), std::move(value)});
}

bool Watch::same() const {
    for (const Mapping& one : mappings_)
        if (!one.same()) return false;
    for (const Sequence& one : sequences_) {
        PyObject* watched = one.watched.ptr();
        const bool list = PyList_Check(watched), tuple = PyTuple_Check(watched);
        if (!list && !tuple) return false;
        if (static_cast<size_t>(Py_SIZE(watched)) != one.entries.size()) return false;
        for (size_t i = 0; i < one.entries.size(); ++i) {
            const auto at = static_cast<Py_ssize_t>(i);
            if ((list ? PyList_GET_ITEM(watched, at) : PyTuple_GET_ITEM(watched, at)) != one.entries[i].ptr())
                return false;
        }
    }
    for (const Class& one : classes_)
        if (!one.same()) return false;
    for (const Result& one : results_)
        if (!equal(one.function().ptr(), one.value.ptr())) return false;
    return true;
}

int Watch::traverse(visitproc visit, void* arg) const {
    for (const Mapping& one : mappings_) {
        Py_VISIT(one.watched.ptr());
        for (const auto& [key, value] : one.entries) Py_VISIT(value.ptr());
        for (const auto& [value, copy] : one.loose) {
            Py_VISIT(value.ptr());
            Py_VISIT(copy.ptr());
        }
    }
    for (const Sequence& one : sequences_) {
        Py_VISIT(one.watched.ptr());
        for (const nb::object& entry : one.entries) Py_VISIT(entry.ptr());
    }
    for (const Class& one : classes_) {
        Py_VISIT(one.owner.ptr());
        for (const auto& [name, value] : one.entries) Py_VISIT(value.ptr());
    }
    for (const Result& one : results_) {
        Py_VISIT(one.function.ptr());
        Py_VISIT(one.value.ptr());
    }
    return 0;
}

void Watch::clear() { *this = Watch(); }

namespace {

// Python's garbage collector looks into a Watch: a transform may lead back to the pipeline that watches it.
int traverse_watch(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    return nb::inst_ready(self) ? nb::inst_ptr<Watch>(self)->traverse(visit, arg) : 0;
}

int clear_watch(PyObject* self) {
    nb::inst_ptr<Watch>(self)->clear();
    return 0;
}

PyType_Slot WATCH_SLOTS[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse_watch)},
                             {Py_tp_clear, reinterpret_cast<void*>(clear_watch)},
                             {0, nullptr}};

}  // namespace

void define_watch(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Watch>(m, "Watch", nb::type_slots(WATCH_SLOTS))
        .def(nb::init<>())
        .def("mapping", &Watch::mapping, "watched"_a, "copy"_a)
        .def("sequence", &Watch::sequence, "watched"_a, "copy"_a)
        .def("attributes", &Watch::attributes, "owner"_a, "copy"_a)
        .def("result", &Watch::result, "function"_a, "value"_a.none())
        .def("same", &Watch::same);
}

}  // namespace lt
