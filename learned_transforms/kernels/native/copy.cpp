#include "lines.hpp"

#include <vector>

namespace lt {

int64_t bordered(int64_t index, int64_t size, Border border) {
    if (index >= 0 && index < size) return index;
    if (border == Border::zero) return -1;
    if (border == Border::reflect && size > 1) {
        index = modulo(index, 2 * size - 2);
        return index < size ? index : 2 * size - 2 - index;
    }
    if (border == Border::symmetric) {
        index = modulo(index, 2 * size);
        return index < size ? index : 2 * size - 1 - index;
    }
    return index < 0 ? 0 : size - 1;
}

namespace {

class Copied final : public Lines {
  public:
    Copied(const Gather& gather, const View& from, const Kernels& kernels, Scratch& scratch)
        : Lines(gather.columns ? gather.columns->count : from.width, from.channels, from.floating, from.values() > 1,
                scratch),
          gather_(gather),
          whole_{0, 1, from.width},
          keep_(gather.columns ? *gather.columns : whole_),
          from_(from),
          kernels_(kernels),
          fill_(static_cast<size_t>(from.channels * from.element())) {
        for (size_t c = 0; c < gather.fill.size(); ++c) {
            if (from.floating)
                std::memcpy(fill_.data() + c * sizeof(float), &gather.fill[c], sizeof(float));
            else
                fill_[c] = static_cast<uint8_t>(gather.fill[c]);
        }
    }

  private:
    void make(int64_t i, uint8_t* to) override {
        const int64_t bytes = from_.values() * from_.element();
        const int64_t y = gather_.rows ? gather_.rows->at(i, from_.height) : i;
        if (y < 0) {
            for (int64_t plane = 0; plane < from_.planes(); ++plane)
                to = take(nullptr, 0, bytes, width_, [](int64_t) { return int64_t{-1}; }, fill_of(plane), to);
            return;
        }
        const bool inside = keep_.list.empty() && keep_.at(0, from_.width) >= 0 && keep_.at(width_ - 1, from_.width) >= 0;
        const auto at = [&](int64_t j) { return keep_.at(j, from_.width); };
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            const uint8_t* row = from_.data + plane * from_.channel + y * from_.row;
            if (inside && keep_.step == -1 && from_.pixel == bytes && (bytes == 1 || bytes == 4))
                to = reversed(row, bytes, to);
            else if (inside && keep_.step == 1)
                to = take_run(row, from_.pixel, bytes, width_, keep_.start, to);
            else
                to = take(row, from_.pixel, bytes, width_, at, fill_of(plane), to);
        }
    }

    uint8_t* reversed(const uint8_t* row, int64_t bytes, uint8_t* to) const {
        const uint8_t* in = row + (keep_.start + 1 - width_) * bytes;
        if (bytes == 1)
            kernels_.reverse_bytes(in, width_, to);
        else
            kernels_.reverse_words(reinterpret_cast<const uint32_t*>(in), width_, reinterpret_cast<uint32_t*>(to));
        return to + width_ * bytes;
    }

    const uint8_t* fill_of(int64_t plane) const {
        return fill_.data() + plane * from_.values() * from_.element();
    }

    const Gather& gather_;
    const Keep whole_;
    const Keep& keep_;
    const View& from_;
    const Kernels& kernels_;
    std::vector<uint8_t> fill_;  // [channels], values of the type of the image
};

}  // namespace

Source copied(const Gather& gather, const View& from, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Copied>(gather, from, kernels, scratch);
}

}  // namespace lt
