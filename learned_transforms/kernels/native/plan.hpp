// The stages of a plan, as the native backend holds them; plan.py says what each means.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

namespace lt {

enum class Number { integer, float32 };
enum class Rounding { none, truncate, half_up, half_even };

struct Arithmetic {
    Number number;
    int bits;
    bool adaptive, fma;
    Rounding rounding;
    bool each_pass, tall_first;
};

struct Keep {
    int64_t start, step, count;

    // Index of the pixel kept as number i, or -1 outside of an axis of `size` pixels.
    int64_t at(int64_t i, int64_t size) const {
        const int64_t index = start + step * i;
        return index >= 0 && index < size ? index : -1;
    }
};

struct Axis {
    std::vector<double> kernel;  // [support, terms]
    int64_t support, terms;
    double shift;
    int64_t size;
    Keep keep;
};

struct Resample {
    Axis rows, columns;
    Arithmetic arithmetic;

    bool rows_first(int64_t height, int64_t width) const {
        const int64_t fewer = height - rows.size;
        return arithmetic.tall_first && fewer > 0 && fewer > 2 * (width - columns.size);
    }
};

struct Gather {
    std::optional<std::vector<int64_t>> channels;
    std::optional<Keep> rows, columns;
};

struct Mix {
    int64_t outputs, inputs;
    std::vector<float> weight, bias;             // [outputs, inputs], [outputs]
    std::vector<int32_t> whole_weight, whole_bias;  // the same in units of 2^-bits, for integer arithmetic
    Arithmetic arithmetic;
};

// (level * unit - mean) / std, each step rounded to float32; mean and std are [channels].
struct Formula {
    float unit;
    std::vector<float> mean, std;
};

struct Table {
    int64_t channels;
    std::vector<float> values;       // [channels, 256]
    std::vector<uint8_t> bytes;      // [channels, 4, 256]: the first, second, ... byte of each value
    std::optional<Formula> formula;  // what gives every one of these values, bit by bit, if there is such
};

struct Normalise {
    std::vector<float> mean, std;
};

using Stage = std::variant<Resample, Gather, Mix, Table, Normalise>;

}  // namespace lt
