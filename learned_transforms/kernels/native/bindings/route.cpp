#include "route.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "../ir/verify.hpp"
#include "memory.hpp"
#include "sampler.hpp"

namespace nb = nanobind;

namespace lt {

namespace {

constexpr int64_t OFTEN = 4;         // images of one size in a row, from which on it may have a route of its own
constexpr size_t MOST = 6;           // outcomes that are drawn
constexpr int64_t MOST_NUMBERS = 64;  // that are kept for a thread
constexpr int64_t LONG = 1 << 16;    // values that a run reads and writes, from which on other threads go on meanwhile

int64_t whole(nb::handle tuple, Py_ssize_t n) { return PyLong_AsLongLong(PyTuple_GET_ITEM(tuple.ptr(), n)); }

}  // namespace

Arrival::Arrival(nb::handle image) : image_(image) {
    if (PyObject_TypeCheck(image.ptr(), reinterpret_cast<PyTypeObject*>(TORCH->tensor.ptr()))) {
        TensorInfo info;
        if (!TORCH->tell(image, info) || !info.bytes_on_cpu() || info.dimensions < 3 || info.dimensions > 4) return;
        known_ = tensor_ = true;
        kind_ = nb::borrow(image.type());
        begin_ = info.begin();
        shape_.assign(info.shape, info.shape + info.dimensions);
        strides_.assign(info.strides, info.strides + info.dimensions);
    } else if (image.type().is(TORCH->array)) {
        array();
    } else {
        known_ = PyObject_TypeCheck(image.ptr(), reinterpret_cast<PyTypeObject*>(TORCH->image.ptr()));
    }
}

Arrival::~Arrival() {
    if (array_) PyBuffer_Release(&view_);
}

void Arrival::array() {
    if (PyObject_GetBuffer(image_.ptr(), &view_, PyBUF_FORMAT | PyBUF_STRIDES) != 0) return PyErr_Clear();
    array_ = true;
    if (view_.ndim != 3 || !view_.format || std::strcmp(view_.format, "B") != 0) return;
    known_ = std::all_of(view_.shape, view_.shape + 3, [](Py_ssize_t n) { return n > 0; }) &&
             std::all_of(view_.strides, view_.strides + 3, [](Py_ssize_t n) { return n > 0; });
    kind_ = nb::borrow(image_.type());
    begin_ = static_cast<const uint8_t*>(view_.buf);
    shape_ = {view_.shape[2], view_.shape[0], view_.shape[1]};
    strides_ = {view_.strides[2], view_.strides[0], view_.strides[1]};
}

void Arrival::look() {
    if (tensor_ || array_) return;
    kind_ = image_.attr(TORCH->mode);
    const nb::object size = image_.attr(TORCH->size);
    const bool rgb = nb::isinstance<nb::str>(kind_) && PyUnicode_CompareWithASCIIString(kind_.ptr(), "RGB") == 0;
    const int64_t channels = rgb ? 3 : 1, pixel = rgb ? 4 : 1;
    known_ = PyTuple_Check(size.ptr()) && PyTuple_GET_SIZE(size.ptr()) == 2;
    if (!known_) return;
    const int64_t width = whole(size, 0), height = whole(size, 1);
    shape_ = {channels, height, width};
    strides_ = {1, width * pixel, pixel};
    known_ = !PyErr_Occurred() && width > 0 && height > 0;
    PyErr_Clear();
}

const uint8_t* Arrival::values(int64_t bytes) {
    if (tensor_) return TORCH->bytes_from(image_, begin_) >= uint64_t(bytes) ? begin_ : nullptr;
    if (array_) return begin_;
    const nb::object exported = nb::steal(PyObject_CallMethodNoArgs(image_.ptr(), TORCH->arrow.ptr()));
    if (!exported.is_valid()) return PyErr_Clear(), nullptr;
    owner_ = exported[1];
    const auto [address, length] = arrow_pixels(nb::borrow<nb::capsule>(owner_));
    return length == shape_[1] * strides_[1] ? reinterpret_cast<const uint8_t*>(address) : nullptr;
}

Route::Route(nb::object kind, std::vector<int64_t> shape, std::vector<int64_t> strides, std::vector<double> chances,
             nb::object sampler, std::optional<std::array<int64_t, 2>> still, nb::object result, nb::object rest)
    : kind_(std::move(kind)), shape_(std::move(shape)), strides_(std::move(strides)), chances_(std::move(chances)),
      sampler_(std::move(sampler)), still_(still), result_(std::move(result)), rest_(std::move(rest)) {
    require(sampler_.is_none() || nb::isinstance<Sampler>(sampler_), "a route lacks its sampler");
    count_ = sampler_.is_none() ? chances_.size() : nb::inst_ptr<Sampler>(sampler_)->draws();
    require(count_ <= MOST, "too much is drawn for a route");
    known_.resize(size_t(1) << count_);
}

void Route::add(const std::vector<bool>& outcomes, std::shared_ptr<const Call> call, nb::object like) {
    require(call && outcomes.size() == count_, "a route lacks a call, or some outcomes");
    size_t bits = 0;
    for (size_t n = 0; n < count_; ++n) bits |= size_t(outcomes[n]) << n;
    known_[bits] = {std::move(call), std::move(like), nullptr, {}, {}, false};
}

int64_t Route::times(const Arrival& image) {
    const bool alike = image.kind().is(kind_) || (PyUnicode_Check(kind_.ptr()) && image.kind().equal(kind_));
    if (!alike) return 0;
    if (!strides_.empty()) return image.shape() == shape_ && image.strides() == strides_;
    if (image.shape().size() != 3 || image.shape()[0] != shape_[0]) return 0;
    times_ = image.shape() == last_shape_ && image.strides() == last_strides_ ? times_ + 1 : 1;
    last_shape_ = image.shape(), last_strides_ = image.strides();
    // What is left to Python each time may have a route of its own there.
    return times_ >= OFTEN && left_ > 0 ? 0 : times_;
}

std::optional<Route::Drawn> Route::draw(const Arrival& image) const {
    if (!sampler_.is_none()) return sample(image);
    const float* numbers = count_ ? TORCH->draw(count_) : nullptr;
    Drawn drawn{0, {}};
    for (size_t n = 0; n < count_; ++n) drawn.outcomes |= size_t(double(numbers[n]) < chances_[n]) << n;
    return drawn;
}

std::optional<Route::Drawn> Route::sample(const Arrival& image) const {
    if (image.shape().size() != 3) return {};
    const nb::object state = TORCH->state_of();
    TensorInfo info;
    if (!TORCH->tell(state, info)) return {};
    const auto ahead = nb::inst_ptr<Sampler>(sampler_)->ahead(info.begin(), image.shape()[0], image.shape()[1], image.shape()[2]);
    if (!ahead || ahead->count > MOST_NUMBERS) return {};
    Drawn drawn{0, {}};
    for (size_t n = 0; n < count_; ++n) {
        PyObject* outcome = PyTuple_GET_ITEM(ahead->outcomes.ptr(), Py_ssize_t(n));
        if (!PyBool_Check(outcome)) return {};
        drawn.outcomes |= size_t(outcome == Py_True) << n;
    }
    if (!ahead->window.is_none())
        drawn.window = {whole(ahead->window, 0), whole(ahead->window, 1), whole(ahead->window, 2), whole(ahead->window, 3)};
    // Other numbers: another thread drew meanwhile. These are left out then.
    if (ahead->count && double(TORCH->draw(size_t(ahead->count))[ahead->count - 1]) != ahead->last) return {};
    return drawn;
}

bool Route::idle(const std::array<int64_t, 4>& window, const Arrival& image) const {
    const auto [top, left, height, width] = window;
    const bool all = top == 0 && left == 0 && height == image.shape()[1] && width == image.shape()[2];
    return all || height == 0 || width == 0 || (still_ && height == (*still_)[0] && width == (*still_)[1]);
}

nb::object Route::leave(const Arrival& image, const Drawn& drawn, bool fresh) const {
    nb::list outcomes;
    for (size_t n = 0; n < count_; ++n) outcomes.append(bool(drawn.outcomes >> n & 1));
    nb::object window = nb::none();
    if (const auto& w = drawn.window) window = nb::make_tuple((*w)[0], (*w)[1], (*w)[2], (*w)[3]);
    return rest_(image.image(), nb::tuple(outcomes), window, fresh);
}

nb::object Route::memory(const Call& call, const nb::object& like, uint8_t*& target) const {
    const Target& to = call.output();
    const bool array = result_.is(TORCH->array);
    TensorInfo info;
    bool alike = true;
    if (array) {
        const nb::object shape = like[0];
        alike = whole(shape, 0) == to.height && whole(shape, 1) == to.width && whole(shape, 2) == to.channels;
    } else {
        require(TORCH->tell(like, info), "torch does not tell what a tensor is");
        const int64_t* size = info.shape + info.dimensions - 3;
        alike = size[0] == to.channels && size[1] == to.height && size[2] == to.width;
    }
    nb::object made;
    if (!alike)
        made = rest_.attr("memory")(to.channels, to.height, to.width, like, to.interleaved);
    else if (array)
        made = nb::steal(PyObject_CallObject(TORCH->empty_array.ptr(), like.ptr()));
    else
        made = lt::call(TORCH->empty_like, like);
    if (!made.is_valid()) throw nb::python_error();
    if (array) {
        target = reinterpret_cast<uint8_t*>(memory_of(made));
    } else {
        require(TORCH->tell(made, info), "torch does not tell where a tensor lies");
        target = info.begin();
    }
    return made;
}

// Nothing here lets another thread run.
std::shared_ptr<const Call> Route::bind(const Arrival& image, const Drawn& drawn, bool keep) {
    Known& known = known_[drawn.outcomes];
    const auto &shape = image.shape(), &strides = image.strides();
    const bool windowed = drawn.window.has_value();
    if (known.again && known.windowed == windowed && known.shape == shape && known.strides == strides) return known.again;
    auto call = known.call->like({shape[0], shape[1], shape[2]}, {strides[0], strides[1], strides[2]}, windowed);
    if (keep) known.again = call, known.shape = shape, known.strides = strides, known.windowed = windowed;
    return call;
}

nb::object Route::run(Arrival& image, int64_t threads) {
    const int64_t times = this->times(image);
    if (times == 0) return {};
    const std::optional<Drawn> drawn = draw(image);
    if (!drawn) return {};
    if (drawn->window && idle(*drawn->window, image)) return leave(image, *drawn, false);
    if (!known_[drawn->outcomes].call) {
        nb::object made = leave(image, *drawn, true);
        if (!made.is_none()) return ++left_, made;
    }
    std::shared_ptr<const Call> call = known_[drawn->outcomes].call;
    require(call != nullptr, "what runs under these outcomes was not added");
    const nb::object like = known_[drawn->outcomes].like;  // held, since other threads may put another in its place
    if (strides_.empty()) try {
        call = bind(image, *drawn, times > 1);
    } catch (const std::invalid_argument&) {  // It must be copied first, or is refused.
        return ++left_, leave(image, *drawn, false);
    }
    const uint8_t* source = image.values(call->reach());
    if (!source) return ++left_, leave(image, *drawn, false);
    left_ = 0;
    uint8_t* target = nullptr;
    nb::object made = memory(*call, like, target);
    const auto* window = drawn->window ? &*drawn->window : nullptr;
    if (call->work() < LONG) {
        call->run(source, target, threads, window, {});
    } else {
        const nb::gil_scoped_release released;
        call->run(source, target, threads, window, {});
    }
    // A class of the same layout, without values of its own.
    if (!result_.is(TORCH->tensor) && !result_.is(TORCH->array)) nb::setattr(made, TORCH->type, result_);
    return made;
}

int Route::traverse(visitproc visit, void* arg) const {
    for (const nb::object* held : {&kind_, &sampler_, &result_, &rest_}) Py_VISIT(held->ptr());
    for (const Known& known : known_) Py_VISIT(known.like.ptr());
    return 0;
}

}  // namespace lt
