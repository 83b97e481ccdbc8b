#include "ir/interpolation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "simd/kernel_table.hpp"

namespace lt {
namespace {

constexpr int32_t MOST_WHOLE = 1 << 30;

int fraction_bits(double largest, const Arithmetic& arithmetic) {
    if (!arithmetic.adaptive) return arithmetic.bits;
    for (int bits = 1; bits < arithmetic.bits; ++bits)
        if (static_cast<int64_t>(0.5 + largest * static_cast<double>(int64_t{1} << (bits + 1))) >= 1 << 15) return bits;
    return arithmetic.bits;
}

// Of values [rows, all outputs], those of the outputs that are kept.
template <class V>
void keep(const V* all, const Axis& axis, int rows, std::vector<V>& kept) {
    kept.resize(static_cast<size_t>(axis.keep.count * rows));
    V* to = kept.data();
    for (int k = 0; k < rows; ++k, all += axis.size) {
        const V* from = all + axis.keep.start;
        if (axis.keep.step == 1)
            to = std::copy_n(from, axis.keep.count, to);
        else
            for (int64_t i = 0; i < axis.keep.count; ++i) *to++ = from[axis.keep.step * i];
    }
}

void make_pairs(Taps& taps) {
    const auto n = static_cast<size_t>(taps.outputs()), widest = static_cast<size_t>(taps.widest);
    int32_t beyond = 0;
    for (const int32_t weight : taps.whole) beyond |= weight ^ static_cast<int16_t>(weight);
    taps.wide = beyond != 0;
    taps.pairs = (taps.widest + 1) / 2;
    const auto join = [](int32_t x, int32_t y) {
        return static_cast<int32_t>((static_cast<uint32_t>(x) & 0xffff) | static_cast<uint32_t>(y) << 16);
    };
    taps.low.resize(n * static_cast<size_t>(taps.pairs));
    taps.high.resize(taps.wide ? taps.low.size() : 0);
    for (size_t k = 0; k < widest; k += 2) {
        const int32_t *a = taps.whole.data() + k * n, *b = k + 1 < widest ? a + n : nullptr;
        int32_t *low = taps.low.data() + k / 2 * n, *high = taps.high.data() + (taps.wide ? k / 2 * n : 0);
        for (size_t i = 0; i < n; ++i) {
            const int32_t second = b ? b[i] : 0;
            low[i] = taps.wide ? join(a[i] & 0x7fff, second & 0x7fff) : join(a[i], second);
            if (taps.wide) high[i] = join(a[i] >> 15, second >> 15);
        }
    }
}

// Memory that this thread keeps for the next evaluation.
template <class V, int Use>
V* workspace(size_t count) {
    static thread_local std::vector<V> memory;
    if (memory.size() < count) memory.resize(count);
    return memory.data();
}

// x * y + z, fused: in double, where the product of two floats is exact.
template <class T>
T multiply_add(T x, T y, T z, bool fused) {
    return fused ? static_cast<T>(static_cast<double>(x) * static_cast<double>(y) + static_cast<double>(z)) : x * y + z;
}

// The kernel at a distance, as interpolation.py has it.
template <class T>
T phi(const T* kernel, const Interpolation& from, T t, bool fused) {
    const T distance = std::abs(t), end = static_cast<T>(from.support);
    if (!(distance < end || t == end)) return 0;
    const auto piece = std::min(static_cast<int64_t>(distance), from.support - 1);
    const T u = fused ? distance : distance - static_cast<T>(piece);
    const T* row = kernel + piece * from.terms;
    T value = row[from.terms - 1];
    for (int64_t d = from.terms - 2; d >= 0; --d) value = multiply_add(value, u, row[d], fused && d > 0);
    return value;
}

// Its pieces as polynomials of the distance, not of how far it lies behind the start of a piece.
std::vector<double> about_zero(const Interpolation& from) {
    std::vector<double> kernel = from.kernel;
    for (int64_t piece = 0; piece < from.support; ++piece) {
        double* row = kernel.data() + piece * from.terms;
        for (int64_t done = 0; done < from.terms - 1; ++done)
            for (int64_t d = from.terms - 2; d >= done; --d) row[d] -= static_cast<double>(piece) * row[d + 1];
    }
    return kernel;
}

// The only piece of a kernel, counted from its end.
std::vector<double> from_end(const Interpolation& from) {
    std::vector<double> row = from.kernel;
    for (int64_t done = 0; done < from.terms - 1; ++done)
        for (int64_t d = from.terms - 2; d >= done; --d) row[d] += row[d + 1];
    for (int64_t d = 1; d < from.terms; d += 2) row[d] = -row[d];
    return row;
}

// From a place to a pixel, as interpolation.py has it.
template <class T>
T apart(T pixel, T place, bool fused) {
    if (!fused) return pixel - place;
    const T before = std::floor(place), part = place - before, steps = pixel - before;
    return steps > 0 ? (T{1} - part) + (steps - T{1}) : steps - part;
}

// Windows without antialiasing, about places that are counted from the middle of the first pixel. Aten moves those of
// linear kernels onto it, which gives the second a weight of 0. `whole`: they reach beyond the image.
template <class T>
void plain_windows(const Outputs<T>& outputs, const Interpolation& from, bool fused, bool whole) {
    const T middle = static_cast<T>(from.shift - 0.5);
    const double size = static_cast<double>(outputs.size), reach = static_cast<double>(outputs.reach);
    const double least = from.support == 1 ? 0 : -std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < outputs.n; ++i) {
        const T place = multiply_add(outputs.scale, static_cast<T>(i) + static_cast<T>(0.5), middle, fused);
        const double seen = std::max(static_cast<double>(place), least) + 1;
        if (whole) {
            outputs.center[i] = static_cast<T>(seen - 1);
            outputs.first[i] = static_cast<int32_t>(std::floor(seen - reach));
            outputs.count[i] = static_cast<int32_t>(std::floor(seen + reach)) - outputs.first[i];
            continue;
        }
        const auto first = static_cast<int32_t>(std::clamp(seen - reach, 0.0, size - 1));
        outputs.center[i] = place;
        outputs.first[i] = first;
        outputs.count[i] = std::max(static_cast<int32_t>(std::clamp(seen + reach, 0.0, size)) - first, 1);
    }
}

// Weights [widest, n] without antialiasing: what lies outside the image counts for its nearest pixel, unless windows are
// `whole`. Gives the largest.
template <class T>
T plain_weights(const Outputs<T>& outputs, const Interpolation& from, bool fused, bool whole, int widest, T* weights) {
    T largest = 0;
    const auto size = static_cast<int64_t>(outputs.size);
    const T inverse = outputs.inverse;
    for (int64_t i = 0; i < outputs.n; ++i) {
        const T place = outputs.center[i];
        const auto weigh = [&](int64_t pixel) {
            return phi(outputs.kernel, from, apart(static_cast<T>(pixel), place, fused) * inverse, fused);
        };
        if (whole && from.support == 1) {
            const T part = place - std::floor(place);
            weights[i] = phi(outputs.kernel, from, part, fused);
            weights[outputs.n + i] = phi(outputs.end, from, part, fused);
            continue;
        }
        T below = 0, above = 0, sum = 0;
        for (int64_t step = 1; step <= 2 * from.support && !whole; ++step) {
            below += weigh(-step);
            above += weigh(size - 1 + step);
        }
        const int64_t first = outputs.first[i], count = outputs.count[i];
        for (int64_t k = 0; k < widest; ++k) {
            T& weight = weights[k * outputs.n + i];
            weight = k < count ? weigh(first + k) : 0;
            if (k < count) weight += (first + k == 0 ? below : 0) + (first + k == size - 1 ? above : 0);
            sum = k ? sum + weight : weight;
        }
        for (int64_t k = 0; k < widest; ++k) {
            T& weight = weights[k * outputs.n + i];
            if (!(fused || whole)) weight /= sum;
            largest = std::max(largest, weight);
        }
    }
    return largest;
}

// Whether each pixel becomes itself: aten leaves such an axis as it is, and so do outputs without the weights of 0 then.
template <class T>
bool alone(const Outputs<T>& outputs, int64_t widest, T* weights) {
    for (int64_t i = 0; i < outputs.n; ++i) {
        if (i < outputs.first[i] || i >= outputs.first[i] + widest) return false;
        for (int64_t k = 0; k < widest; ++k)
            if (outputs.first[i] + k != i && weights[k * outputs.n + i] != 0) return false;
    }
    for (int64_t i = 0; i < outputs.n; ++i) {
        weights[i] = weights[(i - outputs.first[i]) * outputs.n + i];
        outputs.first[i] = static_cast<int32_t>(i), outputs.count[i] = 1;
    }
    return true;
}

bool mixes(const Interpolation& from, const Arithmetic& arithmetic) { return arithmetic.grouped > 0 && from.antialias; }

// T is float for float32 arithmetic, double otherwise.
template <class T>
void evaluate_as(const Axis& axis, const Interpolation& from, int64_t n_in, const Arithmetic& arithmetic,
                 const Evaluation<T>& kernels, Taps& taps) {
    const bool fused = arithmetic.fma && !from.antialias;
    const std::vector<double> terms = fused || mixes(from, arithmetic) ? about_zero(from) : from.kernel;
    const bool whole = arithmetic.order != Order::taps;
    const std::vector<double> last = whole && from.support == 1 ? from_end(from) : std::vector<double>();
    const std::vector<T> kernel(terms.begin(), terms.end()), end(last.begin(), last.end());
    const T scale = static_cast<T>(n_in) / static_cast<T>(axis.size);
    const T stretch = (from.antialias ? std::max(scale, T{1}) : T{1}) * static_cast<T>(from.width);
    const auto all = static_cast<size_t>(axis.size);

    // Windows of all outputs: the fraction bits depend on those that a crop removes, too.
    const Outputs<T> outputs{kernel.data(),
                             end.data(),
                             from.support,
                             from.terms,
                             scale,
                             static_cast<T>(from.shift),
                             static_cast<T>(from.support) * stretch,
                             T{1} / stretch,
                             static_cast<T>(n_in),
                             arithmetic.fma,
                             axis.size,
                             workspace<T, 0>(all),
                             workspace<int32_t, 0>(all),
                             workspace<int32_t, 1>(all)};
    from.antialias ? kernels.windows(outputs) : plain_windows(outputs, from, fused, whole);
    taps.widest = *std::max_element(outputs.count, outputs.count + all);
    T* weights = workspace<T, 1>(all * static_cast<size_t>(taps.widest));
    const T largest = from.antialias
                          ? kernels.weights(outputs, taps.widest, weights, workspace<T, 2>(all))
                          : plain_weights(outputs, from, fused, whole, taps.widest, weights);
    if (n_in == axis.size && (from.antialias || from.support == 1) && alone(outputs, taps.widest, weights))
        taps.widest = 1;
    const auto values = all * static_cast<size_t>(taps.widest);
    keep(outputs.first, axis, 1, taps.first);
    keep(outputs.count, axis, 1, taps.count);
    if (arithmetic.number == Number::integer) {
        taps.bits = fraction_bits(static_cast<double>(largest), arithmetic);
        int32_t* whole = workspace<int32_t, 2>(values);
        kernels.quantize(weights, static_cast<int64_t>(values), static_cast<T>(std::ldexp(1.0, taps.bits)), whole);
        bool beyond = false;
        for (size_t k = 0; k < values; ++k) beyond |= (whole[k] >= MOST_WHOLE) | (whole[k] <= -MOST_WHOLE);
        if (beyond) throw std::invalid_argument("a kernel gives whole weights beyond 2^30, or none");
        keep(whole, axis, taps.widest, taps.whole);
        make_pairs(taps);
    } else {
        float* real = workspace<float, 3>(values);
        std::copy_n(weights, values, real);
        keep(real, axis, taps.widest, taps.real);
    }
}

void keep_given(const Axis& axis, const Given& given, int64_t n_in, const Arithmetic& arithmetic, Taps& taps) {
    check_size(axis, n_in);
    keep(given.first.data(), axis, 1, taps.first);
    keep(given.count.data(), axis, 1, taps.count);
    taps.widest = static_cast<int>(given.widest);
    std::vector<double> weights;
    keep(given.weights.data(), axis, taps.widest, weights);
    if (arithmetic.number == Number::integer) {
        taps.bits = given.bits;
        taps.whole.assign(weights.begin(), weights.end());
        make_pairs(taps);
    } else {
        taps.real.assign(weights.begin(), weights.end());
    }
}

void evaluate_any(const Axis& axis, int64_t n_in, const Arithmetic& arithmetic, const Kernels& kernels, Taps& taps) {
    if (const auto* given = std::get_if<Given>(axis.weights.get())) return keep_given(axis, *given, n_in, arithmetic, taps);
    const auto& from = std::get<Interpolation>(*axis.weights);
    if (arithmetic.number != Number::float32)
        return evaluate_as<double>(axis, from, n_in, arithmetic, kernels.doubles, taps);
    const auto& loops = mixes(from, arithmetic) ? kernels.mixed : kernels.floats;
    evaluate_as<float>(axis, from, n_in, arithmetic, loops, taps);
}

}  // namespace

void check_size(const Axis& axis, int64_t n_in) {
    const auto* given = std::get_if<Given>(axis.weights.get());
    if (given && given->inputs != n_in)
        throw std::invalid_argument("an axis has weights for " + std::to_string(given->inputs) + " pixels, not for " +
                                    std::to_string(n_in));
}

int64_t widest(const Axis& axis, int64_t n_in) {
    if (const auto* given = std::get_if<Given>(axis.weights.get())) return given->widest;
    const auto& from = std::get<Interpolation>(*axis.weights);
    const double scale = from.antialias ? std::max(static_cast<double>(n_in) / static_cast<double>(axis.size), 1.0) : 1.0;
    return static_cast<int64_t>(2.0 * static_cast<double>(from.support) * scale * from.width) + 2;
}

void evaluate(const Axis& axis, int64_t n_in, const Arithmetic& arithmetic, const Kernels& kernels, Taps& taps) {
    taps.size = n_in;
    taps.bits = taps.pairs = 0;
    taps.start = taps.stop = 0;
    taps.wide = false;
    for (auto* numbers : {&taps.whole, &taps.low, &taps.high}) numbers->clear();
    taps.real.clear();
    evaluate_any(axis, n_in, arithmetic, kernels, taps);
    if (taps.real.empty()) return;
    taps.start = static_cast<int32_t>(n_in);
    for (size_t i = 0; i < taps.first.size(); ++i) {
        taps.start = std::min(taps.start, taps.first[i]);
        taps.stop = std::max(taps.stop, taps.first[i] + taps.count[i]);
    }
}

}  // namespace lt
