#include "sampler.hpp"

#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace nb = nanobind;

namespace lt {

namespace {

constexpr int64_t LEFT = 8, NEXT = 16, STATE = 24;  // bytes before each, in the state
constexpr double STEP = 1.0 / (1 << 24);
constexpr uint32_t MASK = (1 << 24) - 1;
constexpr int TRIES = 10;
constexpr int64_t MOST = 1 << 24;  // pixels along an axis, none included

template <class T>
T read(const uint8_t* memory) {
    T value;
    std::memcpy(&value, memory, sizeof(T));
    return value;
}

// Of a length whose square has a relative error of 2^-22: rounded, if the error cannot change that; else 0.
int64_t rounded(double length) {
    const double whole = std::floor(length);
    if (std::fabs(length - whole - 0.5) <= std::ldexp(length, -22)) return 0;
    return static_cast<int64_t>(length - whole < 0.5 ? whole : whole + 1);
}

// Whether images of such a shape are drawn for here.
bool known(int64_t channels, int64_t rows, int64_t columns) {
    return rows >= 1 && columns >= 1 && rows < MOST && columns < MOST && channels <= 16;
}

nb::object shuffled(Upcoming& numbers, int64_t count) {
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    for (int64_t i = 0; i + 1 < count; ++i)
        std::swap(order[i], order[i + static_cast<int64_t>(numbers.next() % static_cast<uint64_t>(count - i))]);
    nb::object made = nb::steal(PyTuple_New(count));
    for (int64_t i = 0; i < count; ++i) PyTuple_SET_ITEM(made.ptr(), i, PyLong_FromLongLong(order[i]));
    return made;
}

}  // namespace

Upcoming::Upcoming(const uint8_t* state)
    : given_(state + STATE), left_(read<int32_t>(state + LEFT)), next_(static_cast<int64_t>(read<uint64_t>(state + NEXT))) {
    if (left_ < 1 || left_ > WORDS || next_ < 0 || next_ > WORDS || (left_ > 1 && next_ + left_ - 1 > WORDS))
        throw std::invalid_argument("not the state of a Mersenne Twister");
}

void Upcoming::refill() {
    if (made_.empty())
        for (int64_t i = 0; i < WORDS; ++i) made_.push_back(static_cast<uint32_t>(read<uint64_t>(given_ + 8 * i)));
    for (int64_t i = 0; i < WORDS; ++i) {
        const uint32_t mixed = (made_[i] & 0x80000000u) | (made_[(i + 1) % WORDS] & 0x7fffffffu);
        made_[i] = made_[(i + SHIFT) % WORDS] ^ (mixed >> 1) ^ (mixed & 1 ? 0x9908b0dfu : 0u);
    }
    left_ = WORDS, next_ = 0;
}

uint32_t Upcoming::next() {
    if (--left_ == 0) refill();
    const int64_t i = next_++;
    uint32_t y = made_.empty() ? static_cast<uint32_t>(read<uint64_t>(given_ + 8 * i)) : made_[i];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    y ^= y >> 18;
    ++count_;
    return last_ = y;
}

void Sampler::add(Kind kind, int64_t gate, double chance, const std::array<double, 4>& bounds) {
    if (gate < -1 || gate >= static_cast<int64_t>(draws_.size())) throw std::invalid_argument("a gate must lie before");
    draws_.push_back({kind, gate, chance, bounds, {}, {}, {}, false, false});
}

void Sampler::coin(int64_t gate, double chance) { add(Kind::coin, gate, chance, {}); }

void Sampler::window(int64_t gate, const std::array<double, 4>& bounds) { add(Kind::window, gate, 0, bounds); }

void Sampler::crop(int64_t gate, const std::array<int64_t, 2>& size, const std::array<int64_t, 4>& around,
                   bool if_needed, bool each) {
    for (const int64_t side : around)
        if (side < 0 || side >= MOST) throw std::invalid_argument("padding must be a few pixels wide");
    if (size[0] < 1 || size[1] < 1 || size[0] >= MOST || size[1] >= MOST)
        throw std::invalid_argument("a part of an image has pixels");
    add(Kind::crop, gate, 0, {});
    Draw& draw = draws_.back();
    draw.size = size, draw.around = around, draw.if_needed = if_needed, draw.each = each;
}

void Sampler::params(int64_t gate) { add(Kind::params, gate, 0, {}); }

void Sampler::part(nb::str name, const std::string& kind, double low, double high, double chance) {
    const Value value = kind == "factor"  ? Value::factor
                        : kind == "order" ? Value::order
                        : kind == "coin"  ? Value::coin
                                          : Value::none;
    if (draws_.empty() || draws_.back().kind != Kind::params) throw std::invalid_argument("a part needs params");
    draws_.back().parts.push_back({std::move(name), value, low, high, chance});
}

float Sampler::uniform(Upcoming& numbers, double low, double high) const {
    const auto first = static_cast<float>(low);
    const float range = static_cast<float>(high) - first;
    const auto x = static_cast<float>((numbers.next() & MASK) * STEP);
    return fused_ ? std::fmaf(x, range, first) : x * range + first;
}

bool Sampler::find(Upcoming& numbers, const Draw& draw, int64_t rows, int64_t columns,
                   std::array<int64_t, 4>& found) const {
    const auto [least, most, low, high] = draw.bounds;
    for (int tried = 0; tried < TRIES; ++tried) {
        const double target = static_cast<double>(rows * columns) * uniform(numbers, least, most);
        // torch's exponential is of float32, and some unit in the last place beside.
        const double ratio = std::exp(static_cast<double>(uniform(numbers, low, high)));
        const int64_t width = rounded(std::sqrt(target * ratio)), height = rounded(std::sqrt(target / ratio));
        if (width == 0 || height == 0) return false;
        if (width <= columns && height <= rows) {
            const auto top = static_cast<int64_t>(numbers.next() % static_cast<uint64_t>(rows - height + 1));
            const auto left = static_cast<int64_t>(numbers.next() % static_cast<uint64_t>(columns - width + 1));
            found = {top, left, height, width};
            return true;
        }
    }
    return false;
}

bool Sampler::cut(Upcoming& numbers, const Draw& draw, int64_t rows, int64_t columns,
                  std::array<int64_t, 4>& found) const {
    auto [left, top, right, bottom] = draw.around;
    const auto [height, width] = draw.size;
    if (draw.if_needed) {
        const int64_t across = std::max<int64_t>(width - columns - left - right, 0);
        const int64_t down = std::max<int64_t>(height - rows - top - bottom, 0);
        left += across, right += across, top += down, bottom += down;
    }
    const int64_t down = rows + top + bottom - height, across = columns + left + right - width;
    if (down < 0 || across < 0) return false;
    const bool skip = draw.each || (down == 0 && across == 0);
    const auto below = [&](int64_t last) {
        return skip && last == 0 ? 0 : static_cast<int64_t>(numbers.next() % static_cast<uint64_t>(last + 1));
    };
    const int64_t y = below(down), x = below(across);
    found = {y - top, x - left, height, width};
    return true;
}

nb::object Sampler::value(Upcoming& numbers, const Part& part, int64_t channels) const {
    if (part.kind == Value::none) return nb::none();
    if (part.kind == Value::coin) return nb::bool_((numbers.next() & MASK) * STEP < part.chance);
    if (part.chance <= 1 && !((numbers.next() & MASK) * STEP < part.chance)) return nb::none();
    if (part.kind == Value::factor) return nb::float_(static_cast<double>(uniform(numbers, part.low, part.high)));
    return shuffled(numbers, part.low == 0 ? channels : static_cast<int64_t>(part.low));
}

std::optional<std::pair<nb::object, nb::object>> Sampler::draw(Upcoming& numbers, int64_t channels, int64_t rows,
                                                               int64_t columns) const {
    nb::object outcomes = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(draws_.size()))), window = nb::none();
    for (size_t i = 0; i < draws_.size(); ++i) {
        const Draw& draw = draws_[i];
        nb::object outcome = nb::bool_(draw.gate < 0 || PyTuple_GET_ITEM(outcomes.ptr(), draw.gate) == Py_True);
        if (outcome.ptr() == Py_True && draw.kind == Kind::coin) {
            outcome = nb::bool_((numbers.next() & MASK) * STEP < draw.chance);
        } else if (outcome.ptr() == Py_True && (draw.kind == Kind::window || draw.kind == Kind::crop)) {
            std::array<int64_t, 4> found{};
            const auto search = draw.kind == Kind::window ? &Sampler::find : &Sampler::cut;
            if (!(this->*search)(numbers, draw, rows, columns, found)) return {};
            window = nb::make_tuple(found[0], found[1], found[2], found[3]);
        } else if (outcome.ptr() == Py_True) {
            outcome = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(draw.parts.size())));
            for (size_t j = 0; j < draw.parts.size(); ++j) {
                nb::object pair = nb::make_tuple(draw.parts[j].name, value(numbers, draw.parts[j], channels));
                PyTuple_SET_ITEM(outcome.ptr(), j, pair.release().ptr());
            }
        }
        PyTuple_SET_ITEM(outcomes.ptr(), i, outcome.release().ptr());
    }
    return std::pair{std::move(outcomes), std::move(window)};
}

std::optional<Sampler::Ahead> Sampler::ahead(const uint8_t* state, int64_t channels, int64_t rows, int64_t columns) const {
    if (!known(channels, rows, columns)) return {};
    Upcoming numbers(state);
    auto drawn = draw(numbers, channels, rows, columns);
    if (!drawn) return {};
    return Ahead{numbers.count(), (numbers.last() & MASK) * STEP, std::move(drawn->first), std::move(drawn->second)};
}

nb::object Sampler::operator()(uintptr_t state, int64_t channels, int64_t rows, int64_t columns) const {
    const auto found = ahead(reinterpret_cast<const uint8_t*>(state), channels, rows, columns);
    if (!found) return nb::none();
    return nb::make_tuple(found->count, found->last, found->outcomes, found->window);
}

nb::object Sampler::many(uintptr_t state, int64_t channels, int64_t rows, int64_t columns, int64_t images) const {
    if (!known(channels, rows, columns)) return nb::none();
    Upcoming numbers(reinterpret_cast<const uint8_t*>(state));
    nb::list all;
    for (int64_t n = 0; n < images; ++n) {
        const auto drawn = draw(numbers, channels, rows, columns);
        if (!drawn) return nb::none();
        all.append(nb::make_tuple(drawn->first, drawn->second));
    }
    return nb::make_tuple(numbers.count(), (numbers.last() & MASK) * STEP, all);
}

void define_sampler(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Sampler>(m, "Sampler")
        .def(nb::init<bool>(), "fused"_a)
        .def("coin", &Sampler::coin, "gate"_a, "chance"_a)
        .def("window", &Sampler::window, "gate"_a, "bounds"_a)
        .def("crop", &Sampler::crop, "gate"_a, "size"_a, "around"_a, "if_needed"_a, "each"_a)
        .def("params", &Sampler::params, "gate"_a)
        .def("part", &Sampler::part, "name"_a, "kind"_a, "low"_a, "high"_a, "chance"_a)
        .def("__call__", &Sampler::operator(), "state"_a, "channels"_a, "rows"_a, "columns"_a)
        .def("many", &Sampler::many, "state"_a, "channels"_a, "rows"_a, "columns"_a, "images"_a);
}

}  // namespace lt
