#include <algorithm>

#include "producers/row_producer.hpp"

namespace lt {
namespace {

constexpr int MOST_ROWS = 32;    // done together, at most
constexpr int64_t BYTES = 4096;  // of rows done together, about: they stay in the first cache
constexpr int64_t ALIGNED = 64;  // bytes of a cache line

int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Of a row as a pass along it sees it, which may reach beyond its ends.
int64_t turned_pixels(const Taps& columns) {
    return std::max<int64_t>(columns.stop, columns.size) - std::min<int64_t>(columns.start, 0);
}

// The next cache line.
float* aligned(float* memory) {
    return reinterpret_cast<float*>(round_up(reinterpret_cast<int64_t>(memory), ALIGNED));
}

class Resampled final : public Lines {
  public:
    Resampled(const Resample& resample, const Table* before, const View& from, const Geometry& geometry, int64_t begin,
              int64_t end, const Kernels& kernels, Scratch& scratch);

  private:
    void make(int64_t i, uint8_t* to) override;
    void need(int64_t first, int64_t stop);
    void along_rows(int64_t first, int count, int padded);
    void convert(int count, const uint8_t** rows);
    void weigh_columns();
    void sum_jointly(int64_t i, float* sums) const;
    const uint8_t* row(int64_t plane, int64_t y) const;
    uint8_t** slots(int64_t y) const { return slots_ + (y & (capacity_ - 1)); }
    void copy_tail();
    void finish(const float* sums, uint8_t* to);

    const Arithmetic& arithmetic_;
    const Table* const before_;  // makes floats of bytes, row by row
    const View& from_;
    const Geometry& geometry_;
    const Kernels& kernels_;
    Scratch& scratch_;
    const bool rounds_between_;  // float sums become levels, and are clamped, between the passes
    const bool whole_;  // bytes between the passes; otherwise sums of four bytes, floats or integers
    const bool joint_;    // both passes are one; a row of the ring is two: first pixels of outputs, and last
    const bool windows_;  // rows are read in windows, past their end
    const bool floats_;  // are summed
    float* sums_ = nullptr;
    // A ring of rows that the pass along them is done with: those from low_ to before high_.
    // Its slots are listed twice, so that neighboring rows are neighbors in the list wherever they begin.
    uint8_t** slots_ = nullptr;
    int64_t capacity_ = 0, low_ = 0, high_ = 0, last_ = 0;
    int group_, batch_ = 0;  // rows done together, at least and mostly
    float* turned_ = nullptr;
    // Of a joint sum: the weights of the first and the last pixel, for each value of a plane.
    float *near_ = nullptr, *far_ = nullptr;
    // Copies of the last rows, for kernels that read past them.
    uint8_t* tail_ = nullptr;
    int64_t reach_ = 0;
    int64_t* tail_starts_ = nullptr;  // by plane
    const uint8_t** pointers_ = nullptr;
    // Rows as floats, and the pixels of them that are used.
    float* converted_ = nullptr;
    int64_t part_ = 0;
    int32_t left_ = 0, right_ = 0;
};

Resampled::Resampled(const Resample& resample, const Table* before, const View& from, const Geometry& geometry,
                     int64_t begin, int64_t end, const Kernels& kernels, Scratch& scratch)
    : Lines(geometry.columns.outputs(), from.channels, dtype_of(resample.arithmetic.rounding),
            from.values() > 1, scratch),
      arithmetic_(resample.arithmetic),
      before_(before),
      from_(from),
      geometry_(geometry),
      kernels_(kernels),
      scratch_(scratch),
      rounds_between_(arithmetic_.each_pass && arithmetic_.rounding != Rounding::none),
      whole_(arithmetic_.number == Number::integer && !arithmetic_.quarters),
      joint_(arithmetic_.order == Order::joint),
      windows_(whole_ || geometry.sums.blocks > 0),
      floats_(before || from.floating()) {
    sums_ = whole_ ? nullptr : scratch.get<float>(Scratch::FLOATS, values_);
    const Taps& rows = geometry.rows;
    backwards_ = rows.first.front() > rows.first.back();
    for (int64_t i = begin; i < end; ++i) last_ = std::max(last_, rows.inside(rows.first[i] + rows.count[i] - 1) + 1);
    pointers_ = scratch.get<const uint8_t*>(Scratch::POINTERS, rows.widest);
    group_ = windows_ || arithmetic_.quarters ? GROUP : TOGETHER;
    if (before_) {
        const Taps& columns = geometry.columns;
        left_ = static_cast<int32_t>(columns.inside(*std::min_element(columns.first.begin(), columns.first.end())));
        for (size_t j = 0; j < columns.first.size(); ++j)
            right_ = std::max(right_, static_cast<int32_t>(columns.inside(columns.first[j] + columns.count[j] - 1) + 1));
        part_ = std::max(geometry.sums.reach, from.width * from.pixel);
        converted_ = scratch.get<float>(Scratch::MIDDLE, MOST_ROWS * part_);
    } else if (windows_) {
        copy_tail();
    }
    if (joint_)
        weigh_columns();
    else if (!windows_ || geometry.rows_first)
        turned_ = aligned(scratch.get<float>(
            Scratch::TURNED, TOGETHER * turned_pixels(geometry.columns) * (from.pixel / from.element()) + ALIGNED / 4));
    if (geometry.rows_first) return;
    capacity_ = 1;
    const int64_t stride = round_up(values_ * (whole_ ? 1 : joint_ ? 8 : 4), PADDING) + PADDING;
    batch_ = static_cast<int>(std::clamp<int64_t>(BYTES / stride / group_ * group_, group_, MOST_ROWS));
    while (capacity_ < rows.widest + batch_) capacity_ *= 2;
    uint8_t* ring = scratch.get(Scratch::RING, capacity_ * stride);
    slots_ = scratch.get<uint8_t*>(Scratch::SLOTS, 2 * capacity_);
    for (int64_t n = 0; n < 2 * capacity_; ++n) slots_[n] = ring + (n & (capacity_ - 1)) * stride;
}

// Vectors read on behind a row. Where that would leave the image's memory, the row is copied to where it does not.
void Resampled::copy_tail() {
    const int64_t bytes = from_.width * from_.pixel;
    reach_ = std::max({geometry_.along.reach, geometry_.sums.reach * from_.element(), round_up(bytes, PADDING)});
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

const uint8_t* Resampled::row(int64_t plane, int64_t y) const {
    if (tail_starts_ && y >= tail_starts_[plane]) {
        int64_t before = 0;
        for (int64_t p = 0; p < plane; ++p) before += from_.height - tail_starts_[p];
        return tail_ + (before + y - tail_starts_[plane]) * reach_;
    }
    return from_.data + plane * from_.channel + y * from_.row;
}

// Rows of bytes become rows of floats, as far as these are used.
void Resampled::convert(int count, const uint8_t** rows) {
    const int64_t start = left_ * from_.pixel, n = (right_ - left_ - 1) * from_.pixel + from_.values();
    for (int r = 0; r < count; ++r) {
        float* to = converted_ + r * part_;
        kernels_.table(*before_, 0, rows[r] + start, n, to + start);
        rows[r] = reinterpret_cast<const uint8_t*>(to);
    }
}

// The pass along `count` rows from `first` on, into the ring; `padded` is count rounded up to whole groups.
void Resampled::along_rows(int64_t first, int count, int padded) {
    const int64_t part = width_ * from_.values();  // values of one plane
    const int pixel = static_cast<int>(from_.pixel / from_.element()), values = static_cast<int>(from_.values());
    const uint8_t* in[MOST_ROWS];
    uint8_t* out[MOST_ROWS];
    uint8_t* const* slot = slots(first);
    for (int64_t plane = 0; plane < from_.planes(); ++plane) {
        const int64_t offset = plane * part * (whole_ ? 1 : 4);
        for (int r = 0; r < count; ++r) out[r] = slot[r] + offset;
        if (tail_starts_ && first + count > tail_starts_[plane]) {
            for (int r = 0; r < count; ++r) in[r] = row(plane, first + r);
        } else {
            const uint8_t* start = from_.data + plane * from_.channel + first * from_.row;
            for (int r = 0; r < count; ++r, start += from_.row) in[r] = start;
        }
        if (before_) convert(count, in);
        if (joint_) {
            for (int r = 0; r < count; ++r) {
                auto* first = reinterpret_cast<float*>(out[r]);
                if (floats_)
                    kernels_.pairs_floats(geometry_.columns, pixel, values, reinterpret_cast<const float*>(in[r]), first,
                                          first + values_);
                else
                    kernels_.pairs_bytes(geometry_.columns, pixel, values, in[r], first, first + values_);
            }
            continue;
        }
        for (int r = count; r < padded; ++r) in[r] = in[count - 1], out[r] = out[count - 1];  // It is done again.
        if (whole_) {
            kernels_.columns(geometry_.along, in, out, padded, {from_.row});
            continue;
        }
        if (arithmetic_.quarters) {
            for (int r = 0; r < count; ++r)
                kernels_.columns_sums(geometry_.columns, pixel, values, in[r], reinterpret_cast<uint32_t*>(out[r]));
            continue;
        }
        float* sums[MOST_ROWS];
        const float* floats[MOST_ROWS];
        for (int r = 0; r < padded; ++r) {
            sums[r] = reinterpret_cast<float*>(out[r]);
            floats[r] = reinterpret_cast<const float*>(in[r]);
        }
        if (windows_ && floats_)
            kernels_.sums_floats(geometry_.sums, floats, sums, padded);
        else if (windows_)
            kernels_.sums_bytes(geometry_.sums, in, sums, padded);
        else
            for (int r = 0; r < padded; r += TOGETHER) {
                if (floats_)
                    kernels_.columns_floats(geometry_.columns, pixel, values, arithmetic_, floats + r, turned_, sums + r);
                else
                    kernels_.columns_bytes(geometry_.columns, pixel, values, arithmetic_, in + r, turned_, sums + r);
            }
        for (int r = 0; rounds_between_ && r < count; ++r)
            kernels_.to_levels(arithmetic_.rounding, sums[r], part, sums[r]);
    }
}

// Rows [first, stop) in the ring. They mostly move on from line to line; given weights may have them go back.
void Resampled::need(int64_t first, int64_t stop) {
    if (first < low_ || first > high_) low_ = high_ = first;
    while (high_ < stop) {
        const int count = static_cast<int>(std::min<int64_t>(batch_, last_ - high_));
        along_rows(high_, count, static_cast<int>(round_up(count, group_)));
        high_ += count;
    }
    low_ = std::max(low_, high_ - capacity_);
}

// Float sums of a line become its values.
void Resampled::finish(const float* sums, uint8_t* to) {
    if (!floating()) kernels_.to_bytes(arithmetic_.rounding, sums, values_, to);
}

void Resampled::weigh_columns() {
    const Taps& columns = geometry_.columns;
    const int64_t values = from_.values(), outputs = columns.outputs();
    near_ = scratch_.get<float>(Scratch::TURNED, 2 * outputs * values), far_ = near_ + outputs * values;
    for (int64_t j = 0; j < outputs; ++j) {
        std::fill_n(near_ + j * values, values, columns.real[j]);
        std::fill_n(far_ + j * values, values, columns.count[j] > 1 ? columns.real[outputs + j] : 0);
    }
}

void Resampled::sum_jointly(int64_t i, float* sums) const {
    const Taps& rows = geometry_.rows;
    const auto* top = reinterpret_cast<const float*>(*slots(rows.inside(rows.first[i])));
    const auto* bottom = reinterpret_cast<const float*>(*slots(rows.inside(rows.first[i] + rows.count[i] - 1)));
    const float below = rows.count[i] > 1 ? rows.real[rows.outputs() + i] : 0;
    const int64_t part = width_ * from_.values();
    for (int64_t plane = 0; plane < from_.planes(); ++plane, top += part, bottom += part, sums += part)
        kernels_.joint({{top, top + values_}, {bottom, bottom + values_}, {rows.real[i], below}, {near_, far_}},
                       arithmetic_.fma, part, sums);
}

void Resampled::make(int64_t i, uint8_t* to) {
    const Taps& taps = geometry_.rows;
    const int64_t first = taps.first[i];
    const int count = taps.count[i];
    float* sums = floating() ? reinterpret_cast<float*>(to) : sums_;
    if (!geometry_.rows_first) {
        need(taps.inside(first), taps.inside(first + count - 1) + 1);
        if (joint_) {
            sum_jointly(i, sums);
            finish(sums, to);
        } else if (whole_) {
            kernels_.rows(geometry_.of(i), slots(first), values_, to);
        } else if (arithmetic_.quarters) {
            const auto rows = reinterpret_cast<const uint32_t* const*>(slots(first));
            kernels_.rows_quarters(geometry_.of(i), arithmetic_.bits, rows, values_, to);
        } else {
            const uint8_t* const* from = slots(first);
            if (first < 0 || first + count > taps.size) {
                for (int k = 0; k < count; ++k) pointers_[k] = *slots(taps.inside(first + k));
                from = pointers_;
            }
            kernels_.rows_floats(taps, i, arithmetic_, reinterpret_cast<const float* const*>(from), values_, sums);
            finish(sums, to);
        }
        return;
    }
    // Values of a row, unused ones included, but for those behind its last pixel: the memory may end there.
    const int64_t n = (from_.width - 1) * from_.pixel / from_.element() + from_.values();
    const int64_t part = width_ * from_.values();
    for (int64_t plane = 0; plane < from_.planes(); ++plane) {
        for (int k = 0; k < count; ++k) pointers_[k] = row(plane, first + k);
        if (whole_) {
            uint8_t* middle = scratch_.get(Scratch::MIDDLE, reach_);
            kernels_.rows(geometry_.of(i), pointers_, n, middle);
            const uint8_t* in[GROUP];
            uint8_t* out[GROUP];
            std::fill_n(in, GROUP, middle), std::fill_n(out, GROUP, to + plane * part);
            kernels_.columns(geometry_.along, in, out, GROUP, {});
            continue;
        }
        float* middle = scratch_.get<float>(Scratch::MIDDLE, n);
        if (from_.floating())
            kernels_.rows_floats(geometry_.rows, i, arithmetic_,
                                 reinterpret_cast<const float* const*>(pointers_), n, middle);
        else
            kernels_.rows_bytes(geometry_.rows, i, arithmetic_, pointers_, n, middle);
        if (rounds_between_) kernels_.to_levels(arithmetic_.rounding, middle, n, middle);
        const float* in[TOGETHER];
        float* out[TOGETHER];
        std::fill_n(in, TOGETHER, middle), std::fill_n(out, TOGETHER, sums + plane * part);
        kernels_.columns_floats(geometry_.columns, static_cast<int>(from_.pixel / from_.element()),
                                static_cast<int>(from_.values()), arithmetic_, in, turned_, out);
    }
    if (!whole_) finish(sums, to);
}

}  // namespace

Source resampled(const Resample& resample, const Table* before, const View& from, const Geometry& geometry, int64_t begin,
                 int64_t end, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Resampled>(resample, before, from, geometry, begin, end, kernels, scratch);
}

}  // namespace lt
