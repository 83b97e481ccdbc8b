// The lines of an image after a change of geometry, one by one.
#pragma once

#include "pass.hpp"

namespace lt {

// Lines are planar within themselves (all values of one channel, then those of the next) or interleaved, as the image.
class Lines {
  public:
    Lines(const Change& change, const View& from, const Geometry* geometry, int64_t begin, int64_t end,
          const Kernels& kernels, Scratch& scratch);

    // Line i, valid until the next call. Lines are asked for in the order of `backwards`.
    const uint8_t* line(int64_t i);

    // The same at `to`. What lies up to PADDING behind it is overwritten, unless that was written by a call before.
    void line(int64_t i, uint8_t* to);

    bool backwards() const { return backwards_; }
    bool floating() const { return floating_; }
    bool interleaved() const { return from_.values() > 1; }
    int64_t width() const { return width_; }

  private:
    void copied(int64_t i, uint8_t* to);
    void resampled(int64_t i, uint8_t* to);
    void need(int64_t first, int64_t stop);
    void along_rows(int64_t first, int count, int padded);
    const uint8_t* row(int64_t plane, int64_t y) const;
    uint8_t** slots(int64_t y) const { return slots_ + (y & (capacity_ - 1)); }
    void copy_tail();
    void finish(const float* sums, uint8_t* to);

    const Change& change_;
    const View& from_;
    const Geometry* geometry_;
    const Kernels& kernels_;
    Scratch& scratch_;
    const Resample* resample_;
    bool backwards_ = false, floating_ = false, whole_ = false;
    int64_t width_, values_;  // pixels, and values, of a line
    uint8_t* line_;
    float* sums_ = nullptr;
    // A ring of rows that the pass along them is done with; those before high_ are in it, as far back as it reaches.
    // Its slots are listed twice, so that neighbouring rows are neighbours in the list wherever they begin.
    uint8_t** slots_ = nullptr;
    int64_t capacity_ = 0, high_ = 0, last_ = 0;
    int batch_ = GROUP;  // rows done together
    // Copies of the last rows, for kernels that read past them.
    uint8_t* tail_ = nullptr;
    int64_t reach_ = 0;
    int64_t* tail_starts_ = nullptr;  // by plane
    const uint8_t** pointers_ = nullptr;
};

}  // namespace lt
