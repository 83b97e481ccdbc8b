// A plan as passes over an image, and batches of them on several threads.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pass.hpp"

namespace lt {

// The kernels called portable, avx2 or avx512; without a name, the fastest that there are.
const Kernels* choose(const std::string& name);

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

class Program {
  public:
    Program(int64_t channels, const std::string& simd);

    void add(Stage stage);

    // What lies around an image, for windows that reach beyond it: a border, and for zero the fill of each channel.
    void surround(Border border, std::vector<float> fill);

    // The part of an image in a window (top, left, height, width) that reaches beyond it, copied into `memory`.
    Batch seen(const Batch& from, const std::array<int64_t, 4>& window, std::vector<uint8_t>& memory) const;

    // Channels, height and width of the output; the last number says whether it is floats.
    Target output(int64_t height, int64_t width, bool floating) const;

    // What each pass needs for images like `view`.
    using Geometries = std::vector<std::shared_ptr<const Geometry>>;
    Geometries geometries(const View& view);

    // The numbers that are drawn for each call.
    using Factors = std::vector<double>;
    void check_factors(const Factors& factors) const;

    void run(const Batch& from, const Target& to, const Geometries& geometries, const Factors& factors,
             int64_t threads) const;

    int64_t channels() const { return channels_; }
    const char* simd() const { return kernels_->name; }

  private:
    struct Known {
        int64_t height, width, pixel, values;
        bool floating;
        std::shared_ptr<const Geometry> geometry;
    };
    bool folded(const Stage& stage);
    std::shared_ptr<const Geometry> geometry(size_t pass, const View& view);
    // `ready`: the numbers of the only pass, if they are known.
    void run_image(const View& from, const Target& to, int64_t begin, int64_t end, const Geometries& geometries,
                   const Factors& factors, const Settled* ready) const;

    int64_t channels_, channels_out_;
    std::optional<Border> around_;
    std::vector<float> around_fill_;
    bool floats_[2] = {false, true};                   // the output, for bytes and for floats
    const char* misfit_[2] = {nullptr, nullptr};  // why bytes, or floats, cannot be taken
    const Kernels* kernels_;
    std::vector<Pass> passes_;
    std::vector<int64_t> slots_;  // of the factors, in the order of the stages
    std::mutex mutex_;
    std::vector<std::vector<Known>> known_;  // by pass: geometries of the sizes lately seen
};

// Fresh memory for large outputs comes page by page, which takes longer than to fill it; huge pages are hundreds of times
// fewer. Advice that the system does not take changes nothing.
void advise(uint8_t* memory, int64_t bytes);

// A program with images of one shape and layout: all is checked when it is made, once.
class Call {
  public:
    // `images` images, shape (C, H, W) and strides of one, `step` from one to the next, all strides in values.
    Call(std::shared_ptr<Program> program, int64_t images, std::array<int64_t, 3> shape, std::array<int64_t, 3> strides,
         int64_t step, bool floating, bool interleaved);

    // Shape of one output image, whether it is floats, and the bytes of all of them.
    const Target& output() const { return target_; }
    int64_t bytes() const { return bytes_; }

    // Bytes of memory that it holds, and bytes that it reads from: from the first value of the images to behind the last.
    int64_t held() const;
    int64_t reach() const { return extent_; }

    // Run on the images at `source`, into memory at `target` of bytes() bytes. `window`: (top, left, height, width) of
    // the part to use, for programs whose output has one size. `factors`: as many as the stages want, or more.
    void run(const uint8_t* source, uint8_t* target, int64_t threads, const std::array<int64_t, 4>* window,
             const Program::Factors& factors) const;

  private:
    std::shared_ptr<Program> program_;
    Batch batch_;
    Target target_;
    int64_t bytes_, extent_;
    Program::Geometries geometries_;
};

// Each of `images` images of `values` floats, by its share, with the one before it, by the rest; of the first, the last.
void mix_batch(const float* source, float* target, int64_t images, int64_t values, double share, int64_t threads,
               const Kernels& kernels);

}  // namespace lt
