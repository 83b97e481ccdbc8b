// The lines of an image after a change of geometry, one by one.
#pragma once

#include <cstring>
#include <memory>

#include "schedule/pass.hpp"

namespace lt {

// Lines are planar within themselves (all values of one channel, then those of the next) or interleaved.
class Lines {
  public:
    Lines(int64_t width, int64_t channels, Dtype dtype, bool interleaved, Scratch& scratch)
        : dtype_(dtype),
          interleaved_(interleaved),
          width_(width),
          values_(width * channels),
          line_(scratch.get(Scratch::LINE, values_ * 4)) {}
    virtual ~Lines() = default;

    // Line i, valid until the next call. Lines are asked for in the order of `backwards`.
    const uint8_t* line(int64_t i) {
        make(i, line_);
        return line_;
    }

    // The same at `to`. What lies up to PADDING behind it is overwritten, unless that was written by a call before.
    void line(int64_t i, uint8_t* to) {
        if (backwards_)
            std::memcpy(to, line(i), static_cast<size_t>(values_ * size_of(dtype_)));
        else
            make(i, to);
    }

    bool backwards() const { return backwards_; }
    Dtype dtype() const { return dtype_; }
    bool interleaved() const { return interleaved_; }

  protected:
    virtual void make(int64_t i, uint8_t* to) = 0;

    bool floating() const { return dtype_ == Dtype::float32; }

    const Dtype dtype_;
    const bool interleaved_;
    bool backwards_ = false;
    const int64_t width_, values_;  // pixels, and values, of a line

  private:
    uint8_t* line_;
};

// What gives the lines [begin, end) of an image after one change; `geometry` belongs to a Resample, and so does
// `before`, which makes floats of bytes first, if it is not null.
using Source = std::unique_ptr<Lines>;
Source copied(const Gather& gather, const View& from, const Kernels& kernels, Scratch& scratch);
Source resampled(const Resample& resample, const Table* before, const View& from, const Geometry& geometry, int64_t begin,
                 int64_t end, const Kernels& kernels, Scratch& scratch);
Source scattered(const Sparse& sparse, const View& from, const Kernels& kernels, Scratch& scratch);
// `blending` the image with what the filter makes of it, if it is not null.
Source filtered(const Filter& filter, const Blending* blending, const View& from, int64_t begin, const Kernels& kernels,
                Scratch& scratch);
// `window`: what values near where rounding turns are summed over again; null: none is.
Source blurred(const Blur& blur, const std::vector<float>& down, const std::vector<float>& along, const Window* window,
               const View& from, int64_t begin, const Kernels& kernels, Scratch& scratch);
Source warped(const Warping& warping, const View& from, const Kernels& kernels, Scratch& scratch);
Source boxed(const Box& box, int64_t passes, const View& from, int64_t begin, int64_t end, const Kernels& kernels,
             Scratch& scratch);

// n pixels side by side, number j of which lies at place(j). `Bytes` of each, if they are known beforehand, `bytes`
// otherwise.
template <int64_t Bytes, class Place>
uint8_t* take_all(int64_t bytes, int64_t n, const Place& place, uint8_t* to) {
    const auto size = static_cast<size_t>(Bytes ? Bytes : bytes);
    for (int64_t j = 0; j < n; ++j, to += size) std::memcpy(to, place(j), size);
    return to;
}

template <class Place>
uint8_t* take_all(int64_t bytes, int64_t n, const Place& place, uint8_t* to) {
    if (bytes == 1) return take_all<1>(bytes, n, place, to);
    if (bytes == 2) return take_all<2>(bytes, n, place, to);
    if (bytes == 3) return take_all<3>(bytes, n, place, to);
    if (bytes == 4) return take_all<4>(bytes, n, place, to);
    if (bytes == 8) return take_all<8>(bytes, n, place, to);
    return take_all<0>(bytes, n, place, to);
}

// Pixels at(j) for j < n out of a row, `pixel` bytes apart; `fill` for those at -1.
template <class At>
uint8_t* take(const uint8_t* row, int64_t pixel, int64_t bytes, int64_t n, const At& at, const uint8_t* fill,
              uint8_t* to) {
    const auto place = [&](int64_t j) {
        const int64_t x = at(j);
        return x < 0 ? fill : row + x * pixel;
    };
    return take_all(bytes, n, place, to);
}

// The same where all of them are inside.
template <class At>
uint8_t* take_inside(const uint8_t* row, int64_t pixel, int64_t bytes, int64_t n, const At& at, uint8_t* to) {
    return take_all(bytes, n, [=](int64_t j) { return row + at(j) * pixel; }, to);
}

// Those from number `start` on, all of them inside.
inline uint8_t* take_run(const uint8_t* row, int64_t pixel, int64_t bytes, int64_t n, int64_t start, uint8_t* to) {
    if (pixel != bytes) return take_inside(row, pixel, bytes, n, [start](int64_t j) { return start + j; }, to);
    std::memcpy(to, row + start * pixel, static_cast<size_t>(n * bytes));
    return to + n * bytes;
}

}  // namespace lt
