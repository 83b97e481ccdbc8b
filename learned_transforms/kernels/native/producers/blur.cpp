#include "producers/row_ring.hpp"

namespace lt {
namespace {

class Blurred final : public Lines {
  public:
    Blurred(const Blur& blur, const std::vector<float>& down, const std::vector<float>& along, const View& from,
            int64_t begin, const Kernels& kernels, Scratch& scratch)
        : Lines(from.width, from.channels, dtype_of(blur.arithmetic.rounding), from.values() > 1, scratch),
          blur_(blur),
          down_(down),
          along_(along),
          from_(from),
          kernels_(kernels),
          height_(static_cast<int64_t>(down.size())),
          side_(static_cast<int64_t>(along.size()) / 2),
          ring_(from, height_ + BLURRED - 1, 0, blur.border, begin - height_ / 2, nullptr, scratch),
          window_(scratch.get<const uint8_t*>(Scratch::POINTERS, height_ + BLURRED - 1)),
          part_((from.width + 2 * side_) * from.values() + PADDING),
          sums_(scratch.get<float>(Scratch::SUMS, BLURRED * from.planes() * part_)),
          line_(scratch.get<float>(Scratch::FLOATS, from.width * from.values())),
          beyond_(scratch.get<int64_t>(Scratch::PLACES, 2 * side_)) {
        for (int64_t j = 0; j < side_; ++j) {
            beyond_[j] = bordered(j - side_, width_, blur.border);
            beyond_[side_ + j] = bordered(width_ + j, width_, blur.border);
        }
    }

  private:
    void make(int64_t i, uint8_t* to) override {
        if (i < first_ || i >= first_ + BLURRED) sum_down(i);
        const int64_t n = width_ * from_.values(), size = size_of(dtype_);
        for (int64_t plane = 0; plane < from_.planes(); ++plane, to += n * size) {
            float* made = floating() ? reinterpret_cast<float*>(to) : line_;
            kernels_.blur_along(along_.data(), 2 * side_ + 1, from_.values(), blur_.arithmetic.fma,
                                sums(i - first_, plane), n, made);
            if (!floating()) kernels_.to_bytes(blur_.arithmetic.rounding, made, n, to);
        }
    }

    // Sums of the rows of BLURRED lines from number i on, and what lies beyond their ends.
    void sum_down(int64_t i) {
        const int64_t top = i - height_ / 2, rows = height_ + BLURRED - 1, n = width_ * from_.values();
        const int64_t bytes = from_.values() * int64_t{sizeof(float)}, before = side_ * from_.values();
        const auto left = [&](int64_t j) { return beyond_[j]; };
        const auto right = [&](int64_t j) { return beyond_[side_ + j]; };
        first_ = i;
        ring_.need(top + rows);
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            for (int64_t k = 0; k < rows; ++k) window_[k] = ring_.row(top + k, plane);
            float* out[BLURRED];
            for (int64_t r = 0; r < BLURRED; ++r) out[r] = sums(r, plane) + before;
            if (from_.floating())
                kernels_.blur_down_floats(down_.data(), height_, blur_.arithmetic.fma,
                                          reinterpret_cast<const float* const*>(window_), n, out);
            else
                kernels_.blur_down_bytes(down_.data(), height_, blur_.arithmetic.fma, window_, n, out);
            for (float* row : out) {
                const auto* in = reinterpret_cast<const uint8_t*>(row);
                take_inside(in, bytes, bytes, side_, left, reinterpret_cast<uint8_t*>(row - before));
                take_inside(in, bytes, bytes, side_, right, reinterpret_cast<uint8_t*>(row + n));
            }
        }
    }

    float* sums(int64_t r, int64_t plane) const { return sums_ + (r * from_.planes() + plane) * part_; }

    const Blur& blur_;
    const std::vector<float>&down_, &along_;
    const View& from_;
    const Kernels& kernels_;
    const int64_t height_, side_;
    Ring ring_;
    const uint8_t** window_;
    const int64_t part_;  // values of one plane of a row of sums
    float* sums_;
    float* line_;
    int64_t* beyond_;  // the columns to take for those before the first, and behind the last
    int64_t first_ = -BLURRED;  // of the lines that are summed
};

}  // namespace

Source blurred(const Blur& blur, const std::vector<float>& down, const std::vector<float>& along, const View& from,
               int64_t begin, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Blurred>(blur, down, along, from, begin, kernels, scratch);
}

}  // namespace lt
