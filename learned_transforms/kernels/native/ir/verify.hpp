// Whether stages fit together, and are safe to run on any image.
#pragma once

#include <string>

#include "schedule/pass.hpp"

namespace lt {

constexpr double MOST_TURNS = 1 << 20;  // of hue: they leave a fraction
constexpr int64_t LONGEST = 1 << 24;  // pixels along an axis; float32 taps count them exactly

// Throws std::invalid_argument where it does not hold.
// Fill is empty, or has a value for each channel.
void check_fill(const std::vector<float>& fill, int64_t channels);

void require(bool holds, const char* message);
void require(bool holds, const std::string& message);

// Of a copy without rules.
void check_kept(const Keep& keep);

// Channels after a stage; throws where it does not fit.
int64_t check(const Stage& stage, int64_t channels);

// The number of a stage that may be drawn for each image, if it has one.
const Factor* factor_of(const Stage& stage);

// Why a stage cannot take values of a dtype; null: it can.
const char* misfit(const Stage& stage, Dtype dtype);

}  // namespace lt
