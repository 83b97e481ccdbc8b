// A pass with the numbers of one image: its factors, and what its statistics are.
#pragma once

#include <array>
#include <memory>
#include <variant>
#include <vector>

#include "schedule/pass.hpp"

namespace lt {

struct Stretching {
    const Stretch* stage;
    std::vector<std::array<double, 2>> ends;  // least and largest value, by channel
};

// A pointwise stage, ready to run.
struct Step {
    std::variant<const Gather*, const Mix*, const Table*, const Normalize*, const Cast*, Blending, Stretching, Turning> what;
    int64_t channels;  // after it
    Dtype dtype;
};

class Settled {
  public:
    // Statistics are taken of the pass's input. Where that is levels, what depends on nothing else becomes a table.
    void settle(const Pass& pass, const View& from, const std::vector<double>& factors, const Kernels& kernels,
                Scratch& scratch);

    std::vector<Step> steps;
    Blending blending;               // with a filter
    std::vector<float> down, along;  // taps of a blur
    Window window;                   // of one that is summed at once
    Box box;
    Warping warping;

  private:
    friend struct Settler;
    void settle_blur(const Blur& blur, bool levels, const std::vector<double>& factors);
    std::vector<std::unique_ptr<Table>> tables_;  // kept for the next image
    size_t used_ = 0;
};

}  // namespace lt
