// Whether stages fit together, and are safe to run on any image.
#pragma once

#include "pass.hpp"

namespace lt {

constexpr int64_t LONGEST = 1 << 24;  // pixels along an axis; float32 taps count them exactly

// Throws std::invalid_argument where it does not hold.
// Fill is empty, or has a value for each channel.
void check_fill(const std::vector<float>& fill, int64_t channels);

void require(bool holds, const char* message);

// Channels after a stage; throws where it does not fit.
int64_t check(const Stage& stage, int64_t channels);

// Why a stage cannot take floats, or bytes; null: it can.
const char* misfit(const Stage& stage, bool floats);

}  // namespace lt
