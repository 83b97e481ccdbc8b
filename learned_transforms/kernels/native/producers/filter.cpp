#include <algorithm>

#include "producers/row_ring.hpp"
#include "simd/accumulate-inl.hpp"

namespace lt {
namespace {

class Filtered final : public Lines {
  public:
    Filtered(const Filter& filter, const Blending* blending, const View& from, int64_t begin, const Kernels& kernels,
             Scratch& scratch)
        : Lines(from.width, from.channels,
                dtype_of(blending ? blending->rounding : filter.arithmetic.rounding), from.values() > 1, scratch),
          filter_(filter),
          blending_(blending),
          from_(from),
          kernels_(kernels),
          floats_in_(from.floating() || filter.arithmetic.number == Number::float32),
          smooth_floats_(filter.arithmetic.rounding == Rounding::none),
          ring_(from, filter.height, filter.width / 2, filter.border, begin - filter.height / 2,
                floats_in_ && !from.floating() ? &kernels : nullptr, scratch),
          window_(scratch.get<const uint8_t*>(Scratch::POINTERS, filter.height)),
          smooth_(scratch.get(Scratch::MIDDLE, from.width * from.values())),
          floats_(scratch.get<float>(Scratch::FLOATS, from.width * from.values())) {}

  private:
    void make(int64_t i, uint8_t* to) override {
        const int64_t n = width_ * from_.values();
        ring_.need(i - filter_.height / 2 + filter_.height);
        for (int64_t plane = 0; plane < from_.planes(); ++plane, to += n * size_of(dtype_)) {
            const uint8_t* middle = ring_.row(i, plane) + filter_.width / 2 * from_.values() * size_in();
            if (!blending_) {
                smooth(i, plane, middle, to);
                continue;
            }
            smooth(i, plane, middle, smooth_floats_ ? reinterpret_cast<uint8_t*>(floats_) : smooth_);
            if (!smooth_floats_) kernels_.to_floats(smooth_, n, floats_);
            if (floats_in_)
                kernels_.blend_floats(*blending_, reinterpret_cast<const float*>(middle), floats_, n, to);
            else
                kernels_.blend_bytes(*blending_, middle, floats_, n, to);
            if (from_.floating() && filter_.border == Border::copy && blending_->form == Blend::from_image)
                keep_edges(i, reinterpret_cast<const float*>(middle), to);
        }
    }

    // Of an infinite pixel and itself, the difference is no number: what is not filtered is not blended either.
    void keep_edges(int64_t i, const float* middle, uint8_t* to) {
        Blending kept = *blending_;
        kept.form = Blend::sum, kept.a = 1, kept.b = 0;
        const int64_t n = width_ * from_.values(), side = filter_.width / 2 * from_.values();
        const auto keep = [&](int64_t begin, int64_t count) {
            std::fill_n(floats_ + begin, count, 0.f);
            kernels_.blend_floats(kept, middle + begin, floats_ + begin, count, to + begin * size_of(dtype_));
        };
        if (!inside(i)) return keep(0, n);
        keep(0, side), keep(n - side, side);
    }

    // Whether the window lies within the image somewhere in line i.
    bool inside(int64_t i) const {
        const int64_t top = i - filter_.height / 2;
        return top >= 0 && top + filter_.height <= from_.height && width_ > 2 * (filter_.width / 2);
    }

    // Line i of a plane, through the filter; `middle`: as it is.
    void smooth(int64_t i, int64_t plane, const uint8_t* middle, uint8_t* to) {
        const int64_t top = i - filter_.height / 2, side = filter_.width / 2, n = width_ * from_.values();
        const bool copy = filter_.border == Border::copy;
        if (copy && !inside(i)) return copy_plain(middle, 0, n, to);
        for (int64_t k = 0; k < filter_.height; ++k) window_[k] = ring_.row(top + k, plane);
        if (floats_in_)
            kernels_.filter_floats(filter_, reinterpret_cast<const float* const*>(window_), from_.values(), n, to);
        else
            kernels_.filter_bytes(filter_, window_, from_.values(), n, to);
        if (!copy) return;
        copy_plain(middle, 0, side * from_.values(), to);
        copy_plain(middle, n - side * from_.values(), n, to);
    }

    // Values [begin, end) of a row as they are, in the type that the filter gives.
    void copy_plain(const uint8_t* row, int64_t begin, int64_t end, uint8_t* to) const {
        const uint8_t* in = row + begin * size_in();
        const auto* floats = reinterpret_cast<const float*>(in);
        const int64_t n = end - begin;
        if (smooth_floats_) {
            float* out = reinterpret_cast<float*>(to) + begin;
            floats_in_ ? copy_values(floats, n, out) : copy_values(in, n, out);
        } else {
            floats_in_ ? copy_values(floats, n, to + begin) : copy_values(in, n, to + begin);
        }
    }

    int64_t size_in() const { return floats_in_ ? 4 : 1; }

    const Filter& filter_;
    const Blending* blending_;
    const View& from_;
    const Kernels& kernels_;
    const bool floats_in_;  // what the filter takes: bytes are widened once, not once for each term
    const bool smooth_floats_;
    Ring ring_;
    const uint8_t** window_;
    uint8_t* smooth_;  // a line through the filter, before it is blended
    float* floats_;
};

}  // namespace

Source filtered(const Filter& filter, const Blending* blending, const View& from, int64_t begin, const Kernels& kernels,
                Scratch& scratch) {
    return std::make_unique<Filtered>(filter, blending, from, begin, kernels, scratch);
}

}  // namespace lt
