// All kernels: of a resample, of a blur, and of what takes each pixel by itself.
#include "blur.hpp"
#include "resample.hpp"

// Each pixel by itself. Blocks: tiles of each image in turn, `across` of them side by side.
KERNEL copy(GIVEN Row one, Batch batch, int across, int tiles, Made out) {
    SHARED();
    const int image = BLOCK / tiles, tile = BLOCK % tiles;
    const Row& in = opened(one, batch, image, shared);
    const int nx = in.outputs[0], ny = in.outputs[1], x0 = tile % across * TW, y0 = tile / across * TH;
    if (x0 >= nx || y0 >= ny) return;
    unsigned* levels = reinterpret_cast<unsigned*>(shared + ROW);  // [3, 256]
    unsigned* parts = levels + LEVELS;                             // [THREADS]
    read_table(in, levels);
    BARRIER();
    const unsigned char* data = in.data + i64(y0) * in.row + i64(x0) * in.pixel;
    const int channel = in.channel, row = in.row, pixel = in.pixel;
    leave(in, batch, image, levels, parts, out, x0, y0, nx - x0 < TW ? nx - x0 : TW, ny - y0 < TH ? ny - y0 : TH,
          [&](int c, int x, int y) { return static_cast<int>(px::read_byte(data + i64(y) * row + x * pixel + c * channel)); });
}
EMULATED(copy)
