#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "producers/row_producer.hpp"

namespace lt {
namespace {

constexpr double FARTHEST = 1 << 15;  // places that 16 bits before the point do not hold

// A place in the image, in pixels: of cut warps, from the edge of the first, of others, from its middle.
template <class T>
struct Place {
    T x, y;
};

struct Spot {
    int64_t row, column;
    bool inside;
};

float fused(float a, float b, float c, bool fma) { return fma ? std::fma(a, b, c) : a * b + c; }

// Of an affine map of nearest pixels, to whose places steps are added one by one: how, and where lines begin.
struct Steps {
    enum Kind { none, apart, whole_numbers, sums } kind = none;
    std::vector<int32_t> columns, rows;  // apart: the pixel along either axis, or -1
};

class Warped final : public Lines {
  public:
    Warped(const Warping& how, Size size, const View& from, const Kernels& kernels, Scratch& scratch)
        : Lines(size[1], from.channels, dtype_of_line(*how.stage, from), from.values() > 1, scratch),
          how_(how),
          stage_(*how.stage),
          size_(size),
          from_(from),
          kernels_(kernels) {
        const double *m = how.matrix.data();
        if (stage_.form == Warp::cut) {
            if (stage_.nearest() && !stage_.perspective() && stage_.arithmetic.number == Number::integer) add_up();
        } else {
            const float halves[2] = {0.5f * static_cast<float>(from.width), 0.5f * static_cast<float>(from.height)};
            for (int n = 0; n < 6 && !stage_.field(); ++n) grid_[n] = static_cast<float>(m[n]) / halves[n / 3];
            grid_[6] = static_cast<float>(m[6]), grid_[7] = static_cast<float>(m[7]);
            fuses_ = stage_.fused > 0 && size[0] * size[1] >= stage_.fused;
        }
        const Rounding rounding = stage_.form == Warp::cut ? Rounding::truncate : Rounding::half_even;
        const bool fast = kernels.warp && !from.floating() && from.element() == 1 && from.channels <= 3 &&
                          steps_.kind != Steps::sums && from.height < FARTHEST && from.width < FARTHEST &&
                          (stage_.nearest() ||
                           (stage_.arithmetic.rounding == rounding &&
                            (stage_.linear() || (stage_.cubic() && stage_.form == Warp::cut))));
        if (fast) enframe(scratch);
    }

  private:
    static Dtype dtype_of_line(const Warp& stage, const View& from) {
        return stage.nearest() ? from.dtype : dtype_of(stage.arithmetic.rounding);
    }

    void make(int64_t i, uint8_t* to) override {
        if (framed_.pixels) {
            const bool apart = steps_.kind == Steps::apart;
            const WarpedLine line{size_, i, from_.channels, interleaved_ ? 0 : width_,
                                  apart ? steps_.columns.data() : nullptr,
                                  apart ? steps_.rows[static_cast<size_t>(i)] : 0};
            return kernels_.warp(how_, framed_, line, to);
        }
        if (stage_.nearest())
            copy(i, to);
        else if (from_.floating())
            sum<float>(i, to);
        else
            sum<uint8_t>(i, to);
    }

    // How steps are added to places; see reference/warp.py.
    void add_up() {
        const double* m = how_.matrix.data();
        const auto listed = [](double start, double step, int64_t count, int64_t size) {
            std::vector<int32_t> found;
            for (int64_t i = 0; i < count; ++i, start += step)
                found.push_back(start >= 0 && start < static_cast<double>(size) ? static_cast<int32_t>(start) : -1);
            return found;
        };
        if (m[1] == 0 && m[3] == 0) {
            steps_.kind = Steps::apart;
            steps_.columns = listed(m[2] + m[0] * 0.5, m[0], size_[1], from_.width);
            steps_.rows = listed(m[5] + m[4] * 0.5, m[4], size_[0], from_.height);
            return;
        }
        bool held = true;
        for (const double x : {0.0, static_cast<double>(size_[1])})
            for (const double y : {0.0, static_cast<double>(size_[0])})
                held &= std::abs(x * m[0] + y * m[1] + m[2]) < FARTHEST && std::abs(x * m[3] + y * m[4] + m[5]) < FARTHEST;
        steps_.kind = held ? Steps::whole_numbers : Steps::sums;
    }

    // The image with four bytes a pixel, and the frame around it.
    void enframe(Scratch& scratch) {
        const int64_t stride = from_.width + 2 * FRAME, w = from_.width;
        auto* memory = scratch.get<uint32_t>(Scratch::RING, stride * (from_.height + 2 * FRAME));
        uint32_t* first = memory + FRAME * stride + FRAME;
        const bool repeated = stage_.form == Warp::cut;
        for (int64_t y = 0; y < from_.height; ++y) {
            const uint8_t* planes[3];
            for (int64_t c = 0; c < from_.channels; ++c)
                planes[c] = from_.data + y * from_.row + c * from_.channel;
            uint32_t* row = first + y * stride;
            kernels_.frame(planes, from_.channels, from_.pixel, w, row);
            for (int64_t k = 1; k <= FRAME; ++k) row[-k] = repeated ? row[0] : 0, row[w - 1 + k] = repeated ? row[w - 1] : 0;
        }
        const auto bytes = static_cast<size_t>(stride) * 4;
        uint32_t *top = first - FRAME, *bottom = top + (from_.height - 1) * stride;
        for (int64_t k = 1; k <= FRAME; ++k) {
            if (repeated) {
                std::memcpy(top - k * stride, top, bytes);
                std::memcpy(bottom + k * stride, bottom, bytes);
            } else {
                std::memset(top - k * stride, 0, bytes);
                std::memset(bottom + k * stride, 0, bytes);
            }
        }
        framed_ = {first, stride, from_.height, w};
    }

    // Where pixel (x, y) of the output lies.
    Place<double> cut_place(int64_t x, int64_t y) const {
        const double *m = how_.matrix.data(), across = static_cast<double>(x) + 0.5, down = static_cast<double>(y) + 0.5;
        Place<double> at{m[0] * across + m[1] * down + m[2], m[3] * across + m[4] * down + m[5]};
        if (stage_.perspective()) {
            const double depth = m[6] * across + m[7] * down + 1;
            at.x /= depth, at.y /= depth;
        }
        return at;
    }

    Place<float> grid_place(int64_t x, int64_t y) const {
        const bool perspective = stage_.perspective();
        const auto centered = [&](int64_t i, int64_t n) {
            return perspective ? static_cast<float>(i) + 0.5f : (1.f - static_cast<float>(n)) * 0.5f + static_cast<float>(i);
        };
        const float across = centered(x, size_[1]), down = centered(y, size_[0]);
        const auto product = [&](float p, float q, float r) { return fused(down, q, across * p, fuses_) + r; };
        const float *t = grid_, *places = how_.places;
        const int64_t n = y * size_[1] + x;
        Place<float> at = places ? Place<float>{places[n], places[size_[0] * size_[1] + n]}
                                 : Place<float>{product(t[0], t[1], t[2]), product(t[3], t[4], t[5])};
        if (perspective) {
            const float depth = product(t[6], t[7], 1);
            at.x = at.x / depth - 1, at.y = at.y / depth - 1;
        }
        const bool fma = stage_.arithmetic.fma;
        return {fused(at.x + 1, static_cast<float>(from_.width) / 2, -0.5f, fma),
                fused(at.y + 1, static_cast<float>(from_.height) / 2, -0.5f, fma)};
    }

    bool holds(double row, double column) const {
        return row >= 0 && row < static_cast<double>(from_.height) && column >= 0 &&
               column < static_cast<double>(from_.width);
    }

    Spot spot(double row, double column) const {
        if (!holds(row, column)) return {0, 0, false};
        return {static_cast<int64_t>(row), static_cast<int64_t>(column), true};
    }

    Spot nearest(int64_t x, int64_t y) const {
        if (stage_.form != Warp::cut) {
            const Place<float> at = grid_place(x, y);
            return spot(std::nearbyint(at.y), std::nearbyint(at.x));
        }
        if (steps_.kind == Steps::apart) {
            const int32_t row = steps_.rows[static_cast<size_t>(y)], column = steps_.columns[static_cast<size_t>(x)];
            return {row, column, row >= 0 && column >= 0};
        }
        const double* m = how_.matrix.data();
        if (steps_.kind == Steps::whole_numbers) {
            const int bits = stage_.arithmetic.bits;
            const auto at = [&](double start, double across, double down) {
                const uint32_t place = in_units(start, bits) + static_cast<uint32_t>(y) * in_units(down, bits) +
                                       static_cast<uint32_t>(x) * in_units(across, bits);
                return static_cast<double>(static_cast<int32_t>(place) >> bits);
            };
            return spot(at(m[5] + m[3] * 0.5 + m[4] * 0.5, m[3], m[4]), at(m[2] + m[0] * 0.5 + m[1] * 0.5, m[0], m[1]));
        }
        const Place<double> at = cut_place(x, y);
        return spot(at.y, at.x);
    }

    // Where values of a channel of a pixel lie in a line.
    int64_t place(int64_t x, int64_t c) const { return interleaved_ ? x * from_.channels + c : c * width_ + x; }

    const uint8_t* value(int64_t row, int64_t column, int64_t c) const {
        return from_.data + row * from_.row + column * from_.pixel + c * (interleaved_ ? from_.element() : from_.channel);
    }

    // The nearest pixels, bit by bit.
    void copy(int64_t y, uint8_t* to) {
        const auto bytes = static_cast<size_t>(from_.element());
        Place<double> sum{0, 0};
        if (steps_.kind == Steps::sums) sum = line_start(y);
        for (int64_t x = 0; x < width_; ++x) {
            const Spot at = steps_.kind == Steps::sums ? spot(sum.y, sum.x) : nearest(x, y);
            sum.x += how_.matrix[0], sum.y += how_.matrix[3];
            for (int64_t c = 0; c < from_.channels; ++c) {
                uint8_t* out = to + place(x, c) * static_cast<int64_t>(bytes);
                if (at.inside)
                    std::memcpy(out, value(at.row, at.column, c), bytes);
                else
                    put_fill(c, out);
            }
        }
    }

    Place<double> line_start(int64_t y) {
        const double* m = how_.matrix.data();
        Place<double> at{m[2] + m[1] * 0.5 + m[0] * 0.5, m[5] + m[4] * 0.5 + m[3] * 0.5};
        for (int64_t i = 0; i < y; ++i) at.x += m[1], at.y += m[4];
        return at;
    }

    float fill(int64_t c) const { return stage_.fill.empty() ? 0 : stage_.fill[static_cast<size_t>(c)]; }

    void put_fill(int64_t c, uint8_t* out) const {
        const float value = fill(c);
        if (from_.floating())
            std::memcpy(out, &value, sizeof(value));
        else
            *out = level(value, Rounding::half_even);
    }

    static uint8_t level(double value, Rounding rounding) {
        if (rounding == Rounding::half_even) value = std::nearbyint(value);
        if (rounding == Rounding::half_up) value = std::floor(value + 0.5);
        return value > 0 ? value < 255 ? static_cast<uint8_t>(value) : 255 : 0;  // What is no number: 0.
    }

    template <class T>
    double at(int64_t row, int64_t column, int64_t c) const {
        T found;
        std::memcpy(&found, value(row, column, c), sizeof(T));
        return static_cast<double>(found);
    }

    // Sums around places.
    template <class T>
    void sum(int64_t y, uint8_t* to) {
        for (int64_t x = 0; x < width_; ++x) {
            if (stage_.form == Warp::cut)
                cut<T>(x, y, to);
            else
                sample<T>(x, y, to);
        }
    }

    void put(int64_t x, int64_t c, double value, uint8_t* to) const {
        if (floating())
            reinterpret_cast<float*>(to)[place(x, c)] = static_cast<float>(value);
        else
            to[place(x, c)] = level(value, stage_.arithmetic.rounding);
    }

    template <class T>
    void cut(int64_t x, int64_t y, uint8_t* to) const {
        const Place<double> place = cut_place(x, y);
        if (!holds(place.y, place.x)) {
            for (int64_t c = 0; c < from_.channels; ++c) put(x, c, fill(c), to);
            return;
        }
        const double column = std::floor(place.x - 0.5), row = std::floor(place.y - 0.5);
        const double along = place.x - 0.5 - column, down = place.y - 0.5 - row;
        const int64_t n = stage_.pixels, left = static_cast<int64_t>(column) + 1 - n / 2,
                      top = static_cast<int64_t>(row) + 1 - n / 2;
        for (int64_t c = 0; c < from_.channels; ++c) {
            double lines[16], pixels[16];
            for (int64_t i = 0; i < n; ++i) {
                const int64_t line = std::clamp<int64_t>(top + i, 0, from_.height - 1);
                for (int64_t j = 0; j < n; ++j)
                    pixels[j] = at<T>(line, std::clamp<int64_t>(left + j, 0, from_.width - 1), c);
                lines[i] = polynomial(pixels, along);
            }
            put(x, c, polynomial(lines, down), to);
        }
    }

    // The sum of pixels, each by its weight, as a polynomial of `part`; zeros are no terms.
    double polynomial(const double* pixels, double part) const {
        double total = 0;
        for (int64_t k = stage_.terms - 1; k >= 0; --k) {
            std::optional<double> coefficient;
            for (int64_t j = 0; j < stage_.pixels; ++j) {
                const double weight = stage_.taps[static_cast<size_t>(j * stage_.terms + k)];
                if (weight == 0) continue;
                const double term = pixels[j] * weight;
                coefficient = coefficient ? *coefficient + term : term;
            }
            total = k + 1 == stage_.terms ? coefficient.value_or(0) : coefficient.value_or(0) + part * total;
        }
        return total;
    }

    template <class T>
    void sample(int64_t x, int64_t y, uint8_t* to) const {
        const Place<float> place = grid_place(x, y);
        const float column = std::floor(place.x), row = std::floor(place.y);
        float along[16], down[16];
        weigh(place.x - column, along), weigh(place.y - row, down);
        const int64_t n = stage_.pixels;
        const bool fma = stage_.arithmetic.fma;
        for (int64_t c = 0; c < from_.channels; ++c) {
            float total = 0, share = 0;
            for (int64_t i = 0; i < n; ++i)
                for (int64_t j = 0; j < n; ++j) {
                    const float weight = down[i] * along[j];
                    const Spot from = spot(row + static_cast<float>(1 - n / 2 + i), column + static_cast<float>(1 - n / 2 + j));
                    const float pixel = from.inside ? static_cast<float>(at<T>(from.row, from.column, c)) : 0, one = from.inside;
                    const bool first = i + j == 0;
                    total = first ? pixel * weight : fused(pixel, weight, total, fma);
                    share = first ? one * weight : fused(one, weight, share, fma);
                }
            if (!stage_.fill.empty()) {
                const float f = fill(c);
                total = stage_.form == Warp::sum ? total * share + (1 - share) * f : (total - f) * share + f;
            }
            put(x, c, static_cast<double>(total), to);
        }
    }

    void weigh(float part, float* weights) const {
        for (int64_t j = 0; j < stage_.pixels; ++j) {
            const double* taps = stage_.taps.data() + j * stage_.terms;
            float weight = static_cast<float>(taps[stage_.terms - 1]);
            for (int64_t k = stage_.terms - 2; k >= 0; --k) weight = static_cast<float>(taps[k]) + part * weight;
            weights[j] = weight;
        }
    }

    const Warping& how_;
    const Warp& stage_;
    const Size size_;
    const View& from_;
    const Kernels& kernels_;
    Steps steps_;
    float grid_[8] = {};
    bool fuses_ = false;
    Framed framed_{};
};

}  // namespace

Source warped(const Warping& warping, const View& from, const Kernels& kernels, Scratch& scratch) {
    return std::make_unique<Warped>(warping, warping.stage->of({from.height, from.width}), from, kernels, scratch);
}

}  // namespace lt
