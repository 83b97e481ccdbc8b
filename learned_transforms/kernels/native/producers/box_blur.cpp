#include <algorithm>

#include "producers/row_producer.hpp"

namespace lt {
namespace {

// The whole band is smoothed before its first line is asked for: along each row, then down the columns.
class Boxed final : public Lines {
  public:
    Boxed(const Box& box, int64_t passes, const View& from, int64_t begin, int64_t end, const Kernels& kernels,
          Scratch& scratch)
        : Lines(from.width, from.channels, Dtype::uint8, from.values() > 1, scratch),
          box_(box),
          passes_(passes),
          from_(from),
          kernels_(kernels),
          reach_(box.radius + 1),
          bytes_(from.width * from.values()),
          low_(std::max<int64_t>(0, begin - passes * reach_)),
          rows_(std::min(from.height, end + passes * reach_) - low_),
          plane_((rows_ + 2 * reach_) * bytes_ + PADDING) {
        made_ = scratch.get(Scratch::RING, from.planes() * plane_);
        uint8_t* other = scratch.get(Scratch::MIDDLE, plane_);
        const int64_t side = reach_ * from.values(), row = bytes_ + 2 * side + PADDING;
        uint8_t* lines[2] = {scratch.get(Scratch::PIXELS, row), scratch.get(Scratch::BYTES, row)};
        for (int64_t plane = 0; plane < from.planes(); ++plane) {
            uint8_t* to = made_ + plane * plane_ + reach_ * bytes_;
            for (int64_t y = 0; y < rows_; ++y) smooth_row(low_ + y, plane, side, lines, to + y * bytes_);
            smooth_columns(made_ + plane * plane_, other);
        }
    }

  private:
    void make(int64_t i, uint8_t* to) override {
        for (int64_t plane = 0; plane < from_.planes(); ++plane, to += bytes_)
            std::memcpy(to, made_ + plane * plane_ + (reach_ + i - low_) * bytes_, static_cast<size_t>(bytes_));
    }

    // Copies of the first and last of `n` values that begin at `start`, `size` bytes each, on either side.
    void surround(uint8_t* start, int64_t size, int64_t n) const {
        const auto bytes = static_cast<size_t>(size);
        for (int64_t k = 1; k <= reach_; ++k) {
            std::memcpy(start - k * size, start, bytes);
            std::memcpy(start + (n - 1 + k) * size, start + (n - 1) * size, bytes);
        }
    }

    void smooth_row(int64_t y, int64_t plane, int64_t side, uint8_t* (&lines)[2], uint8_t* to) const {
        const uint8_t* row = from_.data + plane * from_.channel + y * from_.row;
        take_run(row, from_.pixel, from_.values(), from_.width, 0, lines[0] + side);
        for (int64_t pass = 0; pass < passes_; ++pass) {
            surround(lines[0] + side, from_.values(), from_.width);
            uint8_t* out = pass + 1 < passes_ ? lines[1] + side : to;
            kernels_.box(box_, lines[0], from_.values(), bytes_, out);
            std::swap(lines[0], lines[1]);
        }
    }

    void smooth_columns(uint8_t* plane, uint8_t* other) const {
        uint8_t *in = plane, *out = other;
        for (int64_t pass = 0; pass < passes_; ++pass) {
            surround(in + reach_ * bytes_, bytes_, rows_);
            kernels_.box(box_, in, bytes_, rows_ * bytes_, out + reach_ * bytes_);
            std::swap(in, out);
        }
        if (in != plane) std::memcpy(plane, in, static_cast<size_t>(plane_));
    }

    const Box box_;
    const int64_t passes_;
    const View& from_;
    const Kernels& kernels_;
    const int64_t reach_, bytes_;  // pixels on either side that one pass sees; bytes of a row of one plane
    const int64_t low_, rows_, plane_;
    uint8_t* made_;
};

}  // namespace

Source boxed(const Box& box, int64_t passes, const View& from, int64_t begin, int64_t end, const Kernels& kernels,
             Scratch& scratch) {
    return std::make_unique<Boxed>(box, passes, from, begin, end, kernels, scratch);
}

}  // namespace lt
