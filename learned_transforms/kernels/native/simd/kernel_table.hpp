// What is done to rows of pixels, once for each instruction set; the fastest that the processor has is chosen at run
// time. All give the same values.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ir/ops.hpp"
#include "ir/interpolation.hpp"

namespace lt {

// Kernels read and write up to so many bytes behind the last pixel of a row.
constexpr int64_t PADDING = 64;

// Rows that share the shuffles and weights of a pass along them come in fours.
constexpr int GROUP = 4;

// Where there are no windows for them, rows of floats are passed along so many at a time, each in a lane of its own.
constexpr int TOGETHER = 8;

// A pass along a row, `channels` values in every `pixel` of them. Output values are called lanes: `active` of them make a
// block, and the values of all its lanes for one tap lie in one window of a vector, picked by a shuffle.
struct Blocks {
    const Taps* taps = nullptr;
    int pixel = 1, channels = 1;
    int active = 0, blocks = 0;
    bool shared = false;         // all taps of a block lie in one window: the shuffle moves
    int64_t reach = 0;           // values from the start of a row that are read
    std::vector<int32_t> base;   // [blocks]: first value of the first window
    std::vector<int32_t> index;  // [blocks, lanes]: the shuffle
};

// Of bytes, two taps at a time. From one pair of taps to the next either the shuffle moves on, or the window. Where taps
// are long, a block is one output pixel instead, and a vector holds neighboring pixels of its window, a piece of it.
struct Columns : Blocks {
    // For each group of blocks and each pair of taps: [blocks of a group, lanes]. Of pieces: one pair after the other.
    std::vector<int32_t> low, high;
    int piece = 0;                // pairs of taps, of each channel; 0: no pieces
    std::vector<int32_t> pieces;  // [blocks]

    int step() const { return 2 * pixel; }  // bytes from pair to pair
};

// Of bytes or floats, summed as floats, tap by tap, from which to the next the shuffle moves on, or the window.
struct Sums : Blocks {
    std::vector<int32_t> terms;            // [blocks]: of its longest sum
    std::vector<float> weights;            // [blocks, widest, lanes]
    std::vector<uint16_t> fused, rounded;  // [blocks, widest]: lanes whose product is fused with the sum, or is not
};

// The taps of one output row, for a pass over rows of bytes; `stride` from one weight, or pair, to the next.
struct Rows {
    int count = 0, bits = 0;
    int64_t stride = 1;
    const int32_t* weights = nullptr;  // [count]
    const int32_t* low = nullptr;      // [(count + 1) / 2]: two int16 weights each, the low 15 bits if they are wide
    const int32_t* high = nullptr;     // the rest, if they are wide
};

// A pass over a small planar image of bytes, whole: a sum of up to four along a row, then of up to four of these down a
// column, each rounded; no weight is negative, and no sum beyond 255. Then one gray channel of three, or all channels.
struct Small {
    struct Taps {
        int pairs = 0, bits = 0;
        std::vector<int32_t> base;     // along: [blocks], first byte of a window; down: [outputs, 4], rows
        std::vector<int32_t> index;    // along: [blocks, pairs, lanes], the shuffle
        std::vector<int32_t> weights;  // two in every number; along: [blocks, pairs, lanes]; down: [outputs, 2]
    };

    int channels = 0, height = 0, width = 0;  // of the image
    int64_t channel = 0, row = 0;             // bytes from one to the next
    int rows = 0, columns = 0;                // of the output
    int blocks = 0;                           // of columns, an even number
    Taps along, down;
    const float* gray = nullptr;  // [3]: weights, the second and third product fused with the sum, which is cut off
};

// Sides of an image that is done whole, and of what is made of it.
constexpr int MOST_SIDE = 128;

// A copy of rows and columns of such an image, in any order, with what lies beyond.
struct SmallCopy {
    int channels = 0, width = 0;        // of the image
    int64_t channel = 0, row = 0;       // bytes from one to the next
    int rows = 0, columns = 0;          // of the output
    int row_of[MOST_SIDE];              // -1: beyond
    int base[MOST_SIDE / 16];           // of blocks of as many columns as a window has bytes: where it begins
    uint8_t index[MOST_SIDE + PADDING]; // in the window; 128 and more: beyond
    std::array<uint8_t, 4> fill{};
};

// Which byte of a row each byte of a line is, where they come in any order. Blocks of a line whose bytes all lie in
// one window of two blocks are picked by a shuffle.
struct Picks {
    std::vector<int32_t> at;     // [bytes of a line]
    std::vector<int32_t> base;   // [blocks]: first byte of the window; -1: there is none
    std::vector<uint8_t> index;  // [blocks, bytes of a block], in the window

    // `bytes` of each pixel kept, `pixel` bytes apart in a row of `size` pixels; without any outside.
    Picks(const Keep& columns, int64_t size, int64_t pixel, int64_t bytes, int64_t block);
};

// Stages of color with the numbers of one image.
struct Blending {
    const Mix* mix;  // makes the gray channel that is the other; null: there is but one value, `mean`
    float a, b, mean;
    Blend::Form form;
    bool fma;
    Rounding rounding;
    float ceiling;
};

struct Turning {
    const Turn* stage;
    float factor;   // turns
    int32_t shift;  // whole steps, in [0, 255]
};

// A box: pixels up to `radius` away count `inside`, those behind them `beyond`, in units of 2^-24.
struct Box {
    int64_t radius;
    uint32_t inside, beyond;
};

// Values that are summed again together, and how many such blocks at most at once.
constexpr int64_t AGAIN = 16, BLOCKS_AT_ONCE = 8;

// A window whose products are summed at once, row by row, each fused onto those before; without ends that are 0. Sums of
// rows and then columns are no further away from that than `steady`, and `relative` times the largest power of two in it,
// or in LOW.
constexpr float LOW = 32;
struct Window {
    int64_t height = 0, width = 0;
    std::vector<float> weights;  // [height, width]
    double steady = 0, relative = 0;

    // Floats of a row that the blocks of one line see, and of all for which kernels want memory.
    int64_t pitch(int64_t step) const { return ((width - 1) * step + 2 * AGAIN - 1) / AGAIN * AGAIN; }
    int64_t memory(int64_t step) const { return BLOCKS_AT_ONCE * height * pitch(step) + AGAIN; }
};

// Values of a line to sum again: `at` is the first, whose window begins at rows[0]; where they go, and how many.
struct Block {
    const uint8_t* const* rows;
    int64_t at;
    uint8_t* out;
    int64_t values;
};

// The largest power of two in a normal number above 0.
static inline float power_in(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits &= 0x7f800000;  // the exponent alone
    std::memcpy(&value, &bits, 4);
    return value;
}

// A warp with the matrix of one image, or with its places: [2, rows, columns] of its output, x and y; null: a matrix.
struct Warping {
    const Warp* stage;
    std::array<double, 8> matrix;
    const float* places = nullptr;
};

// A number in units of 2^-bits, rounded half up, modulo 2^32.
static inline uint32_t in_units(double value, int bits) {
    const double rounded = std::floor(std::ldexp(value, bits) + 0.5);
    return std::abs(rounded) < 9e18 ? static_cast<uint32_t>(static_cast<int64_t>(rounded)) : 0;
}

// An image of up to three channels as pixels of four bytes, the last 1, in a frame of FRAME pixels: copies of those at
// the edge, or zeros, the last byte too.
constexpr int64_t FRAME = 2;
struct Framed {
    const uint32_t* pixels;  // the first of the image
    int64_t stride, height, width;
};

// Line y of a warp, of `size` (rows, columns): `plane` bytes from a channel to the next, or 0: side by side.
struct WarpedLine {
    Size size;
    int64_t y, channels, plane;
    const int32_t* columns;  // where each pixel lies along the row at `row`, or -1, where no other matters; or null
    int64_t row;
};

// Rows of a blur that are summed at a time.
constexpr int BLURRED = 4;

// What is read next: rows lie in new pages, where the processor's own prefetching starts anew.
struct Ahead {
    int64_t row;  // bytes from a row to the next; 0: no row follows

    // Fetch bytes [at, stop), by the line, of a group of rows: those that come `count` rows behind `rows`.
    // Returns where it stopped.
    int fetch(const uint8_t* const* rows, int64_t count, int at, int stop) const {
        for (; row && at < stop; at += 64)
            for (int r = 0; r < GROUP; ++r) __builtin_prefetch(rows[r] + count * row + at, 0, 2);
        return at;
    }
};

// What the four products of a joint sum are made of: first and last pixels of two rows, and weights of both axes.
struct Corners {
    const float *top[2], *bottom[2];
    float rows[2];
    const float* columns[2];
};

struct Kernels {
    const char* name;
    int window, lanes, group;  // of Columns: bytes of a window, lanes of a block at most, blocks of a vector; or 0
    int piece, pixels;         // pairs of taps in a piece of pixels of up to four bytes, and of single channels
    bool formulas;             // tables that are formulas are faster than others
    int sums, bytes_seen, floats_seen;  // of Sums: lanes of a block at most, values of a window; or 0
    bool shares;                        // windows of Sums had better be loaded once

    // Both passes over bytes round half up and clamp; they write whole vectors, into padded memory.
    // `count` rows, a multiple of GROUP.
    void (*columns)(const Columns& plan, const uint8_t* const* rows, uint8_t* const* out, int count, Ahead ahead);
    void (*rows)(const Rows& plan, const uint8_t* const* rows, int64_t bytes, uint8_t* out);

    // The float passes: weights and sums are float32, in the order of the taps. Along TOGETHER rows, whose values of a
    // pixel are side by side in `turned`; they write whole vectors.
    void (*columns_bytes)(const Taps& taps, int pixel, int channels, const Arithmetic& how, const uint8_t* const* rows,
                          float* turned, float* const* out);
    void (*columns_floats)(const Taps& taps, int pixel, int channels, const Arithmetic& how, const float* const* rows,
                           float* turned, float* const* out);
    // The same of `count` rows, a multiple of GROUP; null where `sums` is 0. They write whole vectors.
    void (*sums_bytes)(const Sums& plan, const uint8_t* const* rows, float* const* out, int count);
    void (*sums_floats)(const Sums& plan, const float* const* rows, float* const* out, int count);
    void (*rows_bytes)(const Taps& taps, int64_t i, const Arithmetic& how, const uint8_t* const* rows, int64_t n,
                       float* out);
    void (*rows_floats)(const Taps& taps, int64_t i, const Arithmetic& how, const float* const* rows, int64_t n,
                        float* out);

    // Both passes at once, of two pixels each: the pixels of a row, then the sums.
    void (*pairs_bytes)(const Taps& taps, int pixel, int channels, const uint8_t* row, float* first, float* last);
    void (*pairs_floats)(const Taps& taps, int pixel, int channels, const float* row, float* first, float* last);
    void (*joint)(const Corners& at, bool fma, int64_t n, float* out);

    // Unrounded integer sums between the passes; each product of the second pass is cut to quarters of a level.
    void (*columns_sums)(const Taps& taps, int pixel, int channels, const uint8_t* row, uint32_t* out);
    void (*rows_quarters)(const Rows& plan, int bits, const uint32_t* const* rows, int64_t n, uint8_t* out);

    // Levels, rounded and clamped, as bytes; and the same left as floats.
    void (*to_bytes)(Rounding rounding, const float* in, int64_t n, uint8_t* out);
    void (*to_levels)(Rounding rounding, const float* in, int64_t n, float* out);

    // Interleaved pixels to one plane for each channel.
    void (*split)(const uint8_t* in, int channels, int64_t n, uint8_t* const* planes);

    // The opposite.
    void (*join_bytes)(const uint8_t* const* planes, int64_t channels, int64_t n, uint8_t* out);
    void (*join_words)(const uint16_t* const* planes, int64_t channels, int64_t n, uint16_t* out);
    void (*join_floats)(const float* const* planes, int64_t channels, int64_t n, float* out);

    // Bytes of a row in any order; it reads nothing beyond the windows, and writes no more than the line.
    void (*pick)(const Picks& picks, const uint8_t* row, uint8_t* out);
    int64_t picked;  // bytes of a block; 0: there are none

    // Back to front; words are values, or pixels, of four bytes.
    void (*reverse_bytes)(const uint8_t* in, int64_t n, uint8_t* out);
    void (*reverse_words)(const uint32_t* in, int64_t n, uint32_t* out);

    // Pointwise, on n values of each plane. Mixes give bytes, or floats without rounding.
    void (*mix_bytes)(const Mix& mix, int64_t output, const uint8_t* const* planes, int64_t n, void* out);
    void (*mix_floats)(const Mix& mix, int64_t output, const float* const* planes, int64_t n, void* out);
    void (*table)(const Table& table, int64_t channel, const uint8_t* in, int64_t n, float* out);
    void (*levels)(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out);
    void (*words)(const Table& table, int64_t channel, const uint8_t* in, int64_t n, uint16_t* out);
    void (*normalize)(float mean, float std, const float* in, int64_t n, float* out);
    void (*normalize_words)(Dtype dtype, float mean, float std, const uint16_t* in, int64_t n, uint16_t* out);
    void (*cast)(Dtype dtype, const float* in, int64_t n, uint16_t* out);

    // n values of a row: `rows`, one for each of the window, begin at its first column; `step` from column to column.
    void (*filter_bytes)(const Filter& filter, const uint8_t* const* rows, int64_t step, int64_t n, void* out);
    void (*filter_floats)(const Filter& filter, const float* const* rows, int64_t step, int64_t n, void* out);

    // n outputs from number `first` on; `places` [terms, n]: where in the plane their pixels lie.
    void (*sparse_bytes)(const Sparse& sparse, int64_t first, const uint8_t* plane, const int64_t* places, int64_t n,
                         void* out);
    void (*sparse_floats)(const Sparse& sparse, int64_t first, const float* plane, const int64_t* places, int64_t n,
                          void* out);

    // Colors, on n values: `other` is of floats; a turn works on three planes; a stretch is from [low, high].
    void (*blend_bytes)(const Blending& how, const uint8_t* image, const float* other, int64_t n, void* out);
    void (*blend_floats)(const Blending& how, const float* image, const float* other, int64_t n, void* out);
    void (*stretch_bytes)(const Stretch& how, double low, double high, const uint8_t* in, int64_t n, void* out);
    void (*stretch_floats)(const Stretch& how, double low, double high, const float* in, int64_t n, void* out);
    void (*turn_bytes)(const Turning& how, const uint8_t* const* planes, int64_t n, void* const* out);
    void (*turn_floats)(const Turning& how, const float* const* planes, int64_t n, void* const* out);
    void (*to_floats)(const uint8_t* in, int64_t n, float* out);

    // Statistics: the sum of all, floats in another order than the reference adds them; the least and the largest,
    // which widen `ends`; how often each level is there.
    uint64_t (*total_bytes)(const uint8_t* in, int64_t n);
    double (*total_floats)(const float* in, int64_t n);
    void (*ends_bytes)(const uint8_t* in, int64_t n, double* ends);
    void (*ends_floats)(const float* in, int64_t n, double* ends);
    void (*histogram)(const uint8_t* in, int64_t n, int64_t* counts);

    // `count` taps down BLURRED neighboring windows of rows at once, the first of which begins at rows[0]; and along a
    // row, `step` values apart. They write whole vectors.
    void (*blur_down_bytes)(const float* taps, int64_t count, bool fma, const uint8_t* const* rows, int64_t n,
                            float* const* out);
    void (*blur_down_floats)(const float* taps, int64_t count, bool fma, const float* const* rows, int64_t n,
                             float* const* out);
    void (*blur_along)(const float* taps, int64_t count, int64_t step, bool fma, const float* in, int64_t n,
                       float* out);
    // Blocks of AGAIN out of n sums that hold one which may round otherwise: their first values, and how many there are.
    // And the sums of such blocks over the whole window; `step` from column to column.
    int64_t (*unsure)(const Window& window, const float* in, int64_t n, int64_t* at);
    void (*again)(const Window& window, const Block* blocks, int64_t count, int64_t step, float* seen, float* out);
    // n values of which the first box begins at in[0], its pixels `step` values apart; it writes whole vectors.
    void (*box)(const Box& box, const uint8_t* in, int64_t step, int64_t n, uint8_t* out);

    // Rows to pixels of four bytes, and a line of these warped; null: there are none.
    void (*frame)(const uint8_t* const* planes, int64_t channels, int64_t step, int64_t n, uint32_t* out);
    void (*warp)(const Warping& how, const Framed& from, const WarpedLine& line, uint8_t* out);

    // Two images as one: each value of either weighed, then both added, each rounded by itself.
    void (*weighed)(const float* one, float weight, const float* other, float rest, int64_t n, float* out);

    Evaluation<float> floats, mixed;  // mixed: as Arithmetic::grouped has it
    Evaluation<double> doubles;

    // A small image, whole; null: it is not. middle: for each of its rows `blocks` times the lanes of one, of words. out:
    // by channel, row by row; whole vectors are written.
    void (*small)(const Small& plan, const uint8_t* image, int16_t* middle, uint8_t* const* out) = nullptr;
    void (*small_copy)(const SmallCopy& plan, const uint8_t* image, uint8_t* const* out) = nullptr;
};

extern const Kernels PORTABLE;
const Kernels* avx512();  // null where the processor, or this build, does not have it
const Kernels* avx2();
const Kernels* sse4();
const Kernels* neon();

// All of them, the fastest first.
inline std::array<const Kernels*, 5> every_kernels() { return {avx512(), avx2(), sse4(), neon(), &PORTABLE}; }

// The shuffles and weights of `plan`, of which taps, pixel and channels are set.
void prepare(Columns& plan, const Kernels& kernels);
void prepare(Sums& plan, bool floating, const Arithmetic& arithmetic, const Kernels& kernels);

}  // namespace lt
