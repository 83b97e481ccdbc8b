// What random transforms draw, read ahead in the state of torch's generator, which is left as it is.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lt {

// The 32-bit numbers that a Mersenne Twister gives next; state: as torch.Generator.get_state() lays it out.
class Upcoming {
  public:
    explicit Upcoming(const uint8_t* state);

    uint32_t next();
    int64_t count() const { return count_; }
    uint32_t last() const { return last_; }

  private:
    static constexpr int64_t WORDS = 624, SHIFT = 397;

    void refill();

    const uint8_t* given_;        // the words of the state
    std::vector<uint32_t> made_;  // those that come when they are used up
    int64_t left_, next_, count_ = 0;
    uint32_t last_ = 0;
};

class Sampler {
  public:
    // fused: torch's uniform numbers are scaled and moved with one rounding.
    explicit Sampler(bool fused) : fused_(fused) {}

    // gate: number of the draw that must have fallen for this one to take place; -1: always does.
    void coin(int64_t gate, double chance);
    // Part of an image: bounds of its share of the area, and of the logarithm of its ratio.
    void window(int64_t gate, const std::array<double, 4>& bounds);
    // Any part of a size (rows, columns) out of an image with (left, top, right, bottom) around it; if_needed: and with
    // as much more as makes it large enough. each: what can only be 0 is not drawn; else only where both can only be.
    void crop(int64_t gate, const std::array<int64_t, 2>& size, const std::array<int64_t, 4>& around, bool if_needed,
              bool each);
    // Pairs of a name and a value. kind: "factor", "order" (low: of how many, 0: of the channels), "coin", "none";
    // where a coin with this chance does not fall, the value is None; 2: none is tossed.
    void params(int64_t gate);
    void part(nanobind::str name, const std::string& kind, double low, double high, double chance);

    struct Ahead {
        int64_t count;  // of numbers that were used
        double last;    // of them, in 0..1
        nanobind::object outcomes, window;
    };

    // What comes next, by the state of torch's generator; none: in doubt.
    std::optional<Ahead> ahead(const uint8_t* state, int64_t channels, int64_t rows, int64_t columns) const;
    size_t draws() const { return draws_.size(); }

    // (how many numbers were used, the last of them in 0..1, what each draw gave, the window or None), or None: in doubt.
    nanobind::object operator()(uintptr_t state, int64_t channels, int64_t rows, int64_t columns) const;
    // The same for each of so many images, in order: (how many, the last, [(what each draw gave, the window or None)]).
    nanobind::object many(uintptr_t state, int64_t channels, int64_t rows, int64_t columns, int64_t images) const;

  private:
    enum class Kind { coin, window, crop, params };
    enum class Value { factor, order, coin, none };
    struct Part {
        nanobind::str name;
        Value kind;
        double low, high, chance;
    };
    struct Draw {
        Kind kind;
        int64_t gate;
        double chance;
        std::array<double, 4> bounds;
        std::vector<Part> parts;
        std::array<int64_t, 2> size;
        std::array<int64_t, 4> around;
        bool if_needed, each;
    };

    // What each draw gave, and the window, for one image; none: in doubt.
    std::optional<std::pair<nanobind::object, nanobind::object>> draw(Upcoming& numbers, int64_t channels, int64_t rows,
                                                                      int64_t columns) const;
    float uniform(Upcoming& numbers, double low, double high) const;
    // Whether there is one beyond doubt: (top, left, rows, columns).
    bool find(Upcoming& numbers, const Draw& draw, int64_t rows, int64_t columns, std::array<int64_t, 4>& found) const;
    // Whether the image is large enough.
    bool cut(Upcoming& numbers, const Draw& draw, int64_t rows, int64_t columns, std::array<int64_t, 4>& found) const;
    nanobind::object value(Upcoming& numbers, const Part& part, int64_t channels) const;
    void add(Kind kind, int64_t gate, double chance, const std::array<double, 4>& bounds);

    bool fused_;
    std::vector<Draw> draws_;
};

void define_sampler(nanobind::module_& m);

}  // namespace lt
