// The portable kernels.
#include "simd/generic-inl.hpp"

namespace lt {

const Kernels PORTABLE = PLAIN<Plain>;

}  // namespace lt
