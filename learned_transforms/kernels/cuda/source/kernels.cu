// All kernels: of a resample, of a blur, and of what takes each pixel by itself.
#include "blur.hpp"
#include "resample.hpp"

// Each pixel by itself. Blocks: of each image in turn, so many that each has `share` pixels.
KERNEL copy(GIVEN Row one, Batch batch, int blocks, int share, Made out) {
    SHARED();
    const int image = BLOCK / blocks, begin = BLOCK % blocks * share;
    const Row& in = opened(one, batch, image, shared);
    unsigned* levels = reinterpret_cast<unsigned*>(shared + ROW);  // [3, 256]
    unsigned* parts = levels + LEVELS;                             // [THREADS]
    const int columns = in.outputs[0], pixels = columns * in.outputs[1];
    const int end = begin + share < pixels ? begin + share : pixels;
    read_table(in, levels);
    BARRIER();
    const float mean = mean_of(in, batch, image);
    unsigned mine = 0;
    ROLLED for (int i = begin + THREAD; i < end; i += THREADS) {
        const int y = i / columns, x = i - y * columns;
        const unsigned char* from = in.data + i64(y) * in.row + i64(x) * in.pixel;
        int v[3];
        UNROLL for (int c = 0; c < 3; ++c) v[c] = static_cast<int>(px::read_byte(from + c * in.channel));
        mine += put(in, mean, levels, v, out, image, x, y);
    }
    add_up(in, batch, image, mine, parts);
}
EMULATED(copy)
