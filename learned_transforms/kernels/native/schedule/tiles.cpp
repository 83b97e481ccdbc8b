#include "schedule/tiles.hpp"

#include <algorithm>
#include <cstring>

namespace lt {
namespace {

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

template <class T>
void split_as(const uint8_t* pixels, int64_t channels, int64_t n, uint8_t* const* planes) {
    const T* from = reinterpret_cast<const T*>(pixels);
    for (int64_t c = 0; c < channels; ++c) {
        T* plane = reinterpret_cast<T*>(planes[c]);
        for (int64_t i = 0; i < n; ++i) plane[i] = from[i * channels + c];
    }
}

}  // namespace

Place in_scratch(Scratch& scratch, Scratch::Use use, int64_t channels, const Tile& tile, Dtype dtype) {
    const int64_t stride = tile.pixels() * size_of(dtype) + PADDING;
    return {scratch.get(use, channels * stride), stride};
}

Place in_target(const Target& to, const Tile& tile) {
    const int64_t size = to.element();
    return {to.data + tile.begin * tile.width * size, to.height * to.width * size};
}

Planes split(Lines& lines, const Tile& tile, int64_t channels, const Place& place, const Kernels& kernels,
             Scratch& scratch) {
    const int64_t size = size_of(lines.dtype()), width = tile.width;
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
    Planes planes{scratch.get<const uint8_t*>(Scratch::PLANES, channels), channels, lines.dtype()};
    uint8_t** to = scratch.get<uint8_t*>(Scratch::OTHER_PLANES, channels);
    for (int64_t c = 0; c < channels; ++c) planes.of[c] = to[c] = place.data + c * place.stride;
    if (pixels && size == 1)
        kernels.split(pixels, static_cast<int>(channels), tile.pixels(), to);
    else if (pixels)
        (size == 4 ? split_as<float> : split_as<uint16_t>)(pixels, channels, tile.pixels(), to);
    return planes;
}

bool lies_in_planes(const View& view) {
    return !view.interleaved() && (view.height == 1 || view.row == view.width * view.element());
}

Planes in_place(const View& view, const Tile& tile, Scratch& scratch) {
    const Planes planes{scratch.get<const uint8_t*>(Scratch::PLANES, view.channels), view.channels, view.dtype};
    for (int64_t c = 0; c < view.channels; ++c)
        planes.of[c] = view.data + c * view.channel + tile.begin * view.row;
    return planes;
}

void store(const Planes& planes, const Target& to, const Tile& tile, const Kernels& kernels) {
    const int64_t n = tile.pixels(), size = to.element();
    if (to.interleaved) {
        uint8_t* out = to.data + tile.begin * tile.width * to.channels * size;
        if (size == 1)
            kernels.join_bytes(planes.of, planes.channels, n, out);
        else if (size == 2)
            kernels.join_words(reinterpret_cast<const uint16_t* const*>(planes.of), planes.channels, n,
                               reinterpret_cast<uint16_t*>(out));
        else
            kernels.join_floats(reinterpret_cast<const float* const*>(planes.of), planes.channels, n,
                                reinterpret_cast<float*>(out));
        return;
    }
    const Place place = in_target(to, tile);
    for (int64_t c = 0; c < planes.channels; ++c) {
        uint8_t* out = place.data + c * place.stride;
        if (out != planes.of[c]) std::memcpy(out, planes.of[c], static_cast<size_t>(n * size));
    }
}

}  // namespace lt
