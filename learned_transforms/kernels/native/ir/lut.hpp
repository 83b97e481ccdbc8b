// Tables of 256 values a channel, and what stages before and behind make of them.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/ops.hpp"

namespace lt {

// A table of [channels, 256] values, with what the kernels want to know of it.
Table make_table(int64_t channels, std::vector<float> values);
Table make_table(int64_t channels, std::vector<uint8_t> levels);
Table make_table(int64_t channels, std::vector<uint16_t> words, Dtype dtype);

// The bytes of its floats.
void set_bytes(Table& table);

// (values - mean) / std, for each channel, each step rounded to the table's dtype.
Table normalized(const Table& table, const Normalize& by);

// Its floats as another dtype.
Table rounded(const Table& table, const Cast& to);

// The table that gives what `second` gives of what `first` gives, which are levels.
Table chained(const Table& first, const Table& second);

}  // namespace lt
