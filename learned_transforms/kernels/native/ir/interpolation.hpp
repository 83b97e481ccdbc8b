// The weights of one axis of a resample: given, or evaluated from a learned kernel, as
// ir/interpolation.py does it, operation by operation.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ir/ops.hpp"

namespace lt {

// Output pixel i sums weights[k * outputs + i] * input[first[i] + k] for k < count[i]; weights past it are zero.
struct Taps {
    int64_t size = 0;  // input pixels
    int widest = 0, bits = 0;
    int32_t start = 0, stop = 0;  // of the pixels that have a weight, for float32 arithmetic
    // Windows of sums in another order than that of the taps may reach beyond the image, whose nearest pixels lie there.
    std::vector<int32_t> first, count;
    std::vector<int32_t> whole;  // units of 2^-bits, for integer arithmetic
    std::vector<float> real;     // for float32 arithmetic

    // Whole weights once more, two in every number, as vectors multiply them: [pairs, outputs]. Weights beyond an int16
    // (`wide`) are their low 15 bits, and the rest.
    int pairs = 0;
    bool wide = false;
    std::vector<int32_t> low, high;

    int64_t outputs() const { return static_cast<int64_t>(first.size()); }

    int64_t inside(int64_t pixel) const { return std::clamp<int64_t>(pixel, 0, size - 1); }
};

// n outputs over an axis, and what their windows and weights are computed from, in T.
template <class T>
struct Outputs {
    const T *kernel, *end;  // [support, terms]; and from its end, where windows reach beyond the image
    int64_t support, terms;
    T scale, shift, reach, inverse;  // input pixels an output, of the centres, of half a window, and 1 / stretch
    T size;                          // input pixels
    bool fused;                      // the kernel, which then is one of the distance itself
    int64_t n;
    T* center;
    int32_t *first, *count;
};

// The loops of an evaluation, for one instruction set.
template <class T>
struct Evaluation {
    void (*windows)(const Outputs<T>& outputs);  // finds center, first and count of each
    // Weights [widest, n], with room for n sums; gives the largest.
    T (*weights)(const Outputs<T>& outputs, int widest, T* weights, T* sum);
    // The nearest integers of value * unit, halves away from zero.
    void (*quantize)(const T* values, int64_t n, T unit, int32_t* out);
};

struct Kernels;

// Weights of an output, at most and about.
int64_t widest(const Axis& axis, int64_t n_in);

// Throws where weights are given, for another size.
void check_size(const Axis& axis, int64_t n_in);
// What was in `taps` is overwritten, in the same memory where that is enough.
void evaluate(const Axis& axis, int64_t n_in, const Arithmetic& arithmetic, const Kernels& kernels, Taps& taps);

}  // namespace lt
