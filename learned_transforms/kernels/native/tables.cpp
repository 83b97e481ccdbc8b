#include "tables.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lt {

void set_bytes(Table& table) {
    table.bytes.resize(table.values.size() * 4);
    for (size_t n = 0; n < table.values.size(); ++n) {
        uint32_t bits;
        std::memcpy(&bits, &table.values[n], 4);
        for (size_t b = 0; b < 4; ++b)
            table.bytes[n / 256 * 1024 + b * 256 + n % 256] = static_cast<uint8_t>(bits >> (8 * b));
    }
}

Table make_table(int64_t channels, std::vector<float> values) {
    Table table{channels, {}, std::move(values), {}, {}};
    set_bytes(table);
    const float unit = table.values[1];
    bool scaled = true;
    for (size_t n = 0; n < table.values.size(); ++n)
        scaled = scaled && table.values[n] == static_cast<float>(n % 256) * unit;
    const auto size = static_cast<size_t>(channels);
    if (scaled) table.formula = Formula{unit, std::vector<float>(size, 0), std::vector<float>(size, 1)};
    return table;
}

Table make_table(int64_t channels, std::vector<uint8_t> levels) { return {channels, std::move(levels), {}, {}, {}}; }

// (values - mean) / std, for each channel.
Table normalised(const Table& table, const Normalise& by) {
    std::vector<float> values;
    for (size_t c = 0; c < by.mean.size(); ++c)
        for (size_t level = 0; level < 256; ++level)
            values.push_back((table.values[(table.channels == 1 ? 0 : c * 256) + level] - by.mean[c]) / by.std[c]);
    Table made = make_table(static_cast<int64_t>(by.mean.size()), std::move(values));
    const bool scaled = table.formula && table.formula->mean == std::vector<float>(table.formula->mean.size(), 0) &&
                        table.formula->std == std::vector<float>(table.formula->std.size(), 1);
    if (scaled) made.formula = Formula{table.formula->unit, by.mean, by.std};
    return made;
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
        return make_table(channels, std::move(all));
    };
    return second.floating() ? chain(second.values) : chain(second.levels);
}

}  // namespace lt
