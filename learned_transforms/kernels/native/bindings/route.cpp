#include "route.hpp"

#include <algorithm>
#include <stdexcept>

#include "../ir/verify.hpp"
#include "memory.hpp"
#include "sampler.hpp"

namespace nb = nanobind;

namespace lt {

namespace {

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
    } else {
        known_ = PyObject_TypeCheck(image.ptr(), reinterpret_cast<PyTypeObject*>(TORCH->image.ptr()));
    }
}

void Arrival::look() {
    if (tensor_) return;
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
    known_[bits] = {std::move(call), std::move(like)};
}

// An image of the size of the one before may have a route of its own, which Python makes.
bool Route::takes(const Arrival& image) {
    const bool alike = image.kind().is(kind_) || (PyUnicode_Check(kind_.ptr()) && image.kind().equal(kind_));
    if (!alike) return false;
    if (!strides_.empty()) return image.shape() == shape_ && image.strides() == strides_;
    if (image.shape().size() != 3 || image.shape()[0] != shape_[0]) return false;
    if (image.shape() == last_shape_ && image.strides() == last_strides_) return false;
    last_shape_ = image.shape(), last_strides_ = image.strides();
    return true;
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

nb::object Route::leave(const Arrival& image, const Drawn& drawn) const {
    nb::list outcomes;
    for (size_t n = 0; n < count_; ++n) outcomes.append(bool(drawn.outcomes >> n & 1));
    nb::object window = nb::none();
    if (const auto& w = drawn.window) window = nb::make_tuple((*w)[0], (*w)[1], (*w)[2], (*w)[3]);
    return rest_(image.image(), nb::tuple(outcomes), window);
}

nb::object Route::memory(const Call& call, const Known& known, TensorInfo& info) const {
    const Target& to = call.output();
    if (!TORCH->tell(known.like, info)) return {};
    const int64_t* size = info.shape + info.dimensions - 3;
    const bool alike = size[0] == to.channels && size[1] == to.height && size[2] == to.width;
    nb::object made = alike ? lt::call(TORCH->empty_like, known.like)
                            : rest_.attr("memory")(to.channels, to.height, to.width, known.like, to.interleaved);
    require(TORCH->tell(made, info), "torch does not tell where a tensor lies");
    return made;
}

nb::object Route::run(Arrival& image, int64_t threads) {
    if (!takes(image)) return {};
    const std::optional<Drawn> drawn = draw(image);
    if (!drawn) return {};
    const Known known = known_[drawn->outcomes];  // a copy, since other threads add to it
    if (!known.call || (drawn->window && idle(*drawn->window, image))) return leave(image, *drawn);
    std::shared_ptr<const Call> call = known.call;
    if (strides_.empty()) try {
        call = call->like({image.shape()[0], image.shape()[1], image.shape()[2]},
                          {image.strides()[0], image.strides()[1], image.strides()[2]}, drawn->window.has_value());
    } catch (const std::invalid_argument&) {  // It must be copied first, or is refused.
        return leave(image, *drawn);
    }
    const uint8_t* source = image.values(call->reach());
    if (!source) return leave(image, *drawn);
    TensorInfo to;
    nb::object made = memory(*call, known, to);
    const auto* window = drawn->window ? &*drawn->window : nullptr;
    if (call->work() < LONG) {
        call->run(source, to.begin(), threads, window, {});
    } else {
        const nb::gil_scoped_release released;
        call->run(source, to.begin(), threads, window, {});
    }
    // A class of the same layout, without values of its own.
    if (!result_.is(TORCH->tensor)) nb::setattr(made, TORCH->type, result_);
    return made;
}

int Route::traverse(visitproc visit, void* arg) const {
    for (const nb::object* held : {&kind_, &sampler_, &result_, &rest_}) Py_VISIT(held->ptr());
    for (const Known& known : known_) Py_VISIT(known.like.ptr());
    return 0;
}

}  // namespace lt
