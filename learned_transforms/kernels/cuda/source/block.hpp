// What blocks of all kernels share: what is done to an image, and how its pixels leave them. Loops stride by the number of
// threads, and what lives across a barrier is in shared memory: a block of one thread is a valid run, which proves the
// pixels on a CPU (tests/emulate.hpp).
#pragma once

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 4)
#define GIVEN const __grid_constant__
#define BARRIER() __syncthreads()
#define SHARED() extern __shared__ __align__(16) unsigned char shared[]
#define ADD(to, value) atomicAdd(to, value)
#define THREAD static_cast<int>(threadIdx.x)
#define BLOCK static_cast<int>(blockIdx.x)
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define UNROLL_BY_FOUR _Pragma("unroll 4")
#define WROTE(bytes)
#define EMULATED(name)
#else
#include "emulate.hpp"
#endif

#include "color.hpp"
#include "taps.hpp"

typedef long long i64;
typedef unsigned long long u64;

namespace {
constexpr int LANES = THREADS < 32 ? THREADS : 32, STEP = THREADS / LANES;  // A thread keeps its x where it can.
constexpr int OPS = 6, FACTORS = 12, REACH = 32, LEVELS = 3 * 256;
}

// What a launch does to one image; axes are across, then down. As in records.py.
struct Row {
    double factors[FACTORS];           // what was drawn
    const unsigned char *data, *end;   // the first pixel that is taken; where the memory ends
    const unsigned* table;             // [3, 256]: what becomes of each level at last
    int channels, channel, row, pixel; // of the image; strides in bytes, of one channel 0
    int inputs[2], size[2], keep[2];   // of a resample: from so many pixels, of all `size` outputs those from `keep` on
    int outputs[2], start[2], step[2]; // how many are made, and where they go: output i to start + i * step
    int window[2], blurred;            // of a blur, odd; whether there is one
    int pixels;                        // of the image whose mean gray was summed before
    int count, made, summed, fused;    // operations; channels of the result; whether the gray of that is summed, and how
    float gray[4];
    float band;                        // of a blur that is summed at once, see there; 0: it is not
    float weights[2][REACH];           // of a blur, by distance from its middle
    px::Op ops[OPS];
};

// Which images a launch is for: each with a row of its own, or all with one, from image to image so many bytes apart.
struct Batch {
    const Row* rows;
    i64 stride;
    u64 *before, *after;  // sums of gray: those of the launch before, and where this one's go
};

// What is made: values of so many bytes, which strides count.
struct Made {
    void* data;
    i64 image;
    int channel, row, pixel, bytes;
};

namespace {

constexpr int ROW = (sizeof(Row) + 15) / 16 * 16;

// The row of an image, copied to the start of shared memory, where the block has worked out its numbers.
PIXEL const Row& opened(const Row& one, const Batch& batch, int image, unsigned char* shared) {
    const int* from = reinterpret_cast<const int*>(batch.rows ? batch.rows + image : &one);
    int* to = reinterpret_cast<int*>(shared);
    for (int i = THREAD; i < static_cast<int>(sizeof(Row) / sizeof(int)); i += THREADS) to[i] = from[i];
    BARRIER();
    Row& row = *reinterpret_cast<Row*>(shared);
    for (int n = THREAD; n < row.count; n += THREADS) {
        px::Op& op = row.ops[n];
        const double factor = op.slot < 0 ? 0 : row.factors[op.slot];
        op.a = static_cast<float>(op.terms[0] + op.terms[1] * factor);
        op.b = static_cast<float>(op.terms[2] + op.terms[3] * factor);
    }
    if (THREAD == 0 && !batch.rows) row.data += image * batch.stride;
    BARRIER();
    return row;
}

// What the threads of a block have summed joins the sum of its image. `parts`: shared memory, a number for each.
PIXEL void add_up(const Batch& batch, int image, unsigned mine, unsigned* parts) {
    parts[THREAD] = mine;
    BARRIER();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (THREAD < half) parts[THREAD] += parts[THREAD + half];
        BARRIER();
    }
    if (THREAD == 0) ADD(batch.after + image, static_cast<u64>(parts[0]));
}

PIXEL void read_table(const Row& row, unsigned* levels) {
    for (int i = THREAD; i < LEVELS; i += THREADS) levels[i] = row.table[i];
}

template <class Value>
PIXEL void store(const unsigned* levels, const int (&v)[3], int made, Value* to, int channel) {
    to[0] = static_cast<Value>(levels[v[0]]);
    if (made == 1) return;
    to[channel] = static_cast<Value>(levels[256 + v[1]]);
    to[2 * channel] = static_cast<Value>(levels[512 + v[2]]);
}

// A tile of w x h pixels goes through the operations, then through the table `levels` [3, 256], to outputs from (x0, y0)
// on. level(c, x, y) gives what is there; `parts` is memory for sums.
template <class Level>
PIXEL void leave(const Row& row, const Batch& batch, int image, const unsigned* levels, unsigned* parts, const Made& out,
                 int x0, int y0, int w, int h, const Level& level) {
    const int count = row.count, made = row.made, channel = out.channel, bytes = out.bytes;
    const bool summed = row.summed != 0, works = count > 0 || summed;
    const float mean = batch.before ? static_cast<float>(batch.before[image]) / static_cast<float>(row.pixels) : 0.0f;
    const i64 first = image * out.image;
    const int down = STEP * row.step[1] * out.row;
    unsigned mine = 0;
    for (int x = THREAD % LANES; x < w; x += LANES) {
        int at = (row.start[1] + (y0 + THREAD / LANES) * row.step[1]) * out.row +
                 (row.start[0] + (x0 + x) * row.step[0]) * out.pixel;
        ROLLED for (int y = THREAD / LANES; y < h; y += STEP, at += down) {
            int v[3] = {level(0, x, y), level(1, x, y), level(2, x, y)};
            if (works) {
                float f[3] = {px::real(v[0]), px::real(v[1]), px::real(v[2])};
                ROLLED for (int n = 0; n < count; ++n) px::operate(row.ops[n], mean, f);
                UNROLL for (int c = 0; c < 3; ++c) v[c] = px::whole(f[c]);
                if (summed) mine += static_cast<unsigned>(px::whole(px::mixed(row.fused != 0, row.gray, f)));
            }
            WROTE(made * bytes);
            if (bytes == 4)
                store(levels, v, made, static_cast<unsigned*>(out.data) + first + at, channel);
            else if (bytes == 2)
                store(levels, v, made, static_cast<unsigned short*>(out.data) + first + at, channel);
            else
                store(levels, v, made, static_cast<unsigned char*>(out.data) + first + at, channel);
        }
    }
    if (summed) add_up(batch, image, mine, parts);
}

}  // namespace
