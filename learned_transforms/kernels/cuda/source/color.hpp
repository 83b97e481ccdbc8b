// Operations on the levels of one pixel, which are whole numbers in float32: kernels/reference/color.py, operation by
// operation. A gray pixel is three times that level, so that all work on three.
#pragma once

#include "pixels.hpp"

namespace px {

enum Kind { LOOK_UP, ARRANGE, MIX, SCALE, BLEND_GRAY, BLEND_MEAN, TURN };  // As in records.py.

// (1, factor) times terms gives two numbers. Pointers and doubles first: the same layout everywhere.
struct Op {
    double terms[4];
    const unsigned char* table;  // LOOK_UP: [3, 256]
    int kind, slot;              // slot: which factor of the image; -1: there is none
    int fused, divides;          // how sums are rounded; TURN: its form
    int channels[3];             // ARRANGE
    float gray[4], span;         // of the channels, and what is added; TURN
    float a, b;                  // those two numbers
};

PIXEL float joined(bool fuse, float x, float y, float z) { return fuse ? fused(x, y, z) : x * y + z; }

PIXEL float mixed(bool fuse, const float* gray, const float (&v)[3]) {
    const float sum = joined(fuse, v[2], gray[2], joined(fuse, v[1], gray[1], v[0] * gray[0]));
    return truncated(sum + gray[3]);
}

PIXEL float unit(float x) { return x < 0 ? 0.0f : x > 1 ? 1.0f : x; }

// Hue and saturation, then back.
PIXEL void turn(const Op& op, float (&v)[3]) {
    const float inverse = 1.0f / 255.0f, sixth = 1.0f / 6.0f;
    float x[3];
    UNROLL for (int c = 0; c < 3; ++c) x[c] = op.divides ? v[c] / 255.0f : v[c] * inverse;
    const float r = x[0], g = x[1], b = x[2];
    const float most = g > b ? g : b, least = g < b ? g : b;
    const float high = r > most ? r : most, low = r < least ? r : least;
    const bool flat = high == low;
    const float extent = flat ? 1.0f : high - low, saturation = (high - low) / (flat ? 1.0f : high);
    // Of the distances from the highest channel, divided by that of the lowest, only one is neither 0 nor 1.
    const float less = r < g ? r : g, more = r < g ? g : r, middle = b < less ? less : b < more ? b : more;
    const float part_of = (high - middle) / extent;
    const float from_r = r == high ? 0.0f : r == low ? 1.0f : part_of, from_g = g == high ? 0.0f : g == low ? 1.0f : part_of;
    const float from_b = b == high ? 0.0f : b == low ? 1.0f : part_of;
    float hue = high == r ? from_b - from_g : high == g ? (from_r + 2.0f) - from_b : (from_g + 4.0f) - from_r;
    hue = (op.divides ? hue / 6.0f : hue * sixth) + 1.0f;
    hue = hue - static_cast<float>(static_cast<int>(hue)) + op.a;
    hue = hue - static_cast<float>(static_cast<int>(hue));
    hue = (hue < 0 ? hue + 1.0f : hue) * 6.0f;
    const int sixths = static_cast<int>(hue), sector = sixths == 6 ? 0 : sixths;
    const float along = hue - static_cast<float>(sixths), part = saturation * along, rest = 1.0f - saturation;
    const float falls = unit((1.0f - part) * high), lowest = unit(rest * high);
    const float rises = unit((op.divides ? 1.0f - saturation * (1.0f - along) : part + rest) * high);
    const float red = sector == 0 || sector == 5 ? high : sector == 1 ? falls : sector == 4 ? rises : lowest;
    const float green = sector == 1 || sector == 2 ? high : sector == 0 ? rises : sector == 3 ? falls : lowest;
    const float blue = sector == 3 || sector == 4 ? high : sector == 2 ? rises : sector == 5 ? falls : lowest;
    v[0] = truncated(red * op.span), v[1] = truncated(green * op.span), v[2] = truncated(blue * op.span);
}

// One operation; `mean`: of the gray of the whole image, as the launch before has left it.
PIXEL void operate(const Op& op, float mean, float (&v)[3]) {
    const bool fuse = op.fused != 0;
    switch (op.kind) {
        case LOOK_UP:
            UNROLL for (int c = 0; c < 3; ++c) v[c] = real(static_cast<int>(read_byte(op.table + c * 256 + whole(v[c]))));
            break;
        case ARRANGE: {
            const float old[3] = {v[0], v[1], v[2]};
            UNROLL for (int c = 0; c < 3; ++c) v[c] = op.channels[c] == 0 ? old[0] : op.channels[c] == 1 ? old[1] : old[2];
            break;
        }
        case MIX:
            v[0] = v[1] = v[2] = mixed(fuse, op.gray, v);
            break;
        case SCALE:
            UNROLL for (int c = 0; c < 3; ++c) v[c] = truncated(v[c] * op.a);
            break;
        case BLEND_GRAY:
        case BLEND_MEAN: {
            const float other = op.kind == BLEND_MEAN ? mean : mixed(fuse, op.gray, v);
            UNROLL for (int c = 0; c < 3; ++c) v[c] = truncated(joined(fuse, other, op.b, v[c] * op.a));
            break;
        }
        case TURN:
            turn(op, v);
    }
}

}  // namespace px
