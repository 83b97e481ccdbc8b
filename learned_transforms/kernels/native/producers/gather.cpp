#include "ir/verify.hpp"
#include "producers/row_producer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
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

namespace {

// Where the middle `count` pixels begin; an odd remainder goes where torchvision's crop and pad leave it.
int64_t centered(int64_t size, int64_t count) {
    return count > size ? -((count - size) / 2) : static_cast<int64_t>(std::nearbyint((size - count) / 2.0));
}

Keep follow(const Rule& rule, int64_t size) {
    if (rule.origin == Rule::mirror) return {size - 1, -1, size};
    Keep keep{rule.first, 1, rule.second};
    if (rule.origin == Rule::padded) keep = {-rule.first, 1, size + rule.first + rule.second};
    if (rule.origin == Rule::end) keep.start += size;
    if (rule.origin == Rule::middle) keep.start += centered(size, keep.count);
    if (rule.border == Border::zero || keep.count < 1 || !keep.beyond(size)) return keep;
    check_kept(keep);
    for (int64_t i = 0; i < keep.count; ++i) keep.list.push_back(bordered(keep.start + i, size, rule.border));
    keep.start = 0;
    return keep;
}

}  // namespace

Keep Keep::followed(const Keep& then) const {
    if (list.empty() && then.list.empty()) return {start + step * then.start, step * then.step, then.count};
    Keep found{0, 1, then.count};
    for (int64_t i = 0; i < then.count; ++i) {
        const int64_t place = then.at(i, count);
        found.list.push_back(place < 0 ? -1 : list.empty() ? start + step * place : list[static_cast<size_t>(place)]);
    }
    return found;
}

Keep Keep::on(int64_t size) const {
    if (rule) return follow(*rule, size);
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
        : Lines(gather.columns ? gather.columns->count : from.width, from.channels, from.dtype, from.values() > 1,
                scratch),
          rows_(gather.rows ? gather.rows->on(from.height) : Keep{0, 1, from.height}),
          columns_(gather.columns ? gather.columns->on(from.width) : Keep{0, 1, from.width}),
          from_(from),
          kernels_(kernels),
          ends_(ends()),
          fill_(static_cast<size_t>(from.channels * from.element())) {
        for (size_t c = 0; c < gather.fill.size(); ++c) {
            if (from.dtype == Dtype::uint8)
                fill_[c] = static_cast<uint8_t>(gather.fill[c]);
            else if (from.floating())
                std::memcpy(fill_.data() + c * sizeof(float), &gather.fill[c], sizeof(float));
            else
                kernels.cast(from.dtype, &gather.fill[c], 1, reinterpret_cast<uint16_t*>(fill_.data()) + c);
        }
        within_ = !columns_.list.empty() && !columns_.beyond(from_.width);
        if (within_) pick_by_windows();
    }

  private:
    // Bytes are picked one by one where they lie in no window, which is slower than pixel by pixel if these are larger.
    void pick_by_windows() {
        picks_.emplace(columns_, from_.width, from_.pixel, pixel_bytes(), kernels_.picked);
        const auto outside = std::count(picks_->base.begin(), picks_->base.end(), -1);
        if (pixel_bytes() > 1 && 2 * outside > static_cast<int64_t>(picks_->base.size())) picks_.reset();
    }

    void make(int64_t i, uint8_t* to) override {
        const int64_t y = rows_.at(i, from_.height);
        if (y == last_ && to == made_) return;  // It is there.
        last_ = y, made_ = to;
        for (int64_t plane = 0; plane < from_.planes(); ++plane)
            to = y < 0 ? filled(plane, width_, to) : taken(from_.data + plane * from_.channel + y * from_.row, plane, to);
    }

    int64_t pixel_bytes() const { return from_.values() * from_.element(); }

    // The pixels of one plane out of a row.
    uint8_t* taken(const uint8_t* row, int64_t plane, uint8_t* to) const {
        const int64_t bytes = pixel_bytes();
        if (picks_) {
            kernels_.pick(*picks_, row, to);
            return to + width_ * bytes;
        }
        if (within_) {
            const int64_t* list = columns_.list.data();
            return take_inside(row, from_.pixel, bytes, width_, [list](int64_t j) { return list[j]; }, to);
        }
        const auto at = [&](int64_t j) { return columns_.at(j, from_.width); };
        const int64_t step = columns_.step;
        if (!columns_.list.empty() || (step != 1 && step != -1))
            return take(row, from_.pixel, bytes, width_, at, fill_of(plane), to);
        const auto [before, inside, behind] = ends_;
        to = filled(plane, before, to);
        const int64_t first = columns_.start + step * before;
        if (step == 1)
            to = take_run(row, from_.pixel, bytes, inside, first, to);
        else if (from_.pixel == bytes && (bytes == 1 || bytes == 4))
            to = reversed(row, first, inside, bytes, to);
        else
            to = take_inside(row, from_.pixel, bytes, inside, [first](int64_t j) { return first - j; }, to);
        return filled(plane, behind, to);
    }

    // How many pixels of a line lie before those of the image, in it, and behind, where they are in a row.
    std::array<int64_t, 3> ends() const {
        const int64_t start = columns_.step == 1 ? columns_.start : from_.width - 1 - columns_.start;
        const int64_t before = std::clamp<int64_t>(-start, 0, width_);
        const int64_t stop = std::clamp<int64_t>(from_.width - start, before, width_);
        return {before, stop - before, width_ - stop};
    }

    uint8_t* filled(int64_t plane, int64_t pixels, uint8_t* to) const {
        const int64_t bytes = pixel_bytes();
        const uint8_t* fill = fill_of(plane);
        if (std::all_of(fill, fill + bytes, [&](uint8_t byte) { return byte == *fill; })) {
            std::memset(to, *fill, static_cast<size_t>(pixels * bytes));
            return to + pixels * bytes;
        }
        return take(nullptr, 0, bytes, pixels, [](int64_t) { return int64_t{-1}; }, fill, to);
    }

    uint8_t* reversed(const uint8_t* row, int64_t first, int64_t pixels, int64_t bytes, uint8_t* to) const {
        const uint8_t* in = row + (first + 1 - pixels) * bytes;
        if (bytes == 1)
            kernels_.reverse_bytes(in, pixels, to);
        else
            kernels_.reverse_words(reinterpret_cast<const uint32_t*>(in), pixels, reinterpret_cast<uint32_t*>(to));
        return to + pixels * bytes;
    }

    const uint8_t* fill_of(int64_t plane) const {
        return fill_.data() + plane * from_.values() * from_.element();
    }

    const Keep rows_, columns_;
    const View& from_;
    const Kernels& kernels_;
    const std::array<int64_t, 3> ends_;
    std::vector<uint8_t> fill_;  // [channels], values of the type of the image
    bool within_ = false;  // columns are listed, and all of them lie in the image
    std::optional<Picks> picks_;
    int64_t last_ = -2;  // the row that was taken last, and where to
    const uint8_t* made_ = nullptr;
};

}  // namespace

Picks::Picks(const Keep& columns, int64_t size, int64_t pixel, int64_t bytes, int64_t block) {
    at.reserve(static_cast<size_t>(columns.count * bytes));
    for (int64_t j = 0; j < columns.count; ++j)
        for (int64_t b = 0; b < bytes; ++b) at.push_back(static_cast<int32_t>(columns.at(j, size) * pixel + b));
    const int64_t all = columns.count * bytes, last = (size - 1) * pixel + bytes - 2 * block;  // of the windows
    for (int64_t first = 0; block && first < all; first += block) {
        const auto begin = at.begin() + first, end = at.begin() + std::min(first + block, all);
        const auto [least, most] = std::minmax_element(begin, end);
        const int64_t start = std::min<int64_t>(*least, last);
        const bool fits = start >= 0 && *most - start < 2 * block;
        base.push_back(static_cast<int32_t>(fits ? start : -1));
        index.resize(index.size() + static_cast<size_t>(block));
        const auto to = index.end() - block;
        if (fits) std::transform(begin, end, to, [&](int32_t x) { return static_cast<uint8_t>(x - start); });
    }
}

Source copied(const Gather& gather, const View& from, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Copied>(gather, from, kernels, scratch);
}

}  // namespace lt
