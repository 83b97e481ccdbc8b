// The weights of one axis of an antialiased resample, in double: taps.evaluate, operation by operation.
#pragma once

#include "pixels.hpp"

namespace px {

struct Kernel {
    const double* terms;  // [support, count], learned
    int support, count;
};

struct Axis {
    double scale, inverse, reach, shift;  // input pixels an output, 1 / stretch, of half a window, of the centres
    int inputs;
};

struct Window {
    int first, count;
    double center;
};

PIXEL Axis axis_of(const Kernel& kernel, int inputs, int outputs, double shift) {
    const double scale = static_cast<double>(inputs) / outputs, stretch = scale > 1 ? scale : 1;
    return {scale, 1 / stretch, kernel.support * stretch, shift, inputs};
}

PIXEL Window window_of(const Axis& axis, int output) {
    const double center = axis.scale * (output + 0.5) + axis.shift;
    double low = center - axis.reach + 0.5, high = center + axis.reach + 0.5;
    const double last = axis.inputs - 1, end = axis.inputs;
    low = low > 0 ? (low < last ? low : last) : 0;
    high = high > 0 ? (high < end ? high : end) : 0;
    const int first = static_cast<int>(low), count = static_cast<int>(high) - first;
    return {first, count > 1 ? count : 1, center};
}

PIXEL double phi(const Kernel& kernel, double t) {
    const double distance = t < 0 ? -t : t, end = kernel.support;
    if (!(distance < end || t == end)) return 0;
    int piece = static_cast<int>(distance);
    piece = piece < kernel.support ? piece : kernel.support - 1;
    const double u = distance - piece;
    const double* row = kernel.terms + piece * kernel.count;
    double value = row[kernel.count - 1];
    for (int d = kernel.count - 2; d >= 0; --d) value = value * u + row[d];
    return value;
}

PIXEL double weight(const Kernel& kernel, const Axis& axis, const Window& at, int k) {
    return phi(kernel, (static_cast<double>(k + at.first) - at.center + 0.5) * axis.inverse);
}

// The sum of the weights, in order, and the largest of them.
PIXEL double total(const Kernel& kernel, const Axis& axis, const Window& at, double* largest) {
    double sum = weight(kernel, axis, at, 0);
    *largest = sum;
    for (int k = 1; k < at.count; ++k) {
        const double w = weight(kernel, axis, at, k);
        sum = sum + w;
        *largest = w > *largest ? w : *largest;
    }
    return sum;
}

// The fewest fraction bits that leave no spare one in an int16, of all outputs of the axis.
PIXEL int fraction_bits(double largest, int most) {
    for (int bits = 1; bits < most; ++bits)
        if (0.5 + largest * static_cast<double>(1 << (bits + 1)) >= 32768.0) return bits;
    return most;
}

// The nearest integer, halves away from zero.
PIXEL int quantized(double weight, int bits) {
    const double v = weight * static_cast<double>(1 << bits);
    return v < 0 ? -static_cast<int>(-v + 0.5) : static_cast<int>(v + 0.5);
}

// Two weights in a word, as two_taps takes them.
PIXEL int paired(int x, int y) {
    return static_cast<int>((static_cast<unsigned>(x) & 0xffff) | static_cast<unsigned>(y) << 16);
}

}  // namespace px
