#include "lines.hpp"

namespace lt {
namespace {

template <class In, class Out>
void copy_values(const void* in, int64_t n, Out* out) {
    const In* from = static_cast<const In*>(in);
    for (int64_t i = 0; i < n; ++i) {
        if constexpr (sizeof(In) > sizeof(Out))  // As torch does: modulo 256, where it is not far out of range.
            out[i] = from[i] > -2147483648.f && from[i] < 2147483648.f
                         ? static_cast<Out>(static_cast<int32_t>(from[i]))
                         : Out{0};
        else
            out[i] = static_cast<Out>(from[i]);
    }
}

constexpr uint8_t ZEROS[16] = {};  // a pixel: 4 interleaved floats at most

class Filtered final : public Lines {
  public:
    Filtered(const Filter& filter, const View& from, int64_t begin, const Kernels& kernels, Scratch& scratch)
        : Lines(from.width, from.channels, filter.arithmetic.rounding == Rounding::none, from.values() > 1, scratch),
          filter_(filter),
          from_(from),
          kernels_(kernels),
          high_(begin - filter.height / 2),
          part_((from.width + filter.width - 1) * from.values() * from.element()),
          window_(scratch.get<const uint8_t*>(Scratch::POINTERS, filter.height)),
          ring_(scratch.get(Scratch::RING, filter.height * from.planes() * part_)) {}

  private:
    void make(int64_t i, uint8_t* to) override {
        const int64_t top = i - filter_.height / 2, side = filter_.width / 2, element = from_.element();
        const int64_t n = width_ * from_.values(), size = floating_ ? 4 : 1;
        for (; high_ < top + filter_.height; ++high_) fill(high_);
        const bool copy = filter_.border == Border::copy;
        const bool inner = !copy || (top >= 0 && top + filter_.height <= from_.height && width_ > 2 * side);
        for (int64_t plane = 0; plane < from_.planes(); ++plane, to += n * size) {
            for (int64_t k = 0; k < filter_.height; ++k) window_[k] = slot(top + k, plane);
            const uint8_t* middle = slot(i, plane) + side * from_.values() * element;
            if (!inner) {
                copy_plain(middle, 0, n, to);
                continue;
            }
            if (from_.floating)
                kernels_.filter_floats(filter_, reinterpret_cast<const float* const*>(window_), from_.values(), n, to);
            else
                kernels_.filter_bytes(filter_, window_, from_.values(), n, to);
            if (!copy) continue;
            copy_plain(middle, 0, side * from_.values(), to);
            copy_plain(middle, n - side * from_.values(), n, to);
        }
    }

    // Row y, which may lie outside the image, with what lies beyond its ends.
    void fill(int64_t y) {
        const int64_t bytes = from_.values() * from_.element(), side = filter_.width / 2;
        const int64_t inside = bordered(y, from_.height, filter_.border);
        const auto left = [&](int64_t j) { return bordered(j - side, width_, filter_.border); };
        const auto right = [&](int64_t j) { return bordered(j + width_, width_, filter_.border); };
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            uint8_t* to = slot(y, plane);
            if (inside < 0) {
                std::memset(to, 0, static_cast<size_t>(part_));
                continue;
            }
            const uint8_t* row = from_.data + plane * from_.channel + inside * from_.row;
            to = take(row, from_.pixel, bytes, side, left, ZEROS, to);
            to = take_run(row, from_.pixel, bytes, width_, 0, to);
            take(row, from_.pixel, bytes, side, right, ZEROS, to);
        }
    }

    // Values [begin, end) of a row as they are, in the type of the output.
    void copy_plain(const uint8_t* row, int64_t begin, int64_t end, uint8_t* to) const {
        const uint8_t* in = row + begin * from_.element();
        const int64_t n = end - begin;
        if (floating_) {
            float* out = reinterpret_cast<float*>(to) + begin;
            from_.floating ? copy_values<float>(in, n, out) : copy_values<uint8_t>(in, n, out);
        } else {
            from_.floating ? copy_values<float>(in, n, to + begin) : copy_values<uint8_t>(in, n, to + begin);
        }
    }

    uint8_t* slot(int64_t y, int64_t plane) const {
        return ring_ + (modulo(y, filter_.height) * from_.planes() + plane) * part_;
    }

    const Filter& filter_;
    const View& from_;
    const Kernels& kernels_;
    int64_t high_;        // rows before it are in the ring, as many as the window is high
    const int64_t part_;  // bytes of one plane of a row there
    const uint8_t** window_;
    uint8_t* ring_;
};

}  // namespace

Source filtered(const Filter& filter, const View& from, int64_t begin, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Filtered>(filter, from, begin, kernels, scratch);
}

}  // namespace lt
