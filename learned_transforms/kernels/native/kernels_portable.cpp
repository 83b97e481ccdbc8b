// The portable kernels.
#include "loops.hpp"

namespace lt {

const Kernels PORTABLE = PLAIN;

}  // namespace lt
