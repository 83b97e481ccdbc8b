#include "lines.hpp"

namespace lt {
namespace {

class Copied final : public Lines {
  public:
    Copied(const Gather& gather, const View& from, Scratch& scratch)
        : Lines(gather.columns ? gather.columns->count : from.width, from.channels, from.floating, from.values() > 1,
                scratch),
          gather_(gather),
          from_(from) {}

  private:
    void make(int64_t i, uint8_t* to) override {
        const int64_t bytes = from_.values() * from_.element();
        const int64_t y = gather_.rows ? gather_.rows->at(i, from_.height) : i;
        if (y < 0) {
            std::memset(to, 0, static_cast<size_t>(values_ * from_.element()));
            return;
        }
        const Keep keep = gather_.columns.value_or(Keep{0, 1, width_});
        const bool inside = keep.at(0, from_.width) >= 0 && keep.at(width_ - 1, from_.width) >= 0;
        const auto at = [&](int64_t j) { return keep.at(j, from_.width); };
        for (int64_t plane = 0; plane < from_.planes(); ++plane) {
            const uint8_t* row = from_.data + plane * from_.channel + y * from_.row;
            to = keep.step == 1 && inside ? take_run(row, from_.pixel, bytes, width_, keep.start, to)
                                          : take(row, from_.pixel, bytes, width_, at, to);
        }
    }

    const Gather& gather_;
    const View& from_;
};

}  // namespace

Source copied(const Gather& gather, const View& from, Scratch& scratch) {
    return std::make_unique<Copied>(gather, from, scratch);
}

}  // namespace lt
