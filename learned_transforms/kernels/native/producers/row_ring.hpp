// The rows of an image that a window needs, one above the other, with what lies beyond the ends of each.
#pragma once

#include "producers/row_producer.hpp"

namespace lt {

class Ring {
  public:
    // Rows from `begin` on, the last `height` of which are kept; `side` pixels more on either end. Behind the last of
    // them are two vectors' worth of bytes that may be read. `widen`: bytes become floats on the way; null: they stay.
    Ring(const View& from, int64_t height, int64_t side, Border border, int64_t begin, const Kernels* widen,
         Scratch& scratch)
        : from_(from),
          widen_(widen),
          height_(height),
          side_(side),
          border_(border),
          stop_(begin),
          values_((from.width + 2 * side) * from.values()),
          part_(values_ * (widen ? 4 : from.element())),
          memory_(scratch.get(Scratch::RING, height * from.planes() * part_ + PADDING)),
          bytes_(scratch.get(Scratch::BYTES, widen ? values_ : 0)) {}

    // All rows before `stop`.
    void need(int64_t stop) {
        for (; stop_ < stop; ++stop_) fill(stop_);
    }

    const uint8_t* row(int64_t y, int64_t plane) const { return slot(y, plane); }

  private:
    uint8_t* slot(int64_t y, int64_t plane) const {
        return memory_ + (modulo(y, height_) * from_.planes() + plane) * part_;
    }

    void fill(int64_t y) {
        static constexpr uint8_t ZEROS[16] = {};  // a pixel: 4 interleaved floats at most
        const int64_t bytes = from_.values() * from_.element(), width = from_.width;
        const int64_t inside = bordered(y, from_.height, border_);
        const auto left = [&](int64_t j) { return bordered(j - side_, width, border_); };
        const auto right = [&](int64_t j) { return bordered(j + width, width, border_); };
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            uint8_t* to = widen_ ? bytes_ : slot(y, plane);
            if (inside < 0) {
                std::memset(slot(y, plane), 0, static_cast<size_t>(part_));
                continue;
            }
            const uint8_t* row = from_.data + plane * from_.channel + inside * from_.row;
            to = take(row, from_.pixel, bytes, side_, left, ZEROS, to);
            to = take_run(row, from_.pixel, bytes, width, 0, to);
            take(row, from_.pixel, bytes, side_, right, ZEROS, to);
            if (widen_) widen_->to_floats(bytes_, values_, reinterpret_cast<float*>(slot(y, plane)));
        }
    }

    const View& from_;
    const Kernels* widen_;
    const int64_t height_, side_;
    const Border border_;
    int64_t stop_;
    const int64_t values_, part_;  // of one plane of a row, and their bytes
    uint8_t *memory_, *bytes_;
};

}  // namespace lt
