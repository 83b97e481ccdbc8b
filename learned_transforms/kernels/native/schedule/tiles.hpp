// Parts of an image that stay in the first cache, as planes.
#pragma once

#include "producers/row_producer.hpp"

namespace lt {

// One plane for each channel.
struct Planes {
    const uint8_t** of;
    int64_t channels;
    Dtype dtype;

    bool floating() const { return dtype == Dtype::float32; }
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

// Rows of a tile, about 2048 pixels.
inline int64_t tile_rows(int64_t width) { return std::max<int64_t>(1, 2048 / width); }

Place in_scratch(Scratch& scratch, Scratch::Use use, int64_t channels, const Tile& tile, Dtype dtype);
Place in_target(const Target& to, const Tile& tile);

// The lines of a tile, as planes.
Planes split(Lines& lines, const Tile& tile, int64_t channels, const Place& place, const Kernels& kernels,
             Scratch& scratch);

// The same of an image as it is, whose planes may be where they are.
bool lies_in_planes(const View& view);
Planes in_place(const View& view, const Tile& tile, Scratch& scratch);

// Planes that are not in the output yet are copied there.
void store(const Planes& planes, const Target& to, const Tile& tile, const Kernels& kernels);

// f(planes, values of each) for all tiles of an image.
template <class F>
void each_tile(const View& view, const Kernels& kernels, Scratch& scratch, const F& f) {
    static const Gather EVERYTHING{};
    const bool planes = lies_in_planes(view);
    const Source source = planes ? nullptr : copied(EVERYTHING, view, kernels, scratch);
    const int64_t height = tile_rows(view.width);
    for (int64_t first = 0; first < view.height; first += height) {
        const Tile tile{first, std::min(height, view.height - first), view.width};
        f(planes ? in_place(view, tile, scratch)
                 : split(*source, tile, view.channels,
                         in_scratch(scratch, Scratch::TILES, view.channels, tile, view.dtype), kernels, scratch),
          tile.pixels());
    }
}

}  // namespace lt
