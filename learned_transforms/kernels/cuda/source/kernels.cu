// Kernels as sequences of block-wide loops with barriers between them. Every loop strides by the number of threads, and
// what lives across a barrier is in shared memory: a block of one thread is a valid run, which proves the pixels on a CPU
// (tests/emulate.hpp). Strides of outputs may be negative: that is all there is to a flip.
#include "taps.hpp"

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 4)
#define BARRIER() __syncthreads()
#define SHARED() extern __shared__ __align__(16) unsigned char shared[]
#define THREAD static_cast<int>(threadIdx.x)
#define BLOCK static_cast<int>(blockIdx.x)
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define EMULATED(name)
#else
#include "emulate.hpp"
#endif

typedef long long i64;

// Images of a batch, or the same window of each; strides in bytes.
struct Images {
    const unsigned char *data, *end;  // the first pixel of the first image; where the memory ends
    i64 image;
    int channel, row, pixel;
};

// One axis of a resample.
struct Side {
    double shift;
    int inputs, size, keep, outputs;  // of all `size` outputs, so many from `keep` on
};

struct Sides {
    int support, count, bits, pairs;  // pairs: room for weights, even
    Side sides[2];                    // across, down
};

// What is made: strides in values.
template <class Value>
struct Made {
    Value* data;
    i64 image;
    int channel, row, pixel;
};

namespace {
constexpr int TW = 32, TH = 56;  // of a tile of outputs
constexpr int LANES = THREADS < TW ? THREADS : TW, STEP = THREADS / LANES;  // A thread keeps its x where there are enough.

// The workspace of an axis: bits, then first and count [outputs], then pairs of weights [pairs, outputs].
PIXEL int taps_size(const Sides& sides) {
    const int x = sides.sides[0].outputs, y = sides.sides[1].outputs;
    return 1 + (x > y ? x : y) * (2 + sides.pairs);
}
}  // namespace

// Weights of both axes, in blocks 0 and 1. Shared memory: THREADS doubles.
KERNEL axis_taps(const double* terms, Sides sides, int* taps) {
    SHARED();
    double* largest = reinterpret_cast<double*>(shared);
    const Side side = sides.sides[BLOCK];
    const px::Kernel kernel = {terms, sides.support, sides.count};
    const px::Axis axis = px::axis_of(kernel, side.inputs, side.size, side.shift);
    double most = 0, one;
    // Those that a crop leaves out count, too.
    for (int i = THREAD; i < side.size; i += THREADS) {
        const double sum = px::total(kernel, axis, px::window_of(axis, i), &one);
        most = one / sum > most ? one / sum : most;
    }
    largest[THREAD] = most;
    BARRIER();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (THREAD < half && largest[THREAD + half] > largest[THREAD]) largest[THREAD] = largest[THREAD + half];
        BARRIER();
    }
    const int bits = px::fraction_bits(largest[0], sides.bits), outputs = side.outputs;
    int* to = taps + BLOCK * taps_size(sides);
    if (THREAD == 0) *to = bits;
    ++to;
    for (int i = THREAD; i < outputs; i += THREADS) {
        const px::Window at = px::window_of(axis, side.keep + i);
        const double sum = px::total(kernel, axis, at, &one);
        // Down, windows begin where a word of four lines does.
        const int lead = BLOCK == 1 ? at.first & 3 : 0, count = at.count + lead;
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
PIXEL void pass_across(const Images& in, const unsigned char* source, const int* taps, int n, int w, int lines, int bits,
                       unsigned* middle) {
    for (int x = THREAD % LANES; x < w; x += LANES) {
        const int *column = taps + x, count = column[n], *pairs = column + 2 * n;
        const unsigned char* start = source + column[0] * in.pixel;
        ROLLED for (int q = THREAD / LANES; q < (lines + 3) / 4; q += STEP) {
            const unsigned char* from[4];
            unsigned inside[4];
            int sums[4][C], offset = q * 4 * in.row;
            UNROLL for (int j = 0; j < 4; ++j) {
                inside[j] = layout == OTHER ? 0 : px::behind_word(start + offset) * 8;
                from[j] = start + offset - inside[j] / 8;
                offset += layout == OTHER && q * 4 + j + 1 >= lines ? 0 : in.row;
                UNROLL for (int c = 0; c < C; ++c) sums[j][c] = 1 << (bits - 1);
            }
            const auto four_taps = [&](int k, const int* pair) {
                const int a = pair[0], b = pair[n];
                UNROLL for (int j = 0; j < 4; ++j) {
                    unsigned four[C];
                    fetch<C, layout>(from[j], inside[j], in.channel, in.pixel, count - k, four);
                    from[j] += 4 * (layout == INTERLEAVED ? C : in.pixel);
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
template <int C, class Value>
PIXEL void resample(const Images& in, const Sides& sides, const int* taps, const Value* table, int chunk,
                    const Made<Value>& out) {
    SHARED();
    unsigned* middle = reinterpret_cast<unsigned*>(shared);                  // [chunk / 4, C, TW]
    Value* levels = reinterpret_cast<Value*>(middle + chunk / 4 * C * TW);   // [C, 256]
    int* saved = reinterpret_cast<int*>(levels + C * 256);                   // [C, TH, TW], where one chunk is not all
    const int nx = sides.sides[0].outputs, ny = sides.sides[1].outputs;
    const int across = (nx + TW - 1) / TW, tiles = across * ((ny + TH - 1) / TH), tile = BLOCK % tiles;
    const int x0 = tile % across * TW, y0 = tile / across * TH;
    const int w = nx - x0 < TW ? nx - x0 : TW, h = ny - y0 < TH ? ny - y0 : TH;
    const int *tx = taps, *ty = taps + taps_size(sides);
    const int bits_x = *tx++, bits_y = *ty++;
    tx += x0, ty += y0;
    const int begin = ty[0], end = ty[h - 1] + ty[ny + h - 1];
    const unsigned char* image = in.data + BLOCK / tiles * in.image;
    // Words may be read, and up to three lines more, where all of that lies in the memory.
    const unsigned char* furthest = image + i64(end + 2) * in.row + i64(C - 1) * in.channel +
                                    i64(tx[w - 1] + tx[nx + w - 1]) * in.pixel + 20;
    const bool inside = in.row >= 0 && furthest <= in.end;
    const bool interleaved = C == 3 && inside && in.pixel == C && in.channel == 1;
    // Planes are alike modulo 4 only if their distance is 0.
    const bool planar = inside && in.pixel == 1 && (C == 1 || in.channel % 4 == 0);
    for (int i = THREAD; i < C * 256; i += THREADS) levels[i] = table[i];
    Value* made = out.data + BLOCK / tiles * out.image + i64(x0) * out.pixel + i64(y0) * out.row;
    ROLLED for (int base = begin; base < end; base += chunk) {
        const int lines = end - base < chunk ? end - base : chunk;
        const unsigned char* source = image + i64(base) * in.row;
        if (planar)
            pass_across<C, PLANAR>(in, source, tx, nx, w, lines, bits_x, middle);
        else if (C == 3 && interleaved)
            pass_across<C, C == 3 ? INTERLEAVED : OTHER>(in, source, tx, nx, w, lines, bits_x, middle);
        else
            pass_across<C, OTHER>(in, source, tx, nx, w, lines, bits_x, middle);
        BARRIER();
        const bool starts = base == begin, ends = base + lines >= end;
        for (int x = THREAD % LANES; x < w; x += LANES) {
            const int* line = ty + THREAD / LANES;
            Value* to = made + x * out.pixel + THREAD / LANES * out.row;
            ROLLED for (int y = THREAD / LANES; y < h; y += STEP, line += STEP, to += STEP * out.row) {
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
                        to[c * out.channel] = levels[c * 256 + px::level(sums[c], bits_y)];
                    else
                        saved[(c * TH + y) * TW + x] = sums[c];
                }
            }
        }
        BARRIER();
    }
}

// Each pixel through a table. Blocks: of each image in turn, so many that each has `share` pixels.
template <int C, class Value>
PIXEL void look_up(const Images& in, int rows, int columns, int share, const Value* table, const Made<Value>& out) {
    const int blocks = (rows * columns + share - 1) / share, begin = BLOCK % blocks * share;
    const unsigned char* image = in.data + BLOCK / blocks * in.image;
    Value* made = out.data + BLOCK / blocks * out.image;
    const int end = begin + share < rows * columns ? begin + share : rows * columns;
    for (int i = begin + THREAD; i < end; i += THREADS) {
        const int y = i / columns, x = i - y * columns;
        const unsigned char* from = image + i64(y) * in.row + i64(x) * in.pixel;
        Value* to = made + y * out.row + x * out.pixel;
        UNROLL for (int c = 0; c < C; ++c) to[c * out.channel] = table[c * 256 + px::read_byte(from + c * in.channel)];
    }
}
}  // namespace

// Blocks of resample: tiles of each image in turn. Its shared memory: see there.
#define KERNELS(C, bits, Value) \
    KERNEL resample_##C##_##bits(Images in, Sides sides, const int* taps, const Value* table, int chunk, Made<Value> out) { \
        resample<C, Value>(in, sides, taps, table, chunk, out); \
    } \
    KERNEL look_up_##C##_##bits(Images in, int rows, int columns, int share, const Value* table, Made<Value> out) { \
        look_up<C, Value>(in, rows, columns, share, table, out); \
    } \
    EMULATED(resample_##C##_##bits) EMULATED(look_up_##C##_##bits)
KERNELS(3, 8, unsigned char)
KERNELS(3, 32, unsigned)
KERNELS(1, 8, unsigned char)
KERNELS(1, 32, unsigned)
EMULATED(axis_taps)
