// A pass over one image: at most one change of geometry, then pointwise stages, tile by tile, in cache.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "simd/kernel_table.hpp"
#include "ir/ops.hpp"
#include "ir/interpolation.hpp"

namespace lt {

// An image in memory. Strides are in bytes; `end` is where its memory ends. The values of a row lie
// side by side: those of one channel (planar), or those of all channels of one pixel after the other (interleaved).
struct View {
    const uint8_t* data;
    const uint8_t* end;
    int64_t channels, height, width;
    int64_t channel, row, pixel;
    Dtype dtype;

    bool floating() const { return dtype == Dtype::float32; }
    int64_t element() const { return size_of(dtype); }
    bool interleaved() const { return pixel != element(); }
    int64_t planes() const { return interleaved() ? 1 : channels; }
    int64_t values() const { return interleaved() ? channels : 1; }  // of a pixel, in one plane
};

// Memory for the output, contiguous.
struct Target {
    uint8_t* data;
    int64_t channels, height, width;
    Dtype dtype;
    bool interleaved;

    int64_t element() const { return size_of(dtype); }
};

// What a resample needs along one axis; of columns, also how the pass along a row is laid out, for bytes summed as
// integers or for sums of floats.
struct Side {
    Taps taps;
    Columns along;
    Sums sums;
};

// What a resample needs for images of one size and layout. Each thread keeps what it needed lately, up to 1 MiB.
class Geometry {
    const std::shared_ptr<const Side> down_, across_;

  public:
    const Taps &rows, &columns;
    const Columns& along;
    const Sums& sums;
    const bool rows_first;

    Geometry(const Resample& resample, const View& view, const Kernels& kernels);
    Geometry(const Geometry&) = delete;

    // Of memory that one holds, about, for images of one size, of so many values side by side for a pixel.
    static int64_t bytes(const Resample& resample, int64_t height, int64_t width, int64_t values);

    Rows of(int64_t i) const {
        return {rows.count[static_cast<size_t>(i)], rows.bits, rows.outputs(), rows.whole.data() + i,
                rows.low.data() + i, rows.wide ? rows.high.data() + i : nullptr};
    }
};

// Buffers of one thread, which only grow.
class Scratch {
  public:
    enum Use {
        RING, SLOTS, LINE, MIDDLE, TURNED, TAIL, TAIL_STARTS, POINTERS, FLOATS, SUMS, PIXELS, PLACES, TILES, OTHER_TILES,
        PLANES, OTHER_PLANES, GRAY, OTHER, BYTES, UNSURE, BLOCKS, ROWS, FINISHED, SEEN,
        AGAIN_SUMS, COUNT
    };

    template <class T = uint8_t>
    T* get(Use use, int64_t count) {
        auto& buffer = buffers_[use];
        const auto size = static_cast<size_t>(count) * sizeof(T) + PADDING;
        if (buffer.size() < size) buffer.resize(size);
        return reinterpret_cast<T*>(buffer.data());
    }

  private:
    std::array<std::vector<uint8_t>, COUNT> buffers_;
};

// How a stage sums, if it does.
const Arithmetic* arithmetic_of(const Stage& stage);

// What a stage leaves behind, whatever the images.
Dtype dtype_after(const Stage& stage, Dtype dtype);
int64_t channels_after(const Stage& stage, int64_t channels);

// What a table has for n levels of one channel, in its type.
void look_up(const Table& table, int64_t channel, const uint8_t* in, int64_t n, uint8_t* out, const Kernels& kernels);

// Gather: of rows and columns. Blend: with a filter. What is pointed to belongs to the pass's `changing`.
using Change = std::variant<std::monostate, Gather, Resample, const Sparse*, const Filter*, const Blend*, const Blur*,
                            const BoxBlur*, const Warp*>;

// Of those, the one that a pass has; null: another.
template <class What>
const What* changes(const Change& change) {
    const auto* found = std::get_if<const What*>(&change);
    return found ? *found : nullptr;
}

class Settled;

struct Pass {
    Change change;
    std::vector<Shared> pointwise;
    Shared before;  // a Table before a Resample, which makes floats of bytes
    Shared changing;

    // An image as the change sees it, its memory aside.
    View seen(View view) const;

    // Of values between the change and the rest.
    Dtype dtype_between(Dtype dtype) const;

    // (channels, height, width) and the dtype after this pass.
    Target output(int64_t channels, int64_t height, int64_t width, Dtype dtype) const;

    // Rows [begin, end) of the output. `geometry` belongs to a Resample.
    void run(const View& from, const Target& to, int64_t begin, int64_t end, const Geometry* geometry,
             const Settled& settled, const Kernels& kernels, Scratch& scratch) const;
};

}  // namespace lt
