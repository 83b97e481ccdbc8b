#include "lines.hpp"

#include <algorithm>
#include <cstring>

namespace lt {
namespace {

constexpr int MOST_ROWS = 32;    // done together, at most
constexpr int64_t BYTES = 4096;  // of rows done together, about: they stay in the first cache

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

const Gather& gather_of(const Change& change) {
    static const Gather EVERYTHING{};
    return std::holds_alternative<Gather>(change) ? std::get<Gather>(change) : EVERYTHING;
}

}  // namespace

Lines::Lines(const Change& change, const View& from, const Geometry* geometry, int64_t begin, int64_t end,
             const Kernels& kernels, Scratch& scratch)
    : change_(change),
      from_(from),
      geometry_(geometry),
      kernels_(kernels),
      scratch_(scratch),
      resample_(std::get_if<Resample>(&change)) {
    if (!resample_) {
        const auto& columns = gather_of(change).columns;
        width_ = columns ? columns->count : from.width;
        values_ = width_ * from.channels;
        floating_ = from.floating;
        line_ = scratch.get(Scratch::LINE, values_ * from.element());
        return;
    }
    const Arithmetic& arithmetic = resample_->arithmetic;
    whole_ = arithmetic.number == Number::integer;
    floating_ = arithmetic.rounding == Rounding::none;
    width_ = geometry->columns.outputs();
    values_ = width_ * from.channels;
    line_ = scratch.get(Scratch::LINE, values_ * 4);
    sums_ = whole_ ? nullptr : scratch.get<float>(Scratch::FLOATS, values_);
    const Taps& rows = geometry->rows;
    backwards_ = rows.first.front() > rows.first.back();
    for (int64_t i = begin; i < end; ++i) last_ = std::max<int64_t>(last_, rows.first[i] + rows.count[i]);
    pointers_ = scratch.get<const uint8_t*>(Scratch::POINTERS, rows.widest);
    if (whole_) copy_tail();
    if (geometry->rows_first) return;
    capacity_ = 1;
    const int64_t stride = round_up(values_ * (whole_ ? 1 : 4), PADDING) + PADDING;
    batch_ = static_cast<int>(std::clamp<int64_t>(BYTES / stride / GROUP * GROUP, GROUP, MOST_ROWS));
    while (capacity_ < rows.widest + batch_) capacity_ *= 2;
    uint8_t* ring = scratch.get(Scratch::RING, capacity_ * stride);
    slots_ = scratch.get<uint8_t*>(Scratch::SLOTS, 2 * capacity_);
    for (int64_t n = 0; n < 2 * capacity_; ++n) slots_[n] = ring + (n & (capacity_ - 1)) * stride;
}

const uint8_t* Lines::line(int64_t i) {
    resample_ ? resampled(i, line_) : copied(i, line_);
    return line_;
}

void Lines::line(int64_t i, uint8_t* to) {
    if (backwards_)
        std::memcpy(to, line(i), static_cast<size_t>(values_ * (floating_ ? 4 : 1)));
    else
        resample_ ? resampled(i, to) : copied(i, to);
}

// Vectors read on behind a row. Where that would leave the image's memory, the row is copied to where it does not.
void Lines::copy_tail() {
    const int64_t bytes = from_.width * from_.pixel;
    reach_ = std::max(geometry_->along.reach, round_up(bytes, PADDING));
    tail_starts_ = scratch_.get<int64_t>(Scratch::TAIL_STARTS, from_.planes());
    int64_t copies = 0;
    for (int64_t plane = 0; plane < from_.planes(); ++plane) {
        int64_t& start = tail_starts_[plane];
        start = from_.height;
        while (start > 0 && from_.end - (from_.data + plane * from_.channel + (start - 1) * from_.row) < reach_)
            --start, ++copies;
    }
    tail_ = copies ? scratch_.get(Scratch::TAIL, copies * reach_) : nullptr;
    uint8_t* to = tail_;
    for (int64_t plane = 0; plane < from_.planes(); ++plane)
        for (int64_t y = tail_starts_[plane]; y < from_.height; ++y, to += reach_) {
            const uint8_t* start = from_.data + plane * from_.channel + y * from_.row;
            std::memcpy(to, start, static_cast<size_t>(std::min<int64_t>(bytes, from_.end - start)));
        }
}

const uint8_t* Lines::row(int64_t plane, int64_t y) const {
    if (whole_ && y >= tail_starts_[plane]) {
        int64_t before = 0;
        for (int64_t p = 0; p < plane; ++p) before += from_.height - tail_starts_[p];
        return tail_ + (before + y - tail_starts_[plane]) * reach_;
    }
    return from_.data + plane * from_.channel + y * from_.row;
}

void Lines::copied(int64_t i, uint8_t* line) {
    const Gather& gather = gather_of(change_);
    const int64_t size = from_.element(), values = from_.values(), bytes = values * size;
    const int64_t y = gather.rows ? gather.rows->at(i, from_.height) : i;
    if (y < 0) {
        std::memset(line, 0, static_cast<size_t>(values_ * size));
        return;
    }
    for (int64_t plane = 0; plane < from_.planes(); ++plane) {
        const uint8_t* source = from_.data + plane * from_.channel + y * from_.row;
        uint8_t* to = line + plane * width_ * size;
        const Keep keep = gather.columns.value_or(Keep{0, 1, width_});
        const bool inside = keep.at(0, from_.width) >= 0 && keep.at(width_ - 1, from_.width) >= 0;
        if (keep.step == 1 && inside && from_.pixel == bytes) {
            std::memcpy(to, source + keep.start * from_.pixel, static_cast<size_t>(width_ * bytes));
            continue;
        }
        for (int64_t j = 0; j < width_; ++j, to += bytes) {
            const int64_t x = keep.at(j, from_.width);
            if (x < 0)
                std::memset(to, 0, static_cast<size_t>(bytes));
            else
                std::memcpy(to, source + x * from_.pixel, static_cast<size_t>(bytes));
        }
    }
}

// The pass along `count` rows from `first` on, into the ring; `padded` is count rounded up to whole groups.
void Lines::along_rows(int64_t first, int count, int padded) {
    const Arithmetic& arithmetic = resample_->arithmetic;
    const int64_t part = width_ * from_.values();  // values of one plane
    const int pixel = static_cast<int>(from_.pixel / from_.element()), values = static_cast<int>(from_.values());
    const uint8_t* in[MOST_ROWS];
    uint8_t* out[MOST_ROWS];
    uint8_t* const* slot = slots(first);
    for (int64_t plane = 0; plane < from_.planes(); ++plane) {
        const int64_t offset = plane * part * (whole_ ? 1 : 4);
        for (int r = 0; r < count; ++r) out[r] = slot[r] + offset;
        if (whole_ && first + count > tail_starts_[plane]) {
            for (int r = 0; r < count; ++r) in[r] = row(plane, first + r);
        } else {
            const uint8_t* start = from_.data + plane * from_.channel + first * from_.row;
            for (int r = 0; r < count; ++r, start += from_.row) in[r] = start;
        }
        for (int r = count; r < padded; ++r) in[r] = in[count - 1], out[r] = out[count - 1];  // It is done again.
        if (whole_) {
            kernels_.columns(geometry_->along, in, out, padded);
            continue;
        }
        for (int r = 0; r < count; ++r) {
            float* sums = reinterpret_cast<float*>(out[r]);
            if (from_.floating)
                kernels_.columns_floats(geometry_->columns, pixel, values, arithmetic.fma,
                                        reinterpret_cast<const float*>(in[r]), sums);
            else
                kernels_.columns_bytes(geometry_->columns, pixel, values, arithmetic.fma, in[r], sums);
            if (arithmetic.each_pass) kernels_.to_levels(arithmetic.rounding, sums, part, sums);
        }
    }
}

// Rows [first, stop) in the ring.
void Lines::need(int64_t first, int64_t stop) {
    if (high_ < first) high_ = first;
    while (high_ < stop) {
        const int count = static_cast<int>(std::min<int64_t>(batch_, last_ - high_));
        along_rows(high_, count, static_cast<int>(round_up(count, GROUP)));
        high_ += count;
    }
}

// Float sums of a line become its values.
void Lines::finish(const float* sums, uint8_t* to) {
    if (!floating_) kernels_.to_bytes(resample_->arithmetic.rounding, sums, values_, to);
}

void Lines::resampled(int64_t i, uint8_t* to) {
    const Arithmetic& arithmetic = resample_->arithmetic;
    const Geometry& g = *geometry_;
    const int64_t first = g.rows.first[i];
    const int count = g.rows.count[i];
    float* sums = floating_ ? reinterpret_cast<float*>(to) : sums_;
    if (!g.rows_first) {
        need(first, first + count);
        if (whole_) {
            kernels_.rows(g.of(i), slots(first), values_, to);
        } else {
            const auto rows = reinterpret_cast<const float* const*>(slots(first));
            kernels_.rows_floats(g.rows, i, arithmetic.fma, rows, values_, sums);
            finish(sums, to);
        }
        return;
    }
    const int64_t n = from_.width * from_.pixel / from_.element();  // values of a row, unused ones included
    const int64_t part = width_ * from_.values();
    for (int64_t plane = 0; plane < from_.planes(); ++plane) {
        for (int k = 0; k < count; ++k) pointers_[k] = row(plane, first + k);
        if (whole_) {
            uint8_t* middle = scratch_.get(Scratch::MIDDLE, reach_);
            kernels_.rows(g.of(i), pointers_, n, middle);
            const uint8_t* in[GROUP];
            uint8_t* out[GROUP];
            std::fill_n(in, GROUP, middle), std::fill_n(out, GROUP, to + plane * part);
            kernels_.columns(g.along, in, out, GROUP);
            continue;
        }
        float* middle = scratch_.get<float>(Scratch::MIDDLE, n);
        if (from_.floating)
            kernels_.rows_floats(g.rows, i, arithmetic.fma,
                                 reinterpret_cast<const float* const*>(pointers_), n, middle);
        else
            kernels_.rows_bytes(g.rows, i, arithmetic.fma, pointers_, n, middle);
        if (arithmetic.each_pass) kernels_.to_levels(arithmetic.rounding, middle, n, middle);
        kernels_.columns_floats(g.columns, static_cast<int>(from_.pixel / from_.element()),
                                static_cast<int>(from_.values()), arithmetic.fma, middle, sums + plane * part);
    }
    if (!whole_) finish(sums, to);
}

}  // namespace lt
