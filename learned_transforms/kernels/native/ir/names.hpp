// Values by the names under which plans know them.
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

#include "ir/ops.hpp"

namespace lt {

// Give the value of a name, out of a list of pairs.
template <class T, size_t N>
T named(const std::pair<const char*, T> (&all)[N], const std::string& name) {
    for (const auto& [known, value] : all)
        if (name == known) return value;
    throw std::invalid_argument("nothing known is called " + name);
}

// Give the name of a value.
template <class T, size_t N>
const char* name_of(const std::pair<const char*, T> (&all)[N], T value) {
    for (const auto& [known, named] : all)
        if (named == value) return known;
    throw std::logic_error("a value has no name");
}

inline const std::pair<const char*, Border> BORDERS[] = {{"copy", Border::copy},
                                                      {"zero", Border::zero},
                                                      {"edge", Border::edge},
                                                      {"reflect", Border::reflect},
                                                      {"symmetric", Border::symmetric}};

inline const std::pair<const char*, Dtype> DTYPES[] = {{"uint8", Dtype::uint8},
                                                    {"float32", Dtype::float32},
                                                    {"float16", Dtype::float16},
                                                    {"bfloat16", Dtype::bfloat16}};

}  // namespace lt
