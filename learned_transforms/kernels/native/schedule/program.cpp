#include "schedule/program.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "ir/verify.hpp"
#include "schedule/specialize.hpp"

namespace lt {

const Kernels* choose(const std::string& name) {
    for (const Kernels* kernels : every_kernels())
        if (kernels && (name.empty() || name == kernels->name)) return kernels;
    throw std::invalid_argument("no kernels called '" + name + "' on this processor, or in this build");
}

Size Sizing::of(const Size& size) const {
    const auto round = [](double value) { return static_cast<int64_t>(std::nearbyint(value)); };  // halves to even
    const auto scaled = [](int64_t a, int64_t b, int64_t by) {
        return static_cast<int64_t>(static_cast<double>(a * b) / static_cast<double>(by));
    };
    if (longest) {
        const double rows = static_cast<double>(size[0]), columns = static_cast<double>(size[1]);
        const double down = rows / static_cast<double>(wanted[0]), along = columns / static_cast<double>(wanted[1]);
        const double ratio = std::max(down, along) * *longest + std::min(down, along) * (1.0 - *longest);
        return {round(rows / ratio), round(columns / ratio)};
    }
    if (wanted.size() == 2) return {wanted[0], wanted[1]};
    const int64_t less = std::min(size[0], size[1]), more = std::max(size[0], size[1]);
    int64_t shorter = wanted.empty() ? scaled(*most, less, more) : wanted[0];
    int64_t longer = wanted.empty() ? *most : scaled(wanted[0], more, less);
    if (!wanted.empty() && most && longer > *most) {
        shorter = scaled(*most, shorter, longer);
        longer = *most;
    }
    return size[1] <= size[0] ? Size{longer, shorter} : Size{shorter, longer};
}

namespace {

bool varies(const std::optional<Keep>& keep) { return keep && (keep->rule || keep->nearest); }

// Whether what is copied depends on the size of the image.
bool varies(const Gather& gather) { return varies(gather.rows) || varies(gather.columns); }

// Whether some pixel that is kept lies outside of an axis of `size` pixels, where that shows already.
bool beyond(const std::optional<Keep>& keep, int64_t size) { return keep && !varies(keep) && keep->beyond(size); }

// Numbers of a copy along one axis, for `size` pixels; what a rule keeps beyond them makes it one with an outside.
std::optional<Keep> kept(const std::optional<Keep>& keep, int64_t size, bool limited, bool& outside) {
    if (!varies(keep)) return keep;
    if (limited && keep->rule && (keep->rule->border == Border::reflect || keep->rule->border == Border::symmetric)) {
        Keep plain = *keep;
        plain.rule->border = Border::zero;
        plain = plain.on(size);
        const int64_t most = size - (keep->rule->border == Border::reflect);
        require(-plain.start <= most && plain.start + plain.count - size <= most, "more is mirrored than there is");
    }
    Keep found = keep->on(size);
    check_kept(found);
    outside |= keep->rule && found.beyond(size);
    return found;
}

Shared at(const Resize& resize, const Size& size) {
    const Size out = resize.sizing.of(size);
    for (const int64_t length : out)
        require(length > 0 && length <= LONGEST, "an output needs at least one pixel, and at most 2^24 along an axis");
    if (out == size && resize.still) return nullptr;
    if (const auto* gather = std::get_if<Gather>(&resize.made)) {
        const auto listed = [](Keep keep, int64_t n, int64_t length) {
            keep.count = keep.nearest->size = n;
            return keep.on(length);
        };
        return std::make_shared<const Stage>(
            Gather{std::nullopt, listed(*gather->rows, out[0], size[0]), listed(*gather->columns, out[1], size[1])});
    }
    Resample made = std::get<Resample>(resize.made);
    made.rows.size = out[0], made.columns.size = out[1];
    made.rows.keep = {0, 1, out[0]}, made.columns.keep = {0, 1, out[1]};
    if (resize.larger && out[0] + out[1] > resize.small) made.arithmetic = *resize.larger;
    return std::make_shared<const Stage>(std::move(made));
}

// The same copy, of parts that begin where it was drawn.
Gather begun(Gather gather, const Factors& factors) {
    const auto slot = static_cast<size_t>(*gather.starts);
    require(slot + 1 < factors.size(), "Expected factors " + std::to_string(slot) + " and " + std::to_string(slot + 1) +
                                           " with the image: they are drawn for each.");
    for (size_t axis = 0; axis < 2; ++axis) {
        const double start = factors[slot + axis];
        require(std::abs(start) <= LONGEST && start == std::trunc(start), "Expected windows that begin at whole pixels.");
        (axis ? gather.columns : gather.rows)->rule->first = static_cast<int64_t>(start);
    }
    gather.starts.reset();
    return gather;
}

// A stage without rules, for images of one size, under what was drawn, if it is known; null: it does nothing to them.
Shared at(const Shared& stage, const Size& size, const Factors* factors) {
    if (const auto* resize = std::get_if<Resize>(stage.get())) return at(*resize, size);
    if (const auto* resample = std::get_if<Resample>(stage.get())) {
        check_size(resample->rows, size[0]), check_size(resample->columns, size[1]);
        return stage;
    }
    if (const auto* blend = std::get_if<Blend>(stage.get()); blend && blend->of_filter() && blend->limited) {
        const auto& filter = std::get<Filter>(blend->other);
        return filter.height > size[0] || filter.width > size[1] ? nullptr : stage;
    }
    if (const auto* blur = std::get_if<Blur>(stage.get())) {
        const int64_t less = blur->border == Border::reflect;
        require(!blur->limited || blur->border == Border::edge ||
                    (blur->height / 2 <= size[0] - less && blur->width / 2 <= size[1] - less),
                "a blur reaches further beyond the image than it can be reflected");
        return stage;
    }
    const auto* gather = std::get_if<Gather>(stage.get());
    if (!gather) return stage;
    if (gather->starts && factors)
        return at(std::make_shared<const Stage>(begun(*gather, *factors)), size, nullptr);
    bool outside = gather->outside || beyond(gather->rows, size[0]) || beyond(gather->columns, size[1]);
    if (outside == gather->outside && !varies(*gather)) return stage;
    auto rows = kept(gather->rows, size[0], gather->limited, outside);
    auto columns = kept(gather->columns, size[1], gather->limited, outside);
    return std::make_shared<const Stage>(
        Gather{gather->channels, std::move(rows), std::move(columns), gather->fill, outside});
}

Size size_after(const Stage& stage, Size size) {
    if (const auto* resample = std::get_if<Resample>(&stage))
        return {resample->rows.keep.count, resample->columns.keep.count};
    if (const auto* sparse = std::get_if<Sparse>(&stage)) return sparse->to;
    if (const auto* warp = std::get_if<Warp>(&stage)) return warp->of(size);
    if (const auto* gather = std::get_if<Gather>(&stage)) {
        if (gather->rows) size[0] = gather->rows->count;
        if (gather->columns) size[1] = gather->columns->count;
    }
    return size;
}

// Whether it is only the pixel itself that each becomes something of.
bool pointwise(const Stage& stage) {
    return std::holds_alternative<Mix>(stage) || std::holds_alternative<Table>(stage) ||
           std::holds_alternative<Tables>(stage) || std::holds_alternative<Normalize>(stage) || std::holds_alternative<Cast>(stage);
}

std::optional<Keep> followed(const std::optional<Keep>& first, const std::optional<Keep>& then) {
    return first && then ? first->followed(*then) : first ? first : then;
}

// One stage that does `before` and then copies rows and columns, none of them outside; null: there is none.
Shared merged(const Stage& before, const Gather& then) {
    if (const auto* resample = std::get_if<Resample>(&before)) {
        const auto even = [](const std::optional<Keep>& keep) { return !keep || keep->list.empty(); };
        if (!even(then.rows) || !even(then.columns)) return nullptr;
        Resample both = *resample;
        if (then.rows) both.rows.keep = both.rows.keep.followed(*then.rows);
        if (then.columns) both.columns.keep = both.columns.keep.followed(*then.columns);
        return std::make_shared<const Stage>(std::move(both));
    }
    if (const auto* gather = std::get_if<Gather>(&before)) {
        Gather both = *gather;
        both.rows = followed(gather->rows, then.rows), both.columns = followed(gather->columns, then.columns);
        return std::make_shared<const Stage>(std::move(both));
    }
    return nullptr;
}

// Copies of rows and columns move as early as they go, and merge with what they meet.
void fold(std::vector<Shared>& stages, Shared stage) {
    const auto* gather = std::get_if<Gather>(stage.get());
    auto place = stages.end();
    if (gather && !gather->channels && !gather->outside) {
        while (place != stages.begin() && pointwise(**(place - 1))) --place;
        if (place != stages.begin())
            if (Shared both = merged(**(place - 1), *gather)) {
                *(place - 1) = std::move(both);
                return;
            }
    }
    stages.insert(place, std::move(stage));
}

}  // namespace

Program::Program(int64_t channels, const std::string& simd)
    : channels_(channels), channels_out_(channels), kernels_(choose(simd)) {
    require(channels > 0, "an image needs at least one channel");
}

void Program::add(Shared stage) {
    channels_out_ = check(*stage, channels_out_);
    const auto* gather = std::get_if<Gather>(stage.get());
    begins_ |= gather && gather->starts;
    Shared both = stages_.empty() ? nullptr : joined(*stages_.back(), *stage);
    if (both)
        stages_.back() = std::move(both);
    else
        stages_.push_back(std::move(stage));
}

void Program::surround(Border border, std::vector<float> fill) {
    require(border != Border::copy, "an image cannot be surrounded by copies");
    check_fill(fill, channels_);
    around_ = border;
    around_fill_ = std::move(fill);
}

void Program::check_beyond(const std::array<int64_t, 4>& window) const {
    require(around_.has_value(), "the window does not lie in the image");
    const auto [top, left, height, width] = window;
    require(height >= 1 && width >= 1 && height <= LONGEST && width <= LONGEST && std::abs(top) <= LONGEST &&
                std::abs(left) <= LONGEST,
            "a window has at least one pixel, and at most 2^24 along an axis");
}

Batch Program::seen(const Batch& from, const std::array<int64_t, 4>& window, std::vector<uint8_t>& memory) const {
    const auto [top, left, height, width] = window;
    const auto list = [&](int64_t start, int64_t count, int64_t size) {
        Keep keep{start, 1, count};
        if (*around_ == Border::zero) return keep;
        for (int64_t i = 0; i < count; ++i) keep.list.push_back(bordered(start + i, size, *around_));
        return keep;
    };
    Pass pass;
    pass.change = Gather{std::nullopt, list(top, height, from.first.height), list(left, width, from.first.width),
                         around_fill_};
    Target part = pass.output(from.first.channels, height, width, from.first.dtype);
    const int64_t size = part.element(), plane = height * width * size, image = plane * part.channels;
    memory.resize(static_cast<size_t>(image * from.images + PADDING));
    static thread_local Scratch scratch;
    for (int64_t n = 0; n < from.images; ++n) {
        View one = from.first;
        one.data += n * from.image;
        part.data = memory.data() + n * image;
        pass.run(one, part, 0, height, nullptr, Settled(), *kernels_, scratch);
    }
    return {{memory.data(), memory.data() + memory.size(), part.channels, height, width, plane, width * size, size,
             part.dtype},
            from.images, image};
}

std::shared_ptr<const Passes> Program::lower(Size size, Dtype dtype, const Factors* factors) const {
    const Size whole = size;
    require(size[0] > 0 && size[1] > 0, "an image needs at least one row and column");
    require(size[0] <= LONGEST && size[1] <= LONGEST, "an image has at most 2^24 pixels along an axis");
    std::vector<Shared> stages;
    stages.reserve(stages_.size());
    for (const Shared& stage : stages_) {
        Shared found = at(stage, size, factors);
        if (!found) continue;
        size = size_after(*found, size);
        fold(stages, std::move(found));
    }
    return std::make_shared<const Passes>(stages, channels_, whole, dtype);
}

bool Program::alike(const Size& one, const Size& other) const {
    if (one == other) return true;
    for (const Shared& stage : stages_) {
        const auto* gather = std::get_if<Gather>(stage.get());
        if (pointwise(*stage) || (gather && !gather->rows && !gather->columns)) continue;
        if (const auto* resize = std::get_if<Resize>(stage.get())) {
            const Size out = resize->sizing.of(one);
            return resize->sizing.fixed() && std::holds_alternative<Resample>(resize->made) &&
                   (!resize->still || (out != one && out != other));
        }
        return std::holds_alternative<Resample>(*stage) ||
               (gather && gather->rows && gather->columns && !varies(*gather));
    }
    return false;
}

}  // namespace lt
