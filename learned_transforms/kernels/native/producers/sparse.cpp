#include "producers/row_producer.hpp"

namespace lt {
namespace {

// Its lines are planar, whatever the image's memory.
class Scattered final : public Lines {
  public:
    Scattered(const Sparse& sparse, const View& from, const Kernels& kernels, Scratch& scratch)
        : Lines(sparse.to[1], from.channels, dtype_of(sparse.arithmetic.rounding), false, scratch),
          sparse_(sparse),
          from_(from),
          kernels_(kernels),
          places_(scratch.get<int64_t>(Scratch::PLACES, sparse.terms * width_)) {}

  private:
    void make(int64_t i, uint8_t* to) override {
        const int64_t first = i * width_, row = from_.row / from_.element(), pixel = from_.pixel / from_.element();
        for (int64_t k = 0; k < sparse_.terms; ++k) {
            const Pixel* pixels = sparse_.pixels.data() + k * sparse_.outputs() + first;
            for (int64_t j = 0; j < width_; ++j)
                places_[k * width_ + j] = pixels[j].row * row + pixels[j].column * pixel;
        }
        for (int64_t c = 0; c < from_.channels; ++c, to += width_ * size_of(dtype_)) {
            const uint8_t* plane = from_.data + c * from_.channel;
            if (from_.floating())
                kernels_.sparse_floats(sparse_, first, reinterpret_cast<const float*>(plane), places_, width_, to);
            else
                kernels_.sparse_bytes(sparse_, first, plane, places_, width_, to);
        }
    }

    const Sparse& sparse_;
    const View& from_;
    const Kernels& kernels_;
    int64_t* places_;
};

}  // namespace

Source scattered(const Sparse& sparse, const View& from, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Scattered>(sparse, from, kernels, scratch);
}

}  // namespace lt
