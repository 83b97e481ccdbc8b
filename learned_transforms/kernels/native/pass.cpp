#include "pass.hpp"

#include <algorithm>
#include <cstring>

#include "checks.hpp"
#include "lines.hpp"

namespace lt {

const Arithmetic* arithmetic_of(const Stage& stage) {
    if (const auto* resample = std::get_if<Resample>(&stage)) return &resample->arithmetic;
    if (const auto* sparse = std::get_if<Sparse>(&stage)) return &sparse->arithmetic;
    if (const auto* filter = std::get_if<Filter>(&stage)) return &filter->arithmetic;
    if (const auto* mix = std::get_if<Mix>(&stage)) return &mix->arithmetic;
    return nullptr;
}

bool floats_after(const Stage& stage, bool floating) {
    if (const Arithmetic* arithmetic = arithmetic_of(stage)) return arithmetic->rounding == Rounding::none;
    if (const auto* table = std::get_if<Table>(&stage)) return table->floating();
    return floating;
}

int64_t channels_after(const Stage& stage, int64_t channels) {
    if (const auto* mix = std::get_if<Mix>(&stage)) return mix->outputs;
    const auto* gather = std::get_if<Gather>(&stage);
    return gather && gather->channels ? static_cast<int64_t>(gather->channels->size()) : channels;
}

namespace {

constexpr int64_t TILE = 2048;  // pixels of a tile, about: what pointwise stages work on stays in the first cache

// One plane for each channel.
struct Planes {
    const uint8_t** of;
    int64_t channels;
    bool floating;
};

// Where the planes of a tile go: into the output, if it is planar, else into scratch.
struct Place {
    uint8_t* data;
    int64_t stride;  // bytes from plane to plane
};

struct Tile {
    int64_t begin, rows, width;
    int64_t pixels() const { return rows * width; }
};

Place in_scratch(Scratch& scratch, Scratch::Use use, int64_t channels, const Tile& tile, bool floating) {
    const int64_t stride = tile.pixels() * (floating ? 4 : 1) + PADDING;
    return {scratch.get(use, channels * stride), stride};
}

Place in_target(const Target& to, const Tile& tile) {
    const int64_t size = to.floating ? 4 : 1;
    return {to.data + tile.begin * tile.width * size, to.height * to.width * size};
}

// As memcpy, which costs more than it does for the short lines of small images.
inline void copy(const uint8_t* from, int64_t bytes, uint8_t* to) {
    if (bytes < 16 || bytes > 64) {
        std::memcpy(to, from, static_cast<size_t>(bytes));
        return;
    }
    for (int64_t at = 0; at < bytes; at += 16) {
        const int64_t i = std::min(at, bytes - 16);
        std::memcpy(to + i, from + i, 16);
    }
}

void split_floats(const float* from, int64_t channels, int64_t n, uint8_t* const* planes) {
    for (int64_t c = 0; c < channels; ++c) {
        float* plane = reinterpret_cast<float*>(planes[c]);
        for (int64_t i = 0; i < n; ++i) plane[i] = from[i * channels + c];
    }
}

// The lines of a tile, as planes.
Planes split(Lines& lines, const Tile& tile, int64_t channels, const Place& place, const Kernels& kernels,
             Scratch& scratch) {
    const int64_t size = lines.floating() ? 4 : 1, width = tile.width;
    const int64_t bytes = width * size;
    uint8_t* pixels = lines.interleaved() ? scratch.get(Scratch::PIXELS, tile.pixels() * channels * size) : nullptr;
    for (int64_t n = 0; n < tile.rows; ++n) {
        const int64_t row = lines.backwards() ? tile.rows - 1 - n : n;
        if (pixels) {
            lines.line(tile.begin + row, pixels + row * bytes * channels);
            continue;
        }
        const uint8_t* line = lines.line(tile.begin + row);
        uint8_t* out = place.data + row * bytes;
        for (int64_t c = 0; c < channels; ++c, line += bytes, out += place.stride) copy(line, bytes, out);
    }
    Planes planes{scratch.get<const uint8_t*>(Scratch::PLANES, channels), channels, lines.floating()};
    uint8_t** to = scratch.get<uint8_t*>(Scratch::OTHER_PLANES, channels);
    for (int64_t c = 0; c < channels; ++c) planes.of[c] = to[c] = place.data + c * place.stride;
    if (pixels && lines.floating())
        split_floats(reinterpret_cast<const float*>(pixels), channels, tile.pixels(), to);
    else if (pixels)
        kernels.split(pixels, static_cast<int>(channels), tile.pixels(), to);
    return planes;
}

// One pointwise stage on n values of each plane; the pointers to what it makes go into `made`.
Planes apply(const Stage& stage, const Planes& from, int64_t n, const Place& place, const Kernels& kernels,
             const uint8_t** made) {
    const Planes planes{made, channels_after(stage, from.channels), floats_after(stage, from.floating)};
    const auto* gather = std::get_if<Gather>(&stage);
    for (int64_t c = 0; c < planes.channels; ++c) {
        if (gather) {
            made[c] = from.of[(*gather->channels)[static_cast<size_t>(c)]];
            continue;
        }
        uint8_t* out = place.data + c * place.stride;
        float* floats = reinterpret_cast<float*>(out);
        made[c] = out;
        if (const auto* mix = std::get_if<Mix>(&stage)) {
            if (from.floating)
                kernels.mix_floats(*mix, c, reinterpret_cast<const float* const*>(from.of), n, out);
            else
                kernels.mix_bytes(*mix, c, from.of, n, out);
        } else if (const auto* table = std::get_if<Table>(&stage)) {
            const int64_t row = table->channels == 1 ? 0 : c;
            if (table->floating())
                kernels.table(*table, row, from.of[c], n, floats);
            else
                kernels.levels(table->levels.data() + row * 256, from.of[c], n, out);
        } else {
            const auto& normalise = std::get<Normalise>(stage);
            kernels.normalise(normalise.mean[static_cast<size_t>(c)], normalise.std[static_cast<size_t>(c)],
                              reinterpret_cast<const float*>(from.of[c]), n, floats);
        }
    }
    return planes;
}

template <class T>
void join(const Planes& planes, int64_t n, T* out) {
    for (int64_t c = 0; c < planes.channels; ++c) {
        const T* plane = reinterpret_cast<const T*>(planes.of[c]);
        for (int64_t i = 0; i < n; ++i) out[i * planes.channels + c] = plane[i];
    }
}

// Planes that are not in the output yet are copied there.
void store(const Planes& planes, const Target& to, const Tile& tile) {
    const int64_t n = tile.pixels(), size = to.floating ? 4 : 1;
    if (to.interleaved) {
        uint8_t* out = to.data + tile.begin * tile.width * to.channels * size;
        return to.floating ? join(planes, n, reinterpret_cast<float*>(out)) : join(planes, n, out);
    }
    const Place place = in_target(to, tile);
    for (int64_t c = 0; c < planes.channels; ++c) {
        uint8_t* out = place.data + c * place.stride;
        if (out != planes.of[c]) std::memcpy(out, planes.of[c], static_cast<size_t>(n * size));
    }
}

Source source_of(const Change& change, const View& from, const Geometry* geometry, int64_t begin, int64_t end,
                 const Kernels& kernels, Scratch& scratch) {
    static const Gather EVERYTHING{};
    if (const auto* resample = std::get_if<Resample>(&change))
        return resampled(*resample, from, *geometry, begin, end, kernels, scratch);
    if (const auto* sparse = std::get_if<Sparse>(&change)) return scattered(*sparse, from, kernels, scratch);
    if (const auto* filter = std::get_if<Filter>(&change)) return filtered(*filter, from, begin, kernels, scratch);
    const auto* gather = std::get_if<Gather>(&change);
    return copied(gather ? *gather : EVERYTHING, from, scratch);
}

}  // namespace

Geometry::Geometry(const Resample& resample, const View& view, const Kernels& kernels)
    : rows(evaluate(resample.rows, view.height, resample.arithmetic, kernels)),
      columns(evaluate(resample.columns, view.width, resample.arithmetic, kernels)),
      rows_first(resample.rows_first(view.height, view.width)) {
    if (resample.arithmetic.number != Number::integer || resample.arithmetic.quarters) return;
    along.taps = &columns;
    along.pixel = static_cast<int>(view.pixel);
    along.channels = static_cast<int>(view.values());
    prepare(along, kernels);
}

Target Pass::output(int64_t channels, int64_t height, int64_t width, bool floating) const {
    if (const auto* resample = std::get_if<Resample>(&change)) {
        height = resample->rows.keep.count, width = resample->columns.keep.count;
        floating = resample->arithmetic.rounding == Rounding::none;
    } else if (const auto* sparse = std::get_if<Sparse>(&change)) {
        require(height == sparse->from[0] && width == sparse->from[1],
                "its pixels are picked out of an image of another size");
        height = sparse->to[0], width = sparse->to[1];
        floating = sparse->arithmetic.rounding == Rounding::none;
    } else if (const auto* filter = std::get_if<Filter>(&change)) {
        floating = filter->arithmetic.rounding == Rounding::none;
    } else if (const auto* gather = std::get_if<Gather>(&change)) {
        height = gather->rows ? gather->rows->count : height;
        width = gather->columns ? gather->columns->count : width;
    }
    for (const Stage& stage : pointwise) {
        channels = channels_after(stage, channels);
        floating = floats_after(stage, floating);
    }
    return {nullptr, channels, height, width, floating, false};
}

void Pass::run(const View& from, const Target& to, int64_t begin, int64_t end, const Geometry* geometry,
               const Kernels& kernels, Scratch& scratch) const {
    const Source source = source_of(change, from, geometry, begin, end, kernels, scratch);
    Lines& lines = *source;
    const int64_t height = std::max<int64_t>(1, TILE / to.width), tiles = (end - begin + height - 1) / height;
    for (int64_t n = 0; n < tiles; ++n) {
        const int64_t first = begin + (lines.backwards() ? tiles - 1 - n : n) * height;
        const Tile tile{first, std::min(height, end - first), to.width};
        if (pointwise.empty() && to.interleaved && lines.interleaved()) {
            const auto bytes = static_cast<size_t>(tile.width * to.channels * (to.floating ? 4 : 1));
            for (int64_t row = 0; row < tile.rows; ++row) {
                const int64_t i = tile.begin + (lines.backwards() ? tile.rows - 1 - row : row);
                std::memcpy(to.data + static_cast<size_t>(i) * bytes, lines.line(i), bytes);
            }
            continue;
        }
        const bool straight = pointwise.empty() && !to.interleaved;
        const Place first_place = straight ? in_target(to, tile)
                                           : in_scratch(scratch, Scratch::TILES, from.channels, tile, lines.floating());
        Planes planes = split(lines, tile, from.channels, first_place, kernels, scratch);
        // Values and pointers alternate between two buffers each; a Gather makes pointers only.
        bool other = false, moved = false;
        for (const Stage& stage : pointwise) {
            other = !other;
            const bool copies = std::holds_alternative<Gather>(stage);
            moved = moved != !copies;
            const int64_t channels = channels_after(stage, planes.channels);
            const bool last = &stage == &pointwise.back() && !to.interleaved;
            // A Gather needs no room: asking for more of it would move the values that it points to.
            const Place place = last     ? in_target(to, tile)
                                : copies ? Place{nullptr, 0}
                                         : in_scratch(scratch, moved ? Scratch::OTHER_TILES : Scratch::TILES, channels,
                                                      tile, floats_after(stage, planes.floating));
            const auto pointers = other ? Scratch::OTHER_PLANES : Scratch::PLANES;
            planes = apply(stage, planes, tile.pixels(), place, kernels,
                           scratch.get<const uint8_t*>(pointers, channels));
        }
        if (!straight) store(planes, to, tile);
    }
}

}  // namespace lt
