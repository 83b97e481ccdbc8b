// Passes over small images of bytes, each a whole: without lines, tiles, and what is made for each image.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "schedule/pass.hpp"

namespace lt {

// What such a pass makes of each channel, before a table, and how it goes on.
struct SmallOutput {
    const Table* table = nullptr;  // null: none
    int64_t planes, pixels, element;

    // make(out) writes levels, by channel; the result goes to `target`.
    template <class Make>
    void write(uint8_t* target, const Kernels& kernels, Scratch& scratch, const Make& make) const;
};

// A resample by few taps; then a gray channel, and a table.
class SmallPass {
  public:
    // What `pass` does to images like `view`, of which only the layout counts; null: it must be done line by line.
    static std::shared_ptr<const SmallPass> of(const Pass& pass, const View& view, const Geometry* geometry,
                                               const Target& to, const Kernels& kernels);

    void run(const uint8_t* image, uint8_t* target, const Kernels& kernels) const;

  private:
    bool lay_out(const Resample& resample, const Geometry& geometry, const Kernels& kernels);

    Small plan_;
    Shared gray_, table_;
    SmallOutput output_;
};

// A part of an image, which may reach beyond it; then copies of rows and columns, and a table.
class SmallCopies {
  public:
    // What `pass` does to the part (top, left, height, width) of images like `view`; none: it must be done otherwise.
    // Around an image lies `border`, with `fill` for each channel.
    static std::optional<SmallCopies> of(const Pass& pass, const View& view, const std::array<int64_t, 4>& window,
                                         Border border, const std::vector<float>& fill, const Target& to,
                                         const Kernels& kernels);

    void run(const uint8_t* image, uint8_t* target, const Kernels& kernels) const;

  private:
    SmallCopy plan_;
    SmallOutput output_;
};

}  // namespace lt
