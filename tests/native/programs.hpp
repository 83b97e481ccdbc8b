// Random images and random programs on them, the same for each number that they are drawn from.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "ir/lut.hpp"
#include "ir/verify.hpp"
#include "schedule/program.hpp"

namespace lt::native_test {

class Random {
  public:
    explicit Random(uint64_t seed) : engine_(seed) {}
    uint64_t bits() { return engine_(); }
    int64_t number(int64_t least, int64_t most) {
        return least + static_cast<int64_t>(bits() % static_cast<uint64_t>(most - least + 1));
    }
    double real(double least, double most) {
        return least + (most - least) * static_cast<double>(bits() >> 11) / 9007199254740992.0;
    }
    bool chance(int in) { return number(1, in) == 1; }
    // Small ones are as likely as large ones.
    int64_t length(int64_t most) { return static_cast<int64_t>(std::pow(static_cast<double>(most), real(0, 1))); }
    template <class T>
    T one(std::initializer_list<T> of) {
        return of.begin()[number(0, static_cast<int64_t>(of.size()) - 1)];
    }
    // Numbers of both signs and all sizes, some of them no numbers.
    float any() {
        if (chance(16)) {
            constexpr float INF = std::numeric_limits<float>::infinity(),
                            NONE = std::numeric_limits<float>::quiet_NaN();
            return one({0.0f, -0.0f, INF, -INF, NONE, 1e-40f, -1e-40f, 255.5f, 65504.0f, 65520.0f});
        }
        return static_cast<float>(std::ldexp(real(-1, 1), static_cast<int>(number(-40, 40))));
    }

  private:
    std::mt19937_64 engine_;
};

// The values of `images` images lie side by side by plane, or by pixel, `pixel` of them apart.
struct Image {
    int64_t images, channels, height, width, pixel;
    Dtype dtype;
    std::vector<uint8_t> memory;

    Image(Random& random, Dtype dtype) : images(random.chance(4) ? 2 : 1), dtype(dtype) {
        channels = random.one<int64_t>({1, 3, 3, 3, 4, 2});
        height = random.length(150), width = random.length(random.chance(8) ? 3000 : 150);
        pixel = channels > 1 && random.chance(2) ? (random.chance(3) ? 4 : channels) : 1;
        const int64_t last = (images * height * width - 1) * pixel + channels;  // Nothing lies behind the last pixel.
        const int64_t values = pixel > 1 ? last : images * channels * height * width;
        memory.resize(static_cast<size_t>(values * size_of(dtype)));
        const int kind = static_cast<int>(random.number(0, 4));
        for (int64_t i = 0; i < values; ++i) put(random, kind, i);
    }
    std::array<int64_t, 3> strides() const {
        return pixel > 1 ? std::array{int64_t{1}, width * pixel, pixel} : std::array{height * width, width, int64_t{1}};
    }
    int64_t step() const { return pixel > 1 ? height * width * pixel : channels * height * width; }

  private:
    void put(Random& random, int kind, int64_t i) {
        if (dtype == Dtype::uint8) {
            const auto noise = static_cast<uint8_t>(random.bits());
            memory[static_cast<size_t>(i)] = kind == 0   ? (noise < 128 ? 0 : 255)
                                             : kind == 1 ? static_cast<uint8_t>(i)
                                                         : noise;
        } else if (dtype == Dtype::float32) {
            const float value = kind == 0   ? random.any()
                                : kind == 1 ? static_cast<float>(random.real(-300, 600))
                                            : static_cast<float>(random.real(0, kind == 2 ? 255 : 1));
            std::memcpy(memory.data() + 4 * i, &value, 4);
        } else {
            const auto word = static_cast<uint16_t>(random.bits());
            std::memcpy(memory.data() + 2 * i, &word, 2);
        }
    }
};

inline Arithmetic arithmetic(Number number, bool fma, Rounding rounding, int bits = 0) {
    return {number, bits, false, fma, 0, rounding, number == Number::integer, false, false};
}

inline Arithmetic real_arithmetic(Random& random, bool doubles, bool rounds) {
    const bool wide = doubles && random.chance(3);
    const Rounding rounding =
        rounds ? random.one({Rounding::none, Rounding::truncate, Rounding::half_up, Rounding::half_even})
               : Rounding::none;
    return arithmetic(wide ? Number::float64 : Number::float32, !wide && random.chance(2), rounding);
}

// Of weights of bytes; floats have no integer sums.
inline Arithmetic any_arithmetic(Random& random, Dtype dtype, bool doubles) {
    if (dtype == Dtype::uint8 && random.chance(3))
        return arithmetic(Number::integer, false, Rounding::half_up, static_cast<int>(random.number(3, 16)));
    return real_arithmetic(random, doubles, true);
}

inline Numbers numbers(Random& random, size_t count, const Arithmetic& how, double most) {
    const bool whole = how.number == Number::integer;
    std::vector<double> values(count);
    for (double& value : values) {
        value = random.real(-most, most) * (whole ? 1 << how.bits : 1);
        if (whole) value = std::nearbyint(value);
    }
    return {values, how.number};
}

inline Arithmetic resampling(Random& random, Dtype dtype, bool plain) {
    const bool floats = dtype != Dtype::uint8;
    Arithmetic how = real_arithmetic(random, false, true);
    switch (random.number(floats ? 3 : 0, 7)) {
        case 0:
            return {Number::integer, 22, true, false, 0, Rounding::half_up, true, false, false};
        case 1:
            return {Number::integer, 22, false, false, 0, Rounding::half_up, true, random.chance(2), false};
        case 2:
            return {Number::integer, plain ? 11 : 22, !plain, false, 0, Rounding::half_up, !plain, false, plain};
        case 3:
            how.each_pass = true, how.tall_first = random.chance(2);
            return how;
        case 4:
            how.fma = true, how.grouped = random.one<int64_t>({2, 4, 8});
            return how;
        case 5:
            how.order = plain ? Order::second : Order::taps;
            return how;
        default:
            return how;
    }
}

inline Keep some_of(Random& random, int64_t size) {
    const int64_t step = size > 3 && random.chance(4) ? random.one<int64_t>({-1, 2, -2}) : 1;
    const int64_t count = random.number(1, (size - 1) / std::abs(step) + 1), span = (count - 1) * std::abs(step);
    const int64_t first = random.number(0, size - 1 - span);
    return {step < 0 ? first + span : first, step, count};
}

inline Axis axis(Random& random, int64_t inputs, int64_t size, bool antialias, bool linear, const Arithmetic& how) {
    using Weights = std::variant<Interpolation, Given>;
    const Keep keep = random.chance(2) ? Keep{0, 1, size} : some_of(random, size);
    if (antialias && random.chance(6) && how.grouped == 0) {
        const bool whole = how.number == Number::integer;
        const int bits = whole ? static_cast<int>(random.number(1, 22)) : 0;
        Given given{inputs, {}, {}, random.number(1, std::min<int64_t>(inputs, 40)), {}, bits};
        given.weights.assign(static_cast<size_t>(given.widest * size), 0);
        for (int64_t j = 0; j < size; ++j) {
            const int64_t count = random.number(1, given.widest);
            given.count.push_back(static_cast<int32_t>(count));
            given.first.push_back(static_cast<int32_t>(random.number(0, inputs - count)));
            for (int64_t k = 0; k < count; ++k) {
                const double weight = random.real(-1, 1.5);
                given.weights[static_cast<size_t>(k * size + j)] =
                    whole ? std::nearbyint(std::ldexp(weight, bits)) : weight;
            }
        }
        return {std::make_shared<const Weights>(given), size, keep};
    }
    static const std::vector<double> TRIANGLE{1, -1}, CUBIC{1, 0, -2.5, 1.5, 0, -0.5, 1, -0.5},
        WIDE{1, -0.1, 0.9, -0.4, 0.5, -0.5};
    const auto& kernel = linear ? TRIANGLE : random.one({TRIANGLE, CUBIC, WIDE});
    const int64_t support = kernel == CUBIC  ? 2
                            : kernel == WIDE ? 3
                                             : 1,
                  terms = static_cast<int64_t>(kernel.size()) / support;
    return {std::make_shared<const Weights>(Interpolation{kernel, support, terms, 0, antialias, 1}), size, keep};
}

inline Resample resample(Random& random, Dtype dtype, Size size) {
    const bool antialias = !random.chance(3);
    Arithmetic how = resampling(random, dtype, !antialias);
    const bool joint = how.order == Order::second && random.chance(2);
    if (joint) how.order = Order::joint;
    if (how.order != Order::taps) how.each_pass = how.tall_first = false;
    const auto along = [&](int64_t inputs) {
        const int64_t most = random.chance(2) ? 300 : 1 + inputs / 2;
        return axis(random, inputs, random.length(most), antialias, joint || how.quarters, how);
    };
    Axis rows = along(size[0]), columns = along(size[1]);
    return {std::move(rows), std::move(columns), how};
}

inline Keep copied(Random& random, int64_t size) {
    Keep keep = some_of(random, size);
    if (random.chance(2)) return keep;
    keep.list.resize(static_cast<size_t>(random.length(200)));
    const int64_t near = random.number(0, size - 1);  // Some lie close together, others anywhere.
    for (int64_t& at : keep.list)
        at = random.chance(3) ? random.number(0, size - 1)
                              : std::clamp<int64_t>(near + random.number(-9, 9), 0, size - 1);
    if (random.chance(2)) std::sort(keep.list.begin(), keep.list.end());
    return {0, 1, static_cast<int64_t>(keep.list.size()), keep.list};
}

inline Gather gather(Random& random, int64_t channels, Size size) {
    Gather made{};
    if (random.chance(3)) {
        made.channels.emplace(static_cast<size_t>(random.number(1, 4)));
        for (int64_t& channel : *made.channels) channel = random.number(0, channels - 1);
    }
    if (!random.chance(4)) made.rows = copied(random, size[0]);
    if (!random.chance(4)) made.columns = random.chance(3) ? Keep{size[1] - 1, -1, size[1]} : copied(random, size[1]);
    return made;
}

inline Table table(Random& random, int64_t channels) {
    channels = random.chance(2) ? 1 : channels;
    const auto count = static_cast<size_t>(channels) * 256;
    const auto filled = [&](auto value, auto&& next) {
        std::vector<decltype(value)> values(count);
        for (auto& one : values) one = next();
        return values;
    };
    switch (random.number(0, 4)) {
        case 0:
            return make_table(channels, filled(uint16_t{}, [&] { return static_cast<uint16_t>(random.bits()); }),
                              random.one({Dtype::float16, Dtype::bfloat16}));
        case 1:
            return make_table(channels, filled(0.0f, [&] { return random.any(); }));
        case 2: {
            std::vector<float> scaled(count);
            for (size_t i = 0; i < count; ++i) scaled[i] = static_cast<float>(i % 256) * (1.0f / 255);
            return make_table(channels, scaled);
        }
        default:
            return make_table(channels, filled(uint8_t{}, [&] { return static_cast<uint8_t>(random.bits()); }));
    }
}

inline Mix mix(Random& random, int64_t inputs, int64_t outputs, const Arithmetic& how) {
    Mix made{outputs, inputs, {}, {}, {}, {}, how};
    const auto add = [&](std::vector<float>& real, std::vector<int32_t>& whole, double most) {
        real.push_back(static_cast<float>(random.real(-most / 3, most)));
        whole.push_back(static_cast<int32_t>(std::ldexp(static_cast<double>(real.back()), how.bits)));
    };
    for (int64_t i = 0; i < outputs * inputs; ++i) add(made.weight, made.whole_weight, 1);
    for (int64_t i = 0; i < outputs; ++i) add(made.bias, made.whole_bias, 50);
    return made;
}

inline Filter filter(Random& random, const Arithmetic& how) {
    const int64_t height = 2 * random.number(0, 3) + 1, width = 2 * random.number(0, 3) + 1;
    Filter made{height,
                width,
                {},
                {},
                numbers(random, static_cast<size_t>(height * width), how, 0.4),
                random.one({Border::copy, Border::zero, Border::edge, Border::reflect, Border::symmetric}),
                how};
    for (int64_t k = 0; k < height * width; ++k) made.rows.push_back(k / width), made.columns.push_back(k % width);
    return made;
}

inline Sparse sparse(Random& random, Dtype dtype, Size from) {
    const Arithmetic how = any_arithmetic(random, dtype, true);
    const Size to{random.length(40), random.length(40)};
    const int64_t terms = random.number(1, 9), outputs = to[0] * to[1];
    Sparse made{terms,
                {},
                numbers(random, static_cast<size_t>(terms * outputs), how, 0.5),
                numbers(random, static_cast<size_t>(outputs), how, 20),
                from,
                to,
                how};
    for (int64_t k = 0; k < terms * outputs; ++k)
        made.pixels.push_back(
            {static_cast<int32_t>(random.number(0, from[0] - 1)), static_cast<int32_t>(random.number(0, from[1] - 1))});
    return made;
}

inline Blend blend(Random& random, int64_t channels, Dtype dtype) {
    const Arithmetic how = real_arithmetic(random, false, true);
    const double factor = random.real(0, 2);
    Blend made{{0, 1, 1, -1},
               {factor, std::nullopt},
               {},
               {},
               random.one({Blend::sum, Blend::from_image, Blend::from_other}),
               dtype == Dtype::uint8 ? 255.0 : 1.0,
               how,
               true};
    const int other = static_cast<int>(random.number(0, 2));
    if (other == 0) {
        made.other = mix(random, channels, 1, any_arithmetic(random, dtype, false));
        if (random.chance(2)) made.mean = random.one({Rounding::none, Rounding::half_up});
    } else if (other == 1) {
        made.other = filter(random, any_arithmetic(random, dtype, true));
    }
    return made;
}

inline Stretch stretch(Random& random, Dtype dtype) {
    const double most = dtype == Dtype::uint8 ? 255 : 1;
    return {{0, most},
            random.one({Stretch::divide, Stretch::multiply, Stretch::affine}),
            most,
            real_arithmetic(random, true, true)};
}

inline Turn turn(Random& random, Dtype dtype) {
    const double ceiling = dtype == Dtype::uint8 ? 255 : 1;
    return {{0, 2, 4},
            {random.real(-0.5, 0.5), std::nullopt},
            dtype == Dtype::uint8 ? 255.0 : 1.0,
            random.one({Turn::multiply, Turn::divide}),
            random.one({0, 255}),
            ceiling,
            real_arithmetic(random, false, true)};
}

inline Blur blur(Random& random, Size size) {
    const Border border = random.one({Border::edge, Border::reflect, Border::symmetric});
    const auto window = [&](int64_t length) { return 2 * random.number(0, std::min<int64_t>(6, length - 1)) + 1; };
    return {{0, -0.5},
            {random.real(0.1, 3), std::nullopt},
            window(size[0]),
            window(size[1]),
            border,
            real_arithmetic(random, false, true),
            false};
}

inline Stage stage(Random& random, int64_t channels, Dtype dtype, Size size) {
    if (size_of(dtype) == 2) {
        if (random.chance(2)) return gather(random, channels, size);
    } else if (random.chance(2)) {
        switch (random.number(0, 5)) {
            case 0:
            case 1:
            case 2:
                return resample(random, dtype, size);
            case 3:
                return gather(random, channels, size);
            case 4:
                return filter(random, any_arithmetic(random, dtype, true));
            default:
                return random.chance(2) ? Stage(sparse(random, dtype, size)) : Stage(blur(random, size));
        }
    }
    if (dtype == Dtype::uint8) switch (random.number(0, 7)) {
            case 0:
            case 1:
            case 2:
                return table(random, channels);
            case 3:
                return mix(random, channels, random.number(1, 4), any_arithmetic(random, dtype, false));
            case 4:
                return blend(random, channels, dtype);
            case 5:
                return stretch(random, dtype);
            case 6:
                return channels == 3 ? Stage(turn(random, dtype))
                                     : Stage(Equalize{random.number(1, 256), random.real(0, 1)});
            default:
                return BoxBlur{{random.real(0, 6), std::nullopt}, random.number(1, 3)};
        }
    if (dtype == Dtype::float32) switch (random.number(0, 5)) {
            case 0:
                return Cast{random.one({Dtype::float16, Dtype::bfloat16})};
            case 1:
                return mix(random, channels, random.number(1, 4), any_arithmetic(random, dtype, false));
            case 2:
                return blend(random, channels, dtype);
            case 3:
                return stretch(random, dtype);
            case 4:
                if (channels == 3) return turn(random, dtype);
                break;
        }
    Normalize made{{}, {}, dtype};
    for (int64_t c = 0; c < channels; ++c)
        made.mean.push_back(static_cast<float>(random.real(-1, 1))),
            made.std.push_back(static_cast<float>(random.real(0.1, 2)));
    return made;
}

}  // namespace lt::native_test
