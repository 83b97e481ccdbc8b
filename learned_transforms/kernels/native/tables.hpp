// Tables of 256 values a channel, and what stages before and behind make of them.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.hpp"

namespace lt {

// A table of [channels, 256] values, with what the kernels want to know of it.
Table make_table(int64_t channels, std::vector<float> values);
Table make_table(int64_t channels, std::vector<uint8_t> levels);

// The bytes of its values.
void set_bytes(Table& table);

// (values - mean) / std, for each channel.
Table normalised(const Table& table, const Normalise& by);

// The table that gives what `second` gives of what `first` gives, which are levels.
Table chained(const Table& first, const Table& second);

}  // namespace lt
