#include "ir/lut.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "simd/kernel_table.hpp"

namespace lt {
namespace {

// The bytes of values: for each channel those of the first place, then those of the second, and so on.
template <class T>
void spread(const std::vector<T>& values, std::vector<uint8_t>& bytes) {
    constexpr size_t SIZE = sizeof(T);
    bytes.resize(values.size() * SIZE);
    for (size_t n = 0; n < values.size(); ++n) {
        uint8_t parts[SIZE];
        std::memcpy(parts, &values[n], SIZE);
        for (size_t b = 0; b < SIZE; ++b) bytes[n / 256 * 256 * SIZE + b * 256 + n % 256] = parts[b];
    }
}

// What how(channel, values, 256, out) makes of the values of each of `channels` channels; a table of one has the same for
// all of them.
template <class T, class How>
std::vector<T> each_channel(const std::vector<T>& values, size_t channels, const How& how) {
    std::vector<T> made(channels * 256);
    for (size_t c = 0; c < channels; ++c)
        how(c, values.data() + (values.size() == 256 ? 0 : c * 256), 256, made.data() + c * 256);
    return made;
}

}  // namespace

void set_bytes(Table& table) { spread(table.values, table.bytes); }

Table make_table(int64_t channels, std::vector<float> values) {
    Table table{channels, Dtype::float32, {}, std::move(values), {}, {}, {}};
    set_bytes(table);
    const float unit = table.values[1];
    bool scaled = true;
    for (size_t n = 0; n < table.values.size(); ++n)
        scaled = scaled && table.values[n] == static_cast<float>(n % 256) * unit;
    const auto size = static_cast<size_t>(channels);
    if (scaled) table.formula = Formula{unit, std::vector<float>(size, 0), std::vector<float>(size, 1)};
    return table;
}

Table make_table(int64_t channels, std::vector<uint8_t> levels) {
    return {channels, Dtype::uint8, std::move(levels), {}, {}, {}, {}};
}

Table make_table(int64_t channels, std::vector<uint16_t> words, Dtype dtype) {
    Table table{channels, dtype, {}, {}, std::move(words), {}, {}};
    spread(table.words, table.bytes);
    return table;
}

Table normalized(const Table& table, const Normalize& by) {
    const size_t channels = by.mean.size();
    const auto outputs = static_cast<int64_t>(channels);
    if (table.dtype != Dtype::float32)
        return make_table(outputs, each_channel(table.words, channels, [&](size_t c, auto... more) {
                              PORTABLE.normalize_words(table.dtype, by.mean[c], by.std[c], more...);
                          }), table.dtype);
    Table made = make_table(outputs, each_channel(table.values, channels, [&](size_t c, auto... more) {
                                PORTABLE.normalize(by.mean[c], by.std[c], more...);
                            }));
    const bool scaled = table.formula && table.formula->mean == std::vector<float>(table.formula->mean.size(), 0) &&
                        table.formula->std == std::vector<float>(table.formula->std.size(), 1);
    if (scaled) made.formula = Formula{table.formula->unit, by.mean, by.std};
    return made;
}

Table rounded(const Table& table, const Cast& to) {
    std::vector<uint16_t> words(table.values.size());
    PORTABLE.cast(to.dtype, table.values.data(), static_cast<int64_t>(words.size()), words.data());
    return make_table(table.channels, std::move(words), to.dtype);
}

// The table that gives what `second` gives of what `first` gives, which are levels.
Table chained(const Table& first, const Table& second) {
    const int64_t channels = std::max(first.channels, second.channels);
    const auto chain = [&](const auto& values) {
        std::decay_t<decltype(values)> all;
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t level = 0; level < 256; ++level) {
                const auto middle = first.levels[static_cast<size_t>((first.channels == 1 ? 0 : c) * 256 + level)];
                all.push_back(values[static_cast<size_t>((second.channels == 1 ? 0 : c) * 256 + middle)]);
            }
        return all;
    };
    if (second.dtype == Dtype::uint8) return make_table(channels, chain(second.levels));
    if (second.dtype == Dtype::float32) return make_table(channels, chain(second.values));
    return make_table(channels, chain(second.words), second.dtype);
}

}  // namespace lt
