// Passes over small images, each a whole: without lines, tiles, and what is made for each image.
#pragma once

#include <memory>

#include "schedule/pass.hpp"

namespace lt {

class SmallPass {
  public:
    // What `pass` does to images like `view`, of which only the layout counts; null: it must be done line by line.
    static std::shared_ptr<const SmallPass> of(const Pass& pass, const View& view, const Geometry* geometry,
                                               const Target& to, const Kernels& kernels);

    void run(const uint8_t* image, uint8_t* target, const Kernels& kernels) const;

  private:
    bool resamples(const Resample& resample, const View& view, const Geometry& geometry, const Kernels& kernels);

    Small plan_;
    Shared gray_, table_;
    int64_t planes_, pixels_, element_;  // of the output
};

}  // namespace lt
