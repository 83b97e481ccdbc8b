// The stages of a plan, as the native backend holds them; ir/ops/ says what each means.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>
#include <variant>
#include <vector>

namespace lt {

// Of values in memory. Those of 16 bits are made of bytes or float32 in the end, copied and normalized.
enum class Dtype : uint8_t { uint8, float32, float16, bfloat16 };

constexpr int64_t size_of(Dtype dtype) { return dtype == Dtype::uint8 ? 1 : dtype == Dtype::float32 ? 4 : 2; }

enum class Number { integer, float32, float64 };
enum class Rounding { none, truncate, half_up, half_even };
enum class Order { taps, second, joint };

// Of sums.
constexpr Dtype dtype_of(Rounding rounding) { return rounding == Rounding::none ? Dtype::float32 : Dtype::uint8; }

struct Arithmetic {
    Number number;
    int bits;
    bool adaptive, fma;
    int64_t grouped;
    Rounding rounding;
    bool each_pass, tall_first, quarters;
    Order order = Order::taps;

    bool operator==(const Arithmetic& other) const {
        const auto all = [](const Arithmetic& a) {
            return std::tie(a.number, a.bits, a.adaptive, a.fma, a.grouped, a.rounding, a.each_pass, a.tall_first,
                            a.quarters, a.order);
        };
        return all(*this) == all(other);
    }

    // Of so many products behind the first of a resample's sum, how many are rounded before they join it.
    int64_t rounded(int64_t products) const {
        if (order == Order::second) return 0;
        if (!fma) return products;
        return grouped ? products / grouped * grouped : 0;
    }
};

// Of `size` outputs, i takes the pixel at (i + offset) * n_in / size, rounded down; `running`: at a sum of i steps.
struct Nearest {
    int64_t size;
    double offset;
    Number number;
    bool running;
};

enum class Border { copy, zero, edge, reflect, symmetric };

// Which pixels of an axis of any length are kept: all, back to front; `second` of them from `first` on, counted from the
// start, the end, or where the middle begins; or all, with `first` more before and `second` more behind. Around the
// image lies `border`.
struct Rule {
    enum Origin { mirror, start, end, middle, padded };

    Origin origin;
    int64_t first, second;
    Border border;
};

// Pixels start + step * i for i < count; or those that are listed; or of those that are nearest to outputs; or by a
// rule.
struct Keep {
    int64_t start, step, count;
    std::vector<int64_t> list = {};
    std::optional<Nearest> nearest = {};
    std::optional<Rule> rule = {};

    // The same for an axis of `size` pixels: what is nearest is listed, and rules are followed.
    Keep on(int64_t size) const;

    // Of what is kept, what `then` keeps; neither is nearest to anything, nor a rule.
    Keep followed(const Keep& then) const;

    // Whether some pixel that is kept lies outside of an axis of `size` pixels.
    bool beyond(int64_t size) const {
        const auto lies = [&](int64_t index) { return index < 0 || index >= size; };
        return list.empty() ? lies(start) || lies(start + step * (count - 1)) : std::any_of(list.begin(), list.end(), lies);
    }

    // Index of the pixel kept as number i, or -1 outside of an axis of `size` pixels.
    int64_t at(int64_t i, int64_t size) const {
        const int64_t index = list.empty() ? start + step * i : list[static_cast<size_t>(i)];
        return index >= 0 && index < size ? index : -1;
    }
};

// A remainder that is never negative.
inline int64_t modulo(int64_t value, int64_t by) { return (value % by + by) % by; }

// The pixel to take at `index`, inside or outside of an axis of `size` pixels; -1 stands for fill.
int64_t bordered(int64_t index, int64_t size, Border border);

// Weights that a kernel gives, for input of any size.
struct Interpolation {
    std::vector<double> kernel;  // [support, terms]
    int64_t support, terms;
    double shift;
    bool antialias;
    double width;  // input pixels to one unit of the kernel, where nothing is stretched
};

// Weights as they are, for input of one size: output i sums weights[k * outputs + i] * input[first[i] + k] for
// k < count[i].
struct Given {
    int64_t inputs;
    std::vector<int32_t> first, count;
    int64_t widest;
    std::vector<double> weights;  // [widest, outputs], in units of 2^-bits for integer arithmetic; 0 past the count
    int bits;
};

struct Axis {
    std::shared_ptr<const std::variant<Interpolation, Given>> weights;
    int64_t size;
    Keep keep;
};

struct Resample {
    Axis rows, columns;
    Arithmetic arithmetic;

    bool rows_first(int64_t height, int64_t width) const {
        const int64_t fewer = height - rows.size;
        return arithmetic.tall_first && !arithmetic.quarters && fewer > 0 && fewer > 2 * (width - columns.size);
    }
};

// Weights in the type of their sums: one of these lists is used.
struct Numbers {
    std::vector<uint32_t> whole;  // units of 2^-bits, modulo 2^32
    std::vector<float> floats;
    std::vector<double> doubles;

    Numbers(const std::vector<double>& values, Number number) {
        if (number == Number::integer)
            for (const double value : values) whole.push_back(static_cast<uint32_t>(static_cast<int32_t>(value)));
        else if (number == Number::float32)
            floats.assign(values.begin(), values.end());
        else
            doubles = values;
    }
    size_t size() const { return whole.size() + floats.size() + doubles.size(); }
};

struct Pixel {
    int32_t row, column;
};

struct Sparse {
    int64_t terms;
    std::vector<Pixel> pixels;        // [terms, outputs]
    Numbers weights, bias;            // [terms, outputs], [outputs]
    std::array<int64_t, 2> from, to;  // height and width
    Arithmetic arithmetic;

    int64_t outputs() const { return to[0] * to[1]; }
};

struct Filter {
    int64_t height, width;
    std::vector<int64_t> rows, columns;  // [terms]: places in the window
    Numbers weights;                     // [terms]
    Border border;
    Arithmetic arithmetic;

    int64_t terms() const { return static_cast<int64_t>(rows.size()); }
};

struct Gather {
    std::optional<std::vector<int64_t>> channels;
    std::optional<Keep> rows, columns;
    std::vector<float> fill = {};  // of what lies outside, for each channel of the image; empty: 0
    bool outside = false;          // some of them may lie there
    bool limited = false;          // no more may be mirrored there than the image has
    // Where rows and columns begin is drawn for every image: the first of these two factors.
    std::optional<int64_t> starts = {};
};

using Size = std::array<int64_t, 2>;  // rows and columns

// The size of a resized image: two numbers, or one for the shorter side, where `most` may bound the longer one; or none,
// and that is what the longer side becomes. With `longest`, the ratio of the sides is kept: at 0 the image covers what
// is wanted, at 1 it lies in it. See sizing.py.
struct Sizing {
    std::vector<int64_t> wanted;
    std::optional<int64_t> most;
    std::optional<double> longest;

    bool fixed() const { return wanted.size() == 2 && !longest; }
    Size of(const Size& size) const;
};

// A resize of images of any size; see ir/ops/.
struct Resize {
    Sizing sizing;
    std::variant<Resample, Gather> made;  // for one output, and nearest to one
    std::optional<Arithmetic> larger;     // beyond `small` rows and columns of the output together
    int64_t small;
    bool still;
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

// Of levels, of float32, or of words of 16 bits; each kind has its own values, and floats and words their bytes.
struct Table {
    int64_t channels;
    Dtype dtype;
    std::vector<uint8_t> levels;     // [channels, 256]
    std::vector<float> values;       // [channels, 256]
    std::vector<uint16_t> words;     // [channels, 256]
    std::vector<uint8_t> bytes;      // [channels, 4 or 2, 256]: the first, second, ... byte of each value
    std::optional<Formula> formula;  // what gives every float of these, bit by bit, if there is such
};

// Each step is rounded to `dtype`, which is that of the image.
struct Normalize {
    std::vector<float> mean, std;
    Dtype dtype;
};

// float32 as another dtype, to the nearest, halves to even.
struct Cast {
    Dtype dtype;
};

// A number that is given, or entry `slot` of the factors that come with each call.
struct Factor {
    double value;
    std::optional<int64_t> slot;

    double of(const std::vector<double>& factors) const { return slot ? factors[static_cast<size_t>(*slot)] : value; }
};

// One of several tables of levels: the number of it, a whole number, may be drawn.
struct Tables {
    int64_t count;
    std::vector<uint8_t> levels;  // [count, 256]
    Factor number;
};

// image * a + other * b, in one of three orders, where (a, b) = terms * (1, factor).
struct Blend {
    enum Form { sum, from_image, from_other };

    std::array<double, 4> terms;  // [2, 2]
    Factor factor;
    std::variant<std::monostate, Mix, Filter> other;  // black, gray, or smooth
    std::optional<Rounding> mean;                     // of the other, over the image
    Form form;
    double ceiling;
    Arithmetic arithmetic;
    bool limited;  // images smaller than the window of a filter stay as they are

    bool of_mean() const { return mean && std::holds_alternative<Mix>(other); }
    bool of_filter() const { return std::holds_alternative<Filter>(other); }
};

struct Stretch {
    enum Form { divide, multiply, affine };

    std::array<double, 2> ends;
    Form form;
    double ceiling;
    Arithmetic arithmetic;
};

struct Equalize {
    int64_t levels;
    double offset;
};

struct Turn {
    enum Form { multiply, divide };

    std::array<int32_t, 3> centres;  // in sixths of a turn
    Factor factor;
    double span;
    Form form;
    int32_t steps;
    double ceiling;
    Arithmetic arithmetic;
};

struct Blur {
    std::vector<double> coefficients;
    Factor sigma;
    int64_t height, width;
    Border border;
    Arithmetic arithmetic;
    bool limited;  // no more may be mirrored than there is
    // Of sums over the whole window at once, its taps: down, then across; or from which factor on they come.
    std::variant<std::monostate, std::vector<double>, int64_t> taps = {};

    bool joint() const { return !std::holds_alternative<std::monostate>(taps); }
    int64_t count() const { return height + width; }
};

// Boxes one after another, along rows and then down columns, that come close to a Gaussian of `sigma`.
struct BoxBlur {
    Factor sigma;
    int64_t passes;
};

// Each output pixel is what lies at a place of the image, which a matrix gives, or a field of places; see ir/ops/.
struct Warp {
    enum Form { cut, from_fill, sum };

    std::vector<double> matrix;    // of an affine map, or a perspective, or a field; of drawn numbers, as many
    std::optional<int64_t> slot;   // of the first of these among the factors
    std::optional<Size> size;      // of the output
    std::vector<double> taps;      // [pixels, terms]; empty: the nearest pixel is taken
    int64_t pixels, terms;
    std::vector<float> fill;       // for each channel; empty: 0
    Form form;
    Arithmetic arithmetic;
    int64_t fused;                 // pixels of output from which on products of places are fused; 0: never

    bool nearest() const { return taps.empty(); }
    bool perspective() const { return matrix.size() == 8; }
    // Three factors: where the places lie in memory, rows and columns.
    bool field() const { return matrix.size() == 3; }
    // Weights 1 - t and t.
    bool linear() const { return taps == std::vector<double>{1, -1, 0, 1}; }
    // Those of Keys' cubic whose slope at 1 is -1.
    bool cubic() const {
        return taps == std::vector<double>{0, -1, 2, -1, 1, 0, -2, 1, 0, 1, 1, -1, 0, 0, -1, 1};
    }
    Size of(const Size& before) const { return size ? *size : before; }
};

using Stage = std::variant<Resample, Resize, Sparse, Filter, Gather, Mix, Table, Tables, Normalize, Cast, Blend, Stretch,
                           Equalize, Turn, Blur, BoxBlur, Warp>;

// Stages are shared: by programs, and by what programs come to for images of one size.
using Shared = std::shared_ptr<const Stage>;

}  // namespace lt
