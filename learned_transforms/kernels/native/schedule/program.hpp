// A plan for images of every size: what it comes to for one of them, and calls on their memory.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "schedule/passes.hpp"

namespace lt {

// The kernels of that name, such as portable or avx2; without a name, the fastest that there are.
const Kernels* choose(const std::string& name);

class Program {
  public:
    Program(int64_t channels, const std::string& simd);

    void add(Shared stage);

    // What lies around an image, for windows that reach beyond it: a border, and for zero the fill of each channel.
    void surround(Border border, std::vector<float> fill);

    // Throws unless a window (top, left, height, width) may reach beyond an image as far as it does.
    void check_beyond(const std::array<int64_t, 4>& window) const;

    // The part of an image in such a window, copied into `memory`.
    Batch seen(const Batch& from, const std::array<int64_t, 4>& window, std::vector<uint8_t>& memory) const;

    // What it comes to for images of one size: crops and flips move into what resizes, tables join. `factors`: what was
    // drawn, where copies begin where it is; without them, only the output is right.
    std::shared_ptr<const Passes> lower(Size size, Dtype dtype, const Factors* factors = nullptr) const;

    // Whether some copy begins where it is drawn for every image.
    bool begins() const { return begins_; }

    // Whether that is the same for images of both sizes.
    bool alike(const Size& one, const Size& other) const;

    Border border() const { return around_.value_or(Border::edge); }
    const std::vector<float>& fill() const { return around_fill_; }
    int64_t channels() const { return channels_; }
    const Kernels& kernels() const { return *kernels_; }

  private:
    int64_t channels_, channels_out_;
    bool begins_ = false;
    std::optional<Border> around_;
    std::vector<float> around_fill_;
    const Kernels* kernels_;
    std::vector<Shared> stages_;
};

// Fresh memory for large outputs comes page by page, which takes longer than to fill it; huge pages are hundreds of times
// fewer. Advice that the system does not take changes nothing.
void advise(uint8_t* memory, int64_t bytes);

// A program with images of one shape and layout: all is checked when it is made, once.
class Call {
  public:
    // `images` images, shape (C, H, W) and strides of one, `step` from one to the next, all strides in values. Where
    // they are `windowed`, every run comes with a window; so it does, or with where copies begin, in other programs. Nothing
    // is kept for whole images then.
    Call(std::shared_ptr<const Program> program, int64_t images, std::array<int64_t, 3> shape, std::array<int64_t, 3> strides,
         int64_t step, Dtype dtype, bool interleaved, bool windowed);

    // The same for one image of another shape (C, H, W) and layout.
    std::shared_ptr<const Call> like(std::array<int64_t, 3> shape, std::array<int64_t, 3> strides, bool windowed) const {
        return std::make_shared<const Call>(program_, 1, shape, strides, 0, batch_.first.dtype, target_.interleaved, windowed);
    }

    // Shape and dtype of one output image, and the bytes of all of them.
    const Target& output() const { return target_; }
    int64_t passes() const { return passes_->count(); }
    int64_t bytes() const { return bytes_; }

    // Values that a run reads and writes, by which threads are given to it.
    int64_t work() const;

    // Bytes of memory that it holds once it ran, about; and bytes that it reads from: from the first value of the images
    // to behind the last.
    int64_t held() const;
    int64_t reach() const { return extent_; }

    // Run on the images at `source`, into memory at `target` of bytes() bytes. `window`: (top, left, height, width) of
    // the part to use, for programs whose output has one size. `factors`: as many as the stages want, or more.
    void run(const uint8_t* source, uint8_t* target, int64_t threads, const std::array<int64_t, 4>* window,
             const Factors& factors) const;

  private:
    std::shared_ptr<const Program> program_;
    std::shared_ptr<const Passes> passes_;
    Batch batch_;
    Target target_;
    int64_t bytes_, extent_;
    bool windowed_;
    // Of whole images. They are made in the first run, when the output has its memory: what lives on would else take a
    // part of where the last one was, and the next would need fresh memory.
    mutable std::once_flag made_;
    mutable Geometries geometries_;
};

// A run of a call, into memory at `target`; see Call::run.
struct Job {
    std::shared_ptr<const Call> call;
    const uint8_t* source;
    uint8_t* target;
    std::optional<std::array<int64_t, 4>> window;
    Factors factors;

    void run(int64_t threads) const { call->run(source, target, threads, window ? &*window : nullptr, factors); }
};

// All of them; over threads, a job on each, unless there are fewer jobs than threads.
void run_all(const std::vector<Job>& jobs, int64_t threads);

// Each of `images` images of `values` floats, by its share, with the one before it, by the rest; of the first, the last.
void mix_batch(const float* source, float* target, int64_t images, int64_t values, double share, int64_t threads,
               const Kernels& kernels);

}  // namespace lt
