// Operations as Python hands them over.
#pragma once
#include <nanobind/nanobind.h>

#include "../ir/ops.hpp"

namespace lt {

// An operation, made once for all programs that have it.
struct BoundStage {
    Shared what;
};

void define_stages(nanobind::module_& m);

}  // namespace lt
