// Blurs: down, then across, in float32, each sum in the order of its taps. Those that are meant as sums over whole windows
// are that where they come within a band of the middle between two levels: elsewhere both round alike.
#pragma once

#include "block.hpp"

namespace {
constexpr int BW = 64, BH = 32, PITCH = BW + 4;  // of a tile of outputs; of its lines in memory
constexpr int FOUR = 4;                          // sums that a thread holds at once

// sums[i] = weights[0] * from(i) + weights[1] * from(i + 1) + ...
template <class From>
PIXEL void slide(const float* weights, int count, const From& from, float (&sums)[FOUR]) {
    float seen[FOUR];
    UNROLL for (int i = 0; i < FOUR; ++i) sums[i] = 0, seen[i] = i < FOUR - 1 ? from(i) : 0;
    UNROLL_BY_FOUR for (int k = 0; k < count; ++k) {
        seen[FOUR - 1] = from(k + FOUR - 1);
        UNROLL for (int i = 0; i < FOUR; ++i) sums[i] = px::fused(seen[i], weights[k], sums[i]);
        UNROLL for (int i = 0; i < FOUR - 1; ++i) seen[i] = seen[i + 1];
    }
}

// The sum over a window at once, row by row; the levels that it begins with lie `columns` apart.
PIXEL float at_once(const float* down, int high, const float* across, int wide, const unsigned char* from, int columns) {
    float sum = 0;
    ROLLED for (int i = 0; i < high; ++i)
        ROLLED for (int j = 0; j < wide; ++j) sum = px::fused(px::real(from[i * columns + j]), down[i] * across[j], sum);
    return sum;
}

// The pixel in place of one that lies beyond an image, mirrored there about the last.
PIXEL int mirrored(int i, int length) {
    const int back = i < 0 ? -i : i < length ? i : 2 * (length - 1) - i;
    return back < 0 ? 0 : back < length ? back : length - 1;  // Of tiles that reach too far, none is used.
}

}  // namespace

// Blocks: tiles of each image in turn, `across` of them side by side. Shared memory: see below.
KERNEL blur(GIVEN Row one, Batch batch, int across, int tiles, Made out) {
    SHARED();
    const int image = BLOCK / tiles, tile = BLOCK % tiles;
    const Row& in = opened(one, batch, image, shared);
    const int nx = in.outputs[0], ny = in.outputs[1], x0 = tile % across * BW, y0 = tile / across * BH;
    if (x0 >= nx || y0 >= ny) return;
    const int left = in.keep[0] + x0, top = in.keep[1] + y0;  // in the image
    const int wide = in.window[0], high = in.window[1], columns = BW + wide - 1, lines = BH + high - 1;
    const int pitch = columns | 1;  // Odd, so that lines lie in different banks.
    unsigned* levels = reinterpret_cast<unsigned*>(shared + ROW);              // [3, 256]
    unsigned* parts = levels + LEVELS;                                         // [THREADS]
    unsigned char* made = reinterpret_cast<unsigned char*>(parts + THREADS);   // [3, BH, PITCH]
    float* weights = reinterpret_cast<float*>(made + 3 * BH * PITCH);          // [wide + high]
    float* sums = weights + wide + high;                                       // [BH, pitch]
    unsigned char* seen = reinterpret_cast<unsigned char*>(sums + BH * pitch); // [lines, columns]
    read_table(in, levels);
    for (int i = THREAD; i < wide + high; i += THREADS) {
        const int side = i < wide ? 0 : 1, away = side == 0 ? i - wide / 2 : i - wide - high / 2;
        weights[i] = in.weights[side][away < 0 ? -away : away];
    }
    ROLLED for (int c = 0; c < in.channels; ++c) {
        const unsigned char* plane = in.data + c * in.channel;
        unsigned char* to = made + c * BH * PITCH;
        if (!in.blurred) {
            for (int i = THREAD; i < BH * BW; i += THREADS) {
                const int x = i % BW, y = i / BW;
                if (x0 + x < nx && y0 + y < ny)
                    to[y * PITCH + x] = static_cast<unsigned char>(
                        px::read_byte(plane + i64(top + y) * in.row + i64(left + x) * in.pixel));
            }
            BARRIER();
            continue;
        }
        for (int x = THREAD % LANES; x < columns; x += LANES) {
            const unsigned char* from = plane + i64(mirrored(left + x - wide / 2, in.inputs[0])) * in.pixel;
            for (int line = THREAD / LANES; line < lines; line += STEP) {
                const int y = mirrored(top + line - high / 2, in.inputs[1]);
                seen[line * columns + x] = static_cast<unsigned char>(px::read_byte(from + i64(y) * in.row));
            }
        }
        BARRIER();
        for (int i = THREAD; i < columns * (BH / FOUR); i += THREADS) {
            const int y = i / columns * FOUR, x = i % columns;
            const unsigned char* from = seen + y * columns + x;
            float four[FOUR];
            slide(weights + wide, high, [&](int k) { return px::real(from[k * columns]); }, four);
            UNROLL for (int k = 0; k < FOUR; ++k) sums[(y + k) * pitch + x] = four[k];
        }
        BARRIER();
        for (int i = THREAD; i < BH * (BW / FOUR); i += THREADS) {
            const int y = i % BH, x = i / BH * FOUR;
            const float* from = sums + y * pitch + x;
            float four[FOUR];
            slide(weights, wide, [&](int k) { return from[k]; }, four);
            UNROLL for (int k = 0; k < FOUR; ++k) {
                int level = px::nearest(four[k]);
                const float off = four[k] - px::real(level);
                if (in.band > 0 && (off < 0 ? -off : off) >= 0.5f - in.band)
                    level = px::nearest(at_once(weights + wide, high, weights, wide, seen + y * columns + x + k, columns));
                to[y * PITCH + x + k] = static_cast<unsigned char>(level < 0 ? 0 : level > 255 ? 255 : level);
            }
        }
        BARRIER();
    }
    leave(in, batch, image, levels, parts, out, x0, y0, nx - x0 < BW ? nx - x0 : BW, ny - y0 < BH ? ny - y0 : BH,
          [&](int c, int x, int y) { return static_cast<int>(made[((c < in.channels ? c : 0) * BH + y) * PITCH + x]); });
}
EMULATED(blur)
