// SHA-256 (FIPS 180-4), by which a file shows that it is whole.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace lt {

class Sha256 {
  public:
    void add(std::string_view bytes);

    // 64 digits; nothing can be added any more.
    std::string hex();

  private:
    void block();

    std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<uint8_t, 64> waiting_{};
    uint64_t length_ = 0;
};

}  // namespace lt
