// Kernels for NEON, as every 64-bit ARM has it: windows of 16 bytes, one block of four lanes in a vector.
#ifdef LT_NEON
#include <arm_neon.h>

#include "simd/kernels-inl.hpp"

namespace lt {
namespace {

struct Neon : Plain, Buffered {
    static constexpr const char* NAME = "neon";

    // Floats.
    using Floats = float32x4_t;
    static constexpr bool HALVES = true;
    static Floats load_floats(const float* from) { return vld1q_f32(from); }
    static Floats load_floats(const uint8_t* from) {
        uint32_t four;
        std::memcpy(&four, from, 4);
        const uint16x4_t words = vget_low_u16(vmovl_u8(vcreate_u8(four)));
        return vcvtq_f32_u32(vmovl_u16(words));
    }
    static Floats fused(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
    static Eight fused(Eight a, Eight b, Eight c) {
        Floats x[2], y[2], z[2];
        std::memcpy(x, &a, sizeof(a)), std::memcpy(y, &b, sizeof(b)), std::memcpy(z, &c, sizeof(c));
        for (int half = 0; half < 2; ++half) z[half] = fused(x[half], y[half], z[half]);
        return load_as<Eight>(z);
    }
    static void store_halves(uint16_t* to, Floats x) { vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x))); }

    // Integers.
    using Ints = int32x4_t;
    using Shift = int32x4_t;
    using Bytes = uint8x16_t;
    static constexpr int LANES = 4;
    static Bytes bytes(Ints x) { return vreinterpretq_u8_s32(x); }
    static Ints ints(Bytes x) { return vreinterpretq_s32_u8(x); }
    static Ints load(const void* from) { return ints(load_bytes(from)); }
    static void store(void* to, Ints x) { store_bytes(to, bytes(x)); }
    static Ints set(int32_t x) { return vdupq_n_s32(x); }
    static Ints add(Ints a, Ints b) { return vaddq_s32(a, b); }
    static Ints add_bytes(Ints a, Ints b) { return ints(vaddq_u8(bytes(a), bytes(b))); }
    static Ints dot(Ints sum, Ints x, Ints weights) {
        const int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(weights);
        return add(sum, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
    }
    template <int N>
    static Ints left(Ints x) {
        return vshlq_n_s32(x, N);
    }
    static Shift shift(int bits) { return vdupq_n_s32(-bits); }
    static Ints right(Ints x, Shift bits) { return vshlq_s32(x, bits); }

    // Windows, and what blocks of lanes come to. A lookup gives 0 for an index of 16 and more.
    using Window = Bytes;
    static constexpr int BLOCKS = 1, WINDOW = 16;
    static Window window(const uint8_t* row, const int32_t* base) { return load_bytes(row + *base); }
    static Ints words(Window window, Ints shuffle) { return ints(vqtbl1q_u8(window, bytes(shuffle))); }
    static void store_lanes(const Ints (&sum)[GROUP], Shift bits, uint8_t* const (&to)[GROUP], int at, int) {
        alignas(16) uint8_t made[16];
        store(made, packed(sum, bits));
        for (int r = 0; r < GROUP; ++r) std::memcpy(to[r] + at, made + 4 * r, 4);
    }

    // Pieces: 8 values, or 2 pixels.
    static Ints widened(const uint8_t* from) { return vreinterpretq_s32_u16(vmovl_u8(vld1_u8(from))); }
    static Ints pixels(const uint8_t* from, Ints shuffle) { return words(load_bytes(from), shuffle); }
    static Ints repeat(const int32_t* from) { return vld1q_dup_s32(from); }
    static void store_totals(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) {
        const Ints total = vpaddq_s32(vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3]));
        store(to, packed({total, total, total, total}, bits));
    }
    static void store_pixels(const Ints (&sum)[GROUP], Shift bits, uint8_t* to) { store(to, packed(sum, bits)); }

    // Down columns.
    static void across(Ints a, Ints b, Ints (&x)[4]) {
        const Bytes near = vzip1q_u8(bytes(a), bytes(b)), far = vzip2q_u8(bytes(a), bytes(b)), zero = vdupq_n_u8(0);
        x[0] = ints(vzip1q_u8(near, zero)), x[1] = ints(vzip2q_u8(near, zero));
        x[2] = ints(vzip1q_u8(far, zero)), x[3] = ints(vzip2q_u8(far, zero));
    }
    static Ints packed(const Ints (&sum)[4], Shift bits) {
        const auto words = [&](int q) {
            return vcombine_s16(vqmovn_s32(right(sum[q], bits)), vqmovn_s32(right(sum[q + 1], bits)));
        };
        return ints(vcombine_u8(vqmovun_s16(words(0)), vqmovun_s16(words(2))));
    }

    // Bytes.
    static Bytes load_bytes(const void* from) { return vld1q_u8(static_cast<const uint8_t*>(from)); }
    static void store_bytes(void* to, Bytes x) { vst1q_u8(static_cast<uint8_t*>(to), x); }
    static Bytes picked(Bytes a, Bytes b, Bytes index) { return vqtbl2q_u8({{a, b}}, index); }
    static Bytes picked(Bytes a, Bytes b, Bytes c, Bytes index) { return vqtbl3q_u8({{a, b, c}}, index); }
    struct Levels {  // 256 bytes, in sixteen registers
        uint8x16x4_t part[4];

        explicit Levels(const uint8_t* from) {
            for (int q = 0; q < 4; ++q) part[q] = vld1q_u8_x4(from + 64 * q);
        }
        Ints at(Ints index) const {
            const Bytes places = bytes(index);
            Bytes made = vqtbl4q_u8(part[0], places);
            for (int q = 1; q < 4; ++q)  // What lies in another part is left as it is.
                made = vqtbx4q_u8(made, part[q], vsubq_u8(places, vdupq_n_u8(static_cast<uint8_t>(64 * q))));
            return ints(made);
        }
    };

    static constexpr int BYTES_SEEN = 0;  // Sums of floats have too few lanes for windows.
};

constexpr Kernels KERNELS = make_kernels<Neon>();

}  // namespace

const Kernels* neon() { return &KERNELS; }

}  // namespace lt
#else
#include "simd/kernel_table.hpp"
const lt::Kernels* lt::neon() { return nullptr; }
#endif
