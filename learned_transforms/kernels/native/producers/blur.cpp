#include <algorithm>

#include "producers/row_ring.hpp"

namespace lt {
namespace {

class Blurred final : public Lines {
  public:
    Blurred(const Blur& blur, const std::vector<float>& down, const std::vector<float>& along, const Window* window,
            const View& from, int64_t begin, const Kernels& kernels, Scratch& scratch)
        : Lines(from.width, from.channels, dtype_of(blur.arithmetic.rounding), from.values() > 1, scratch),
          blur_(blur),
          down_(down),
          along_(along),
          whole_(window),
          from_(from),
          kernels_(kernels),
          height_(static_cast<int64_t>(down.size())),
          side_(static_cast<int64_t>(along.size()) / 2),
          reach_(window ? window->height / 2 : height_ / 2),
          beside_(window ? window->width / 2 : 0),
          ring_(from, 2 * reach_ + BLURRED, beside_, blur.border, begin - reach_, nullptr, scratch),
          window_(scratch.get<const uint8_t*>(Scratch::POINTERS, 2 * reach_ + BLURRED)),
          part_((from.width + 2 * side_) * from.values() + PADDING),
          sums_(scratch.get<float>(Scratch::SUMS, BLURRED * from.planes() * part_)),
          line_(scratch.get<float>(Scratch::FLOATS, from.width * from.values() + AGAIN)),
          beyond_(scratch.get<int64_t>(Scratch::PLACES, 2 * side_)) {
        for (int64_t j = 0; j < side_; ++j) {
            beyond_[j] = bordered(j - side_, width_, blur.border);
            beyond_[side_ + j] = bordered(width_ + j, width_, blur.border);
        }
        if (window) remember(scratch);
    }

  private:
    void make(int64_t i, uint8_t* to) override {
        if (i < first_ || i >= first_ + BLURRED) {
            sum_down(i);
            if (whole_) finish();
        }
        const int64_t n = width_ * from_.values(), size = size_of(dtype_);
        if (whole_) return static_cast<void>(std::memcpy(to, finished(i - first_, 0), static_cast<size_t>(values_)));
        for (int64_t plane = 0; plane < from_.planes(); ++plane, to += n * size)
            sum_along(i - first_, plane, floating() ? reinterpret_cast<float*>(to) : line_, to);
    }

    void sum_along(int64_t r, int64_t plane, float* made, uint8_t* to) {
        const int64_t n = width_ * from_.values();
        kernels_.blur_along(along_.data(), 2 * side_ + 1, from_.values(), blur_.arithmetic.fma, sums(r, plane), n, made);
        if (!floating()) kernels_.to_bytes(blur_.arithmetic.rounding, made, n, to);
    }

    // Memory for lines that are finished together, and for what is summed again of these.
    void remember(Scratch& scratch) {
        const int64_t blocks = (width_ * from_.values() + AGAIN - 1) / AGAIN, lines = BLURRED * from_.planes();
        finished_ = scratch.get(Scratch::FINISHED, BLURRED * values_);
        unsure_ = scratch.get<int64_t>(Scratch::UNSURE, blocks);
        blocks_ = scratch.get<Block>(Scratch::BLOCKS, blocks * lines);
        rows_ = scratch.get<const uint8_t*>(Scratch::ROWS, from_.planes() * (2 * reach_ + BLURRED));
        again_ = scratch.get<float>(Scratch::AGAIN_SUMS, blocks * lines * AGAIN);
        seen_ = scratch.get<float>(Scratch::SEEN, whole_->memory(from_.values()));
    }

    uint8_t* finished(int64_t r, int64_t plane) const { return finished_ + r * values_ + plane * width_ * from_.values(); }

    // All lines that are summed down, along; values that may round otherwise as sums over the whole window, as these.
    void finish() {
        const int64_t n = width_ * from_.values(), rows = 2 * reach_ + BLURRED;
        int64_t count = 0;
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            const uint8_t** first = rows_ + plane * rows;
            for (int64_t k = 0; k < rows; ++k) first[k] = ring_.row(first_ - reach_ + k, plane);
            for (int64_t r = 0; r < BLURRED; ++r) {
                sum_along(r, plane, line_, finished(r, plane));
                const int64_t found = kernels_.unsure(*whole_, line_, n, unsure_);
                for (int64_t b = 0; b < found; ++b)
                    blocks_[count++] = {first + r, unsure_[b], finished(r, plane) + unsure_[b], std::min(AGAIN, n - unsure_[b])};
            }
        }
        kernels_.again(*whole_, blocks_, count, from_.values(), seen_, again_);
        for (int64_t b = 0; b < count; ++b)
            kernels_.to_bytes(blur_.arithmetic.rounding, again_ + b * AGAIN, blocks_[b].values, blocks_[b].out);
    }

    // Sums of the rows of BLURRED lines from number i on, and what lies beyond their ends.
    void sum_down(int64_t i) {
        const int64_t top = i - height_ / 2, rows = height_ + BLURRED - 1, n = width_ * from_.values();
        const int64_t bytes = from_.values() * int64_t{sizeof(float)}, before = side_ * from_.values();
        const auto left = [&](int64_t j) { return beyond_[j]; };
        const auto right = [&](int64_t j) { return beyond_[side_ + j]; };
        first_ = i;
        ring_.need(i + reach_ + BLURRED);
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            const int64_t inside = beside_ * from_.values() * from_.element();
            for (int64_t k = 0; k < rows; ++k) window_[k] = ring_.row(top + k, plane) + inside;
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
    const Window* whole_;
    const View& from_;
    const Kernels& kernels_;
    const int64_t height_, side_;
    const int64_t reach_, beside_;  // of what the ring holds, above and below a line, and beside it
    Ring ring_;
    const uint8_t** window_;
    const int64_t part_;  // values of one plane of a row of sums
    float* sums_;
    float* line_;
    int64_t* beyond_;  // the columns to take for those before the first, and behind the last
    int64_t first_ = -BLURRED;  // of the lines that are summed
    uint8_t* finished_ = nullptr;
    int64_t* unsure_ = nullptr;  // first values of blocks of a line
    Block* blocks_ = nullptr;
    const uint8_t** rows_ = nullptr;  // of the ring, by plane
    float *again_ = nullptr, *seen_ = nullptr;
};

}  // namespace

Source blurred(const Blur& blur, const std::vector<float>& down, const std::vector<float>& along, const Window* window,
               const View& from, int64_t begin, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Blurred>(blur, down, along, window, from, begin, kernels, scratch);
}

}  // namespace lt
