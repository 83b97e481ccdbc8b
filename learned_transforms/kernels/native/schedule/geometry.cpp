// What a resample needs along each axis, and what a thread keeps of it.
#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "schedule/pass.hpp"

namespace lt {
namespace {

constexpr int64_t MOST_BYTES = 1 << 19;  // that a thread keeps of rows, and of columns
constexpr int64_t MOST_EACH = 1 << 16;   // of one of them

// All that decides on a Side; of rows, no pixel.
struct Key {
    std::shared_ptr<const std::variant<Interpolation, Given>> weights;
    Arithmetic arithmetic;
    int64_t n_in, size, start, step, count, pixel, values;
    bool floating;
    const Kernels* kernels;

    bool operator==(const Key& other) const {
        const auto numbers = [](const Key& k) {
            return std::tie(k.n_in, k.weights, k.size, k.start, k.step, k.count, k.pixel, k.values, k.floating,
                            k.kernels, k.arithmetic);
        };
        return numbers(*this) == numbers(other);
    }
};

void make(const Axis& axis, const Key& key, Side& side) {
    evaluate(axis, key.n_in, key.arithmetic, *key.kernels, side.taps);
    for (Blocks* blocks : {static_cast<Blocks*>(&side.along), static_cast<Blocks*>(&side.sums)}) {
        blocks->taps = &side.taps;
        blocks->pixel = static_cast<int>(key.pixel);
        blocks->channels = static_cast<int>(key.values);
        blocks->active = blocks->blocks = 0;
        blocks->reach = 0;
        blocks->shared = false;
    }
    if (key.pixel == 0 || key.arithmetic.quarters || key.arithmetic.order != Order::taps) return;
    if (key.arithmetic.number == Number::integer)
        prepare(side.along, *key.kernels);
    else
        prepare(side.sums, key.floating, key.arithmetic, *key.kernels);
}

int64_t bytes_of(const Axis& axis, int64_t n_in, int64_t values) {
    return 4 * axis.keep.count * (2 + 2 * widest(axis, n_in) + values * (1 + widest(axis, n_in)));
}

struct Known {
    Key key;
    std::shared_ptr<Side> side;
    int64_t bytes;
    uint64_t used;
};

// What was needed lately. What is forgotten leaves its memory to what comes, in place: blocks that come and go would
// break up the memory of results.
class Pool {
  public:
    std::shared_ptr<const Side> get(const Axis& axis, Key key) {
        const int64_t bytes = bytes_of(axis, key.n_in, key.values);
        for (Known& one : known_)
            if (one.key == key) {
                one.used = ++now_;
                return one.side;
            }
        std::shared_ptr<Side> side;
        while (bytes <= MOST_EACH && bytes_ + bytes > MOST_BYTES) side = forget();
        if (!side || side.use_count() > 1) side = std::make_shared<Side>();
        make(axis, key, *side);
        if (bytes > MOST_EACH) return side;
        bytes_ += bytes;
        known_.push_back({std::move(key), side, bytes, ++now_});
        return side;
    }

  private:
    // The one that was used least lately.
    std::shared_ptr<Side> forget() {
        const auto oldest = std::min_element(known_.begin(), known_.end(),
                                             [](const Known& a, const Known& b) { return a.used < b.used; });
        bytes_ -= oldest->bytes;
        std::shared_ptr<Side> side = std::move(oldest->side);
        *oldest = std::move(known_.back());
        known_.pop_back();
        return side;
    }

    std::vector<Known> known_;
    int64_t bytes_ = 0;
    uint64_t now_ = 0;
};

std::shared_ptr<const Side> side_of(const Axis& axis, const Arithmetic& arithmetic, const Kernels& kernels,
                                    int64_t n_in, int64_t pixel, int64_t values, bool floating) {
    static thread_local Pool rows, columns;
    const Keep& keep = axis.keep;
    return (pixel ? columns : rows)
        .get(axis, {axis.weights, arithmetic, n_in, axis.size, keep.start, keep.step, keep.count, pixel, values, floating,
                    &kernels});
}

}  // namespace

int64_t Geometry::bytes(const Resample& resample, int64_t height, int64_t width, int64_t values) {
    return static_cast<int64_t>(sizeof(Geometry) + 2 * sizeof(Side)) + bytes_of(resample.rows, height, 0) +
           bytes_of(resample.columns, width, values);
}

Geometry::Geometry(const Resample& resample, const View& view, const Kernels& kernels)
    : down_(side_of(resample.rows, resample.arithmetic, kernels, view.height, 0, 0, false)),
      across_(side_of(resample.columns, resample.arithmetic, kernels, view.width, view.pixel / view.element(),
                      view.values(), view.floating())),
      rows(down_->taps),
      columns(across_->taps),
      along(across_->along),
      sums(across_->sums),
      rows_first(resample.rows_first(view.height, view.width)) {}

}  // namespace lt
