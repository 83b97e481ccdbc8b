// What stages come to for images of one size: passes over them, and batches of them on several threads.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "schedule/small.hpp"

namespace lt {

// Values that are worth a thread of their own: several times what it costs to start.
constexpr int64_t WORK = 1 << 18;

// task(n) for each n < tasks, a few at a time by whoever is free. What a thread throws is thrown again here, when all
// have ended.
void parallel(int64_t tasks, int64_t threads, const std::function<void(int64_t)>& task);

// Images of one shape, `image` bytes from one to the next.
struct Batch {
    View first;
    int64_t images, image;
};

// What each pass needs for images of one layout; `small`: the only pass, where these are done whole.
struct Geometries {
    std::vector<std::shared_ptr<const Geometry>> of;
    std::shared_ptr<const SmallPass> small;
};

// The numbers that are drawn for each call.
using Factors = std::vector<double>;

// One stage that does `before` and then `stage`, for tables; null: there is none.
Shared joined(const Stage& before, const Stage& stage);

class Passes {
  public:
    // Of stages without rules, that fit images of `channels` channels.
    Passes(const std::vector<Shared>& stages, int64_t channels, Size size, Dtype dtype);

    // Channels, height, width and dtype of the output.
    const Target& output() const { return output_; }
    int64_t count() const { return static_cast<int64_t>(passes_.size()); }

    // `whole`: small images may be done whole, which takes longer to prepare.
    Geometries geometries(const View& view, bool whole, const Kernels& kernels) const;

    // Bytes of memory that it holds, about; with its geometries for images like `view`, if it is not null.
    int64_t held(const View* view) const;
    void check_factors(const Factors& factors) const;
    void run(const Batch& from, const Target& to, const Geometries& geometries, const Factors& factors,
             int64_t threads, const Kernels& kernels) const;

    // The same of the part (top, left, height, width) of each image, which may reach beyond it, where `border` lies, with
    // `fill` for each channel; false: nothing is done, and the part must be copied first.
    bool run_part(const Batch& from, const Target& to, const std::array<int64_t, 4>& window, Border border,
                  const std::vector<float>& fill, int64_t threads, const Kernels& kernels) const;

  private:
    void add(const Shared& stage);
    // `ready`: the numbers of the only pass, if they are known.
    void run_image(const View& from, const Target& to, int64_t begin, int64_t end, const Geometries& geometries,
                   const Factors& factors, const Settled* ready, const Kernels& kernels) const;

    std::vector<Pass> passes_;
    std::vector<int64_t> slots_;  // of the factors, in the order of the stages
    Target output_;
};

}  // namespace lt
