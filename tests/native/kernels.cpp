// Holds each set of instructions that this processor has to the portable kernels, without Python: random programs on
// random images, and sums that only one rounding gets right. kernels [programs [first [path]]]
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "programs.hpp"

namespace lt::native_test {
namespace {

// Of a program, as bytes.
struct Output {
    Dtype dtype;
    std::vector<uint8_t> memory;
};

constexpr int64_t MOST_STAGES = 3;
constexpr uint8_t UNTOUCHED = 171;

Output run(uint64_t number, const char* path) {
    Random random(number);
    const Image image(random, random.one({Dtype::uint8, Dtype::uint8, Dtype::uint8, Dtype::float32, Dtype::float32,
                                          Dtype::float16, Dtype::bfloat16}));
    const auto program = std::make_shared<Program>(image.channels, path);
    int64_t channels = image.channels;
    Dtype dtype = image.dtype;
    Size size{image.height, image.width};
    for (int64_t stages = random.number(1, MOST_STAGES); stages > 0; --stages) {
        const auto next = std::make_shared<const Stage>(stage(random, channels, dtype, size));
        if (misfit(*next, dtype)) continue;
        program->add(next);
        const auto shape = program->lower({image.height, image.width}, image.dtype)->output();
        channels = shape.channels, dtype = shape.dtype, size = {shape.height, shape.width};
    }
    if (program->lower({image.height, image.width}, image.dtype)->count() == 0) return {dtype, image.memory};
    const bool interleaved = random.chance(2);
    const Call call(program, image.images, {image.channels, image.height, image.width}, image.strides(), image.step(),
                    image.dtype, interleaved, false);
    Output output{call.output().dtype, std::vector<uint8_t>(static_cast<size_t>(call.bytes()), UNTOUCHED)};
    call.run(image.memory.data(), output.memory.data(), 1, nullptr, {});
    return output;
}

template <class T>
int64_t differing(const std::vector<uint8_t>& one, const std::vector<uint8_t>& other, T endless) {
    int64_t count = 0;
    for (size_t at = 0; at < one.size(); at += sizeof(T)) {
        T a, b;
        std::memcpy(&a, one.data() + at, sizeof(T)), std::memcpy(&b, other.data() + at, sizeof(T));
        const T most = static_cast<T>(~T{0} >> 1);
        const bool none = endless && (a & most) > endless && (b & most) > endless;  // Any NaN is like another.
        count += a != b && !none;
    }
    return count;
}

int64_t differing(const Output& one, const Output& other) {
    if (one.dtype != other.dtype || one.memory.size() != other.memory.size()) return 1;
    switch (one.dtype) {
        case Dtype::uint8:
            return differing<uint8_t>(one.memory, other.memory, 0);
        case Dtype::float32:
            return differing<uint32_t>(one.memory, other.memory, 0x7f800000);
        case Dtype::float16:
            return differing<uint16_t>(one.memory, other.memory, 0x7c00);
        default:
            return differing<uint16_t>(one.memory, other.memory, 0x7f80);
    }
}

// Sums of two products, the second fused, against those of the C library.
int64_t misfused(const Kernels& kernels, int64_t count) {
    constexpr int64_t N = 64;
    Random random(7);
    int64_t wrong = 0;
    for (int64_t n = 0; n < count; n += N) {
        const float taps[2] = {1, n ? random.any() : 5.9604645e-08f * (1 - 1 / 4096.0f + 1 / 16777216.0f)};
        float in[2 * N + PADDING] = {}, out[N + PADDING];
        for (float& value : in) value = n ? random.any() : 1;
        if (n == 0) std::fill_n(in + N, N, 1 + 1 / 4096.0f);  // 1 + 2^-24 + 2^-60, which float64 does not hold
        kernels.blur_along(taps, 2, N, true, in, N, out);
        for (int64_t i = 0; i < N; ++i) {
            const float right = std::fma(in[N + i], taps[1], in[i]);
            wrong += out[i] != right && (out[i] == out[i] || right == right);
        }
    }
    return wrong;
}

// Bytes of lines that are not those picked, or behind the line are no longer what they were.
int64_t mispicked(const Kernels& kernels, int64_t count) {
    Random random(11);
    int64_t wrong = 0;
    for (int64_t n = 0; n < count; ++n) {
        const int64_t size = random.length(300), pixel = random.one<int64_t>({1, 3, 4}),
                      bytes = random.number(1, pixel);
        Keep keep = copied(random, size);
        const Picks picks(keep, size, pixel, bytes, kernels.picked);
        std::vector<uint8_t> row(static_cast<size_t>((size - 1) * pixel + bytes)),
            line(picks.at.size() + PADDING, UNTOUCHED);
        for (uint8_t& value : row) value = static_cast<uint8_t>(random.bits());
        kernels.pick(picks, row.data(), line.data());
        for (size_t i = 0; i < line.size(); ++i)
            wrong += line[i] != (i < picks.at.size() ? row[static_cast<size_t>(picks.at[i])] : UNTOUCHED);
    }
    return wrong;
}

int test(int64_t programs, uint64_t first, const std::string& only) {
    int64_t wrong = 0;
    for (const Kernels* kernels : every_kernels()) {
        if (!kernels || (!only.empty() && only != kernels->name)) continue;
        const int64_t sums = misfused(*kernels, 64 * programs), bytes = mispicked(*kernels, programs);
        if (sums + bytes)
            std::printf("%s: %lld fused sums are not those of std::fma, %lld bytes are picked that are not asked for\n",
                        kernels->name, static_cast<long long>(sums), static_cast<long long>(bytes));
        int64_t values = 0, bad = sums + bytes;
        for (uint64_t number = first; kernels != &PORTABLE && number < first + static_cast<uint64_t>(programs);
             ++number) {
            const Output found = run(number, kernels->name), right = run(number, PORTABLE.name);
            const int64_t differ = differing(found, right);
            if (differ)
                std::printf("%s: %lld values of program %llu differ\n", kernels->name, static_cast<long long>(differ),
                            static_cast<unsigned long long>(number));
            values += static_cast<int64_t>(found.memory.size()) / size_of(found.dtype), bad += differ;
        }
        std::printf("%s: %lld of %lld values differ from the portable ones\n", kernels->name,
                    static_cast<long long>(bad), static_cast<long long>(values));
        wrong += bad;
    }
    return wrong ? 1 : 0;
}

}  // namespace
}  // namespace lt::native_test

int main(int count, char** arguments) {
    try {
        return lt::native_test::test(count > 1 ? std::atoll(arguments[1]) : 1000,
                                     count > 2 ? static_cast<uint64_t>(std::atoll(arguments[2])) : 0,
                                     count > 3 ? arguments[3] : "");
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return 2;
    }
}
