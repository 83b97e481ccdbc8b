// The antialiased resample of images of int16 weights: weights of both axes, then both passes on tiles.
#pragma once

#include "block.hpp"

namespace {
constexpr int TW = 32, TH = 56;  // of a tile of outputs
}  // namespace

// Of all images of a batch.
struct Resample {
    const double* terms;  // of the learned kernel, [support, count]
    double shift[2];
    int support, count, bits;
    int room;  // ints for an axis: bits, then first and count [outputs], then pairs of weights [.., outputs]
};

// Weights of both axes of each row, in two blocks. Shared memory: a row, and THREADS doubles. The first clears the sums
// of gray of so many images, too.
KERNEL axis_taps(GIVEN Row one, Batch batch, Resample how, int images, int* taps) {
    SHARED();
    const Row& row = opened(one, batch, BLOCK / 2, shared);
    double* largest = reinterpret_cast<double*>(shared + ROW);
    const int side = BLOCK % 2, outputs = row.outputs[side];
    for (int i = THREAD; batch.after && BLOCK == 0 && i < images; i += THREADS) batch.after[i] = 0;
    const px::Kernel kernel = {how.terms, how.support, how.count};
    const px::Axis axis = px::axis_of(kernel, row.inputs[side], row.size[side], how.shift[side]);
    double most = 0, one_of;
    // Those that a crop leaves out count, too.
    for (int i = THREAD; i < row.size[side]; i += THREADS) {
        const double sum = px::total(kernel, axis, px::window_of(axis, i), &one_of);
        most = one_of / sum > most ? one_of / sum : most;
    }
    largest[THREAD] = most;
    BARRIER();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (THREAD < half && largest[THREAD + half] > largest[THREAD]) largest[THREAD] = largest[THREAD + half];
        BARRIER();
    }
    const int bits = px::fraction_bits(largest[0], how.bits);
    int* to = taps + BLOCK * i64(how.room);
    if (THREAD == 0) *to = bits;
    ++to;
    for (int i = THREAD; i < outputs; i += THREADS) {
        const px::Window at = px::window_of(axis, row.keep[side] + i);
        const double sum = px::total(kernel, axis, at, &one_of);
        // Down, windows begin where a word of four lines does.
        const int lead = side == 1 ? at.first & 3 : 0, count = at.count + lead;
        to[i] = at.first - lead, to[outputs + i] = count;
        for (int k = 0; k < (count + 3) / 4 * 4; k += 2) {
            int two[2] = {0, 0};
            for (int n = 0; n < 2; ++n) {
                const int tap = k + n - lead;
                if (tap >= 0 && tap < at.count) two[n] = px::quantized(px::weight(kernel, axis, at, tap) / sum, bits);
            }
            to[(2 + k / 2) * outputs + i] = px::paired(two[0], two[1]);
        }
    }
}

namespace {
enum Layout { PLANAR, INTERLEAVED, OTHER };

// Four pixels from `at` on, a word for each channel. In a known layout `at` is the start of a word and the first pixel
// begins `bits` behind it; whole words are read, up to 15 bytes of which belong to no tap. Otherwise bytes are read, of
// `left` taps and no others.
template <int C, int layout>
PIXEL void fetch(const unsigned char* at, unsigned bits, int channel, int pixel, int left, unsigned (&four)[C]) {
    if constexpr (layout == INTERLEAVED) {
        const unsigned a = px::read_word(at), b = px::read_word(at + 4);
        const unsigned c = px::read_word(at + 8), d = px::read_word(at + 12);
        px::part(px::word_at(a, b, bits), px::word_at(b, c, bits), px::word_at(c, d, bits), four);
    } else if constexpr (layout == PLANAR) {
        UNROLL for (int c = 0; c < C; ++c) {
            const unsigned char* plane = at + c * channel;
            four[c] = px::word_at(px::read_word(plane), px::read_word(plane + 4), bits);
        }
    } else {
        UNROLL for (int c = 0; c < C; ++c) four[c] = 0;
        ROLLED for (int k = 3; k >= 0; --k) {
            const unsigned char* from = at + (k < left ? k : 0) * pixel;
            UNROLL for (int c = 0; c < C; ++c) four[c] = four[c] << 8 | px::read_byte(from + c * channel);
        }
    }
}

// `lines` lines of the image, from `source` on, through the pass across into `middle` [lines / 4, C, TW], where a word
// holds four of a column. Of the last four some may lie beyond: no weight meets them.
template <int C, int layout>
PIXEL void pass_across(const unsigned char* source, int channel, int row, int pixel, const int* taps, int n, int w,
                       int lines, int bits, unsigned* middle) {
    for (int x = THREAD % LANES; x < w; x += LANES) {
        const int *column = taps + x, count = column[n], *pairs = column + 2 * n;
        const unsigned char* start = source + column[0] * pixel;
        ROLLED for (int q = THREAD / LANES; q < (lines + 3) / 4; q += STEP) {
            const unsigned char* from[4];
            unsigned inside[4];
            int sums[4][C], offset = q * 4 * row;
            UNROLL for (int j = 0; j < 4; ++j) {
                inside[j] = layout == OTHER ? 0 : px::behind_word(start + offset) * 8;
                from[j] = start + offset - inside[j] / 8;
                offset += layout == OTHER && q * 4 + j + 1 >= lines ? 0 : row;
                UNROLL for (int c = 0; c < C; ++c) sums[j][c] = 1 << (bits - 1);
            }
            const auto four_taps = [&](int k, const int* pair) {
                const int a = pair[0], b = pair[n];
                UNROLL for (int j = 0; j < 4; ++j) {
                    unsigned four[C];
                    fetch<C, layout>(from[j], inside[j], channel, pixel, count - k, four);
                    from[j] += 4 * (layout == INTERLEAVED ? C : pixel);
                    UNROLL for (int c = 0; c < C; ++c)
                        sums[j][c] = px::two_taps<true>(b, four[c], px::two_taps<false>(a, four[c], sums[j][c]));
                }
            };
            if (layout != OTHER) four_taps(0, pairs);  // More often than not that is all.
            ROLLED for (int k = layout == OTHER ? 0 : 4; k < count; k += 4) four_taps(k, pairs + k / 2 * n);
            UNROLL for (int c = 0; c < C; ++c)
                middle[(q * C + c) * TW + x] = px::four_levels(sums[0][c], sums[1][c], sums[2][c], sums[3][c], bits);
        }
    }
}

// A block makes TW x TH outputs of all channels: lines of the image, in chunks that fit shared memory, go through the pass
// across into bytes there, then join the sums of the pass down. Sums of integers know no order, so a chunk may end at any
// fourth line, and no scale is too large.
template <int C>
PIXEL void resample(const Row& one, const Batch& batch, const int* taps, int room, int across, int tiles, int chunk,
                    const Made& out, unsigned char* shared) {
    const int image = BLOCK / tiles, tile = BLOCK % tiles;
    const Row& in = opened(one, batch, image, shared);
    const int nx = in.outputs[0], ny = in.outputs[1];
    const int x0 = tile % across * TW, y0 = tile / across * TH;
    if (x0 >= nx || y0 >= ny) return;
    unsigned* levels = reinterpret_cast<unsigned*>(shared + ROW);                // [3, 256]
    unsigned* parts = levels + LEVELS;                                           // [THREADS]
    unsigned char* made = reinterpret_cast<unsigned char*>(parts + THREADS);     // [C, TH, TW]
    unsigned* middle = reinterpret_cast<unsigned*>(made + C * TH * TW);          // [chunk / 4, C, TW]
    int* saved = reinterpret_cast<int*>(middle + chunk / 4 * C * TW);            // [C, TH, TW], where one chunk is not all
    const int w = nx - x0 < TW ? nx - x0 : TW, h = ny - y0 < TH ? ny - y0 : TH;
    const int *tx = taps + (batch.rows ? image * 2 : 0) * i64(room), *ty = tx + room;
    const int bits_x = *tx++, bits_y = *ty++;
    tx += x0, ty += y0;
    const int begin = ty[0], end = ty[h - 1] + ty[ny + h - 1];
    // Words may be read, and up to three lines more, where all of that lies in the memory.
    const unsigned char* furthest = in.data + i64(end + 2) * in.row + i64(C - 1) * in.channel +
                                    i64(tx[w - 1] + tx[nx + w - 1]) * in.pixel + 20;
    const bool inside = in.row >= 0 && furthest <= in.end;
    const bool interleaved = C == 3 && inside && in.pixel == C && in.channel == 1;
    // Planes are alike modulo 4 only if their distance is 0.
    const bool planar = inside && in.pixel == 1 && (C == 1 || in.channel % 4 == 0);
    read_table(in, levels);
    ROLLED for (int base = begin; base < end; base += chunk) {
        const int lines = end - base < chunk ? end - base : chunk;
        const unsigned char* source = in.data + i64(base) * in.row;
        if (planar)
            pass_across<C, PLANAR>(source, in.channel, in.row, 1, tx, nx, w, lines, bits_x, middle);
        else if (C == 3 && interleaved)
            pass_across<C, C == 3 ? INTERLEAVED : OTHER>(source, 1, in.row, C, tx, nx, w, lines, bits_x, middle);
        else
            pass_across<C, OTHER>(source, in.channel, in.row, in.pixel, tx, nx, w, lines, bits_x, middle);
        BARRIER();
        const bool starts = base == begin, ends = base + lines >= end;
        for (int x = THREAD % LANES; x < w; x += LANES) {
            const int* line = ty + THREAD / LANES;
            ROLLED for (int y = THREAD / LANES; y < h; y += STEP, line += STEP) {
                int sums[C];
                UNROLL for (int c = 0; c < C; ++c) sums[c] = starts ? 1 << (bits_y - 1) : saved[(c * TH + y) * TW + x];
                const int first = line[0] - base, past = first + line[ny];
                const int from = first > 0 ? first : 0, until = past < lines ? past : lines;
                const int* pair = line + (2 + (from - first) / 2) * ny;
                const unsigned* four = middle + from / 4 * C * TW + x;
                ROLLED for (int k = from; k < until; k += 4, four += C * TW, pair += 2 * ny) {
                    const int a = pair[0], b = pair[ny];
                    UNROLL for (int c = 0; c < C; ++c)
                        sums[c] = px::two_taps<true>(b, four[c * TW], px::two_taps<false>(a, four[c * TW], sums[c]));
                }
                UNROLL for (int c = 0; c < C; ++c) {
                    if (ends)
                        made[(c * TH + y) * TW + x] = static_cast<unsigned char>(px::level(sums[c], bits_y));
                    else
                        saved[(c * TH + y) * TW + x] = sums[c];
                }
            }
        }
        BARRIER();
    }
    leave(in, batch, image, levels, parts, out, x0, y0, w, h,
          [&](int c, int x, int y) { return static_cast<int>(made[((c < C ? c : 0) * TH + y) * TW + x]); });
}
}  // namespace

// Blocks: tiles of each image in turn, `across` of them side by side. For images of three channels, and of one.
#define RESAMPLE(C) \
    KERNEL resample_##C(GIVEN Row one, Batch batch, const int* taps, int room, int across, int tiles, int chunk, Made out) { \
        SHARED(); \
        resample<C>(one, batch, taps, room, across, tiles, chunk, out, shared); \
    } \
    EMULATED(resample_##C)
RESAMPLE(3)
RESAMPLE(1)
EMULATED(axis_taps)
