#include "lines.hpp"

#include <algorithm>
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

template <class T>
void list_nearest(const Nearest& nearest, int64_t size, std::vector<int64_t>& list) {
    const T start = static_cast<T>(nearest.offset), step = static_cast<T>(size) / static_cast<T>(nearest.size);
    double running = static_cast<double>(start * step);
    for (int64_t i = 0; i < nearest.size; ++i, running += static_cast<double>(step)) {
        const double place = nearest.running ? running : static_cast<double>((static_cast<T>(i) + start) * step);
        list.push_back(std::clamp<int64_t>(static_cast<int64_t>(place), 0, size - 1));
    }
}

}  // namespace

Keep Keep::on(int64_t size) const {
    if (!nearest) return *this;
    std::vector<int64_t> all;
    all.reserve(static_cast<size_t>(nearest->size));
    nearest->number == Number::float32 ? list_nearest<float>(*nearest, size, all)
                                       : list_nearest<double>(*nearest, size, all);
    Keep found{0, 1, count};
    for (int64_t i = 0; i < count; ++i) found.list.push_back(all[static_cast<size_t>(start + step * i)]);
    return found;
}

namespace {

class Copied final : public Lines {
  public:
    Copied(const Gather& gather, const View& from, const Kernels& kernels, Scratch& scratch)
        : Lines(gather.columns ? gather.columns->count : from.width, from.channels, from.floating, from.values() > 1,
                scratch),
          rows_(gather.rows ? gather.rows->on(from.height) : Keep{0, 1, from.height}),
          columns_(gather.columns ? gather.columns->on(from.width) : Keep{0, 1, from.width}),
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
        const int64_t y = rows_.at(i, from_.height);
        if (y < 0) {
            for (int64_t plane = 0; plane < from_.planes(); ++plane)
                to = take(nullptr, 0, bytes, width_, [](int64_t) { return int64_t{-1}; }, fill_of(plane), to);
            return;
        }
        const bool inside = columns_.list.empty() && columns_.at(0, from_.width) >= 0 && columns_.at(width_ - 1, from_.width) >= 0;
        const auto at = [&](int64_t j) { return columns_.at(j, from_.width); };
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            const uint8_t* row = from_.data + plane * from_.channel + y * from_.row;
            if (inside && columns_.step == -1 && from_.pixel == bytes && (bytes == 1 || bytes == 4))
                to = reversed(row, bytes, to);
            else if (inside && columns_.step == 1)
                to = take_run(row, from_.pixel, bytes, width_, columns_.start, to);
            else
                to = take(row, from_.pixel, bytes, width_, at, fill_of(plane), to);
        }
    }

    uint8_t* reversed(const uint8_t* row, int64_t bytes, uint8_t* to) const {
        const uint8_t* in = row + (columns_.start + 1 - width_) * bytes;
        if (bytes == 1)
            kernels_.reverse_bytes(in, width_, to);
        else
            kernels_.reverse_words(reinterpret_cast<const uint32_t*>(in), width_, reinterpret_cast<uint32_t*>(to));
        return to + width_ * bytes;
    }

    const uint8_t* fill_of(int64_t plane) const {
        return fill_.data() + plane * from_.values() * from_.element();
    }

    const Keep rows_, columns_;
    const View& from_;
    const Kernels& kernels_;
    std::vector<uint8_t> fill_;  // [channels], values of the type of the image
};

}  // namespace

Source copied(const Gather& gather, const View& from, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Copied>(gather, from, kernels, scratch);
}

}  // namespace lt
