#include "program.hpp"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "checks.hpp"

namespace lt {

const Kernels* choose(const std::string& name) {
    const Kernels* all[] = {avx512(), avx2(), &PORTABLE};
    for (const Kernels* kernels : all)
        if (kernels && (name.empty() || name == kernels->name)) return kernels;
    throw std::invalid_argument("no kernels called '" + name + "' on this processor, or in this build");
}

namespace {

constexpr size_t MOST_GEOMETRIES = 8;
constexpr int64_t WORK = 1 << 18;  // values that are worth a thread of their own: several times what it costs to start

bool changes_geometry(const Stage& stage) {
    const auto* gather = std::get_if<Gather>(&stage);
    return std::holds_alternative<Resample>(stage) || std::holds_alternative<Sparse>(stage) ||
           std::holds_alternative<Filter>(stage) || (gather && (gather->rows || gather->columns));
}

// (values - mean) / std, for each channel.
Table normalised(const Table& table, const Normalise& by) {
    std::vector<float> values;
    for (size_t c = 0; c < by.mean.size(); ++c)
        for (size_t level = 0; level < 256; ++level)
            values.push_back((table.values[(table.channels == 1 ? 0 : c * 256) + level] - by.mean[c]) / by.std[c]);
    Table made = make_table(static_cast<int64_t>(by.mean.size()), std::move(values));
    const bool scaled = table.formula && table.formula->mean == std::vector<float>(table.formula->mean.size(), 0) &&
                        table.formula->std == std::vector<float>(table.formula->std.size(), 1);
    if (scaled) made.formula = Formula{table.formula->unit, by.mean, by.std};
    return made;
}

// The table that gives what `second` gives of what `first` gives, which are levels.
Table chained(const Table& first, const Table& second) {
    const int64_t channels = std::max(first.channels, second.channels);
    const auto chain = [&](const auto& values) {
        std::decay_t<decltype(values)> all;
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t level = 0; level < 256; ++level) {
                const auto middle = first.levels[static_cast<size_t>((first.channels == 1 ? 0 : c) * 256 + level)];
                all.push_back(values[static_cast<size_t>((second.channels == 1 ? 0 : c) * 256 + middle)]);
            }
        return make_table(channels, std::move(all));
    };
    return second.floating() ? chain(second.values) : chain(second.levels);
}

// task(n) for each n < tasks, a few at a time by whoever is free. What a thread throws is thrown again here, when all
// have ended.
void parallel(int64_t tasks, int64_t threads, const std::function<void(int64_t)>& task) {
    threads = std::clamp<int64_t>(threads, 1, tasks);
    if (threads == 1) {
        for (int64_t n = 0; n < tasks; ++n) task(n);
        return;
    }
    std::vector<std::exception_ptr> failures(static_cast<size_t>(threads));
    std::atomic<int64_t> next{0};
    const int64_t few = std::max<int64_t>(1, tasks / (threads * 16));
    const auto share = [&](int64_t thread) {
        try {
            for (int64_t first = next.fetch_add(few); first < tasks; first = next.fetch_add(few))
                for (int64_t n = first; n < std::min(first + few, tasks); ++n) task(n);
        } catch (...) {
            failures[static_cast<size_t>(thread)] = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    try {
        for (int64_t thread = 1; thread < threads; ++thread) others.emplace_back(share, thread);
    } catch (const std::exception&) {
        // No more threads are to be had: those that there are do it all.
    }
    share(0);
    for (std::thread& thread : others) thread.join();
    for (const auto& failure : failures)
        if (failure) std::rethrow_exception(failure);
}

}  // namespace

Table make_table(int64_t channels, std::vector<float> values) {
    Table table{channels, {}, std::move(values), {}, {}};
    table.bytes.resize(table.values.size() * 4);
    const float unit = table.values[1];
    bool scaled = true;
    for (size_t n = 0; n < table.values.size(); ++n) {
        uint8_t bytes[4];
        std::memcpy(bytes, &table.values[n], 4);
        for (size_t b = 0; b < 4; ++b) table.bytes[n / 256 * 1024 + b * 256 + n % 256] = bytes[b];
        scaled = scaled && table.values[n] == static_cast<float>(n % 256) * unit;
    }
    const auto size = static_cast<size_t>(channels);
    if (scaled) table.formula = Formula{unit, std::vector<float>(size, 0), std::vector<float>(size, 1)};
    return table;
}

Table make_table(int64_t channels, std::vector<uint8_t> levels) { return {channels, std::move(levels), {}, {}, {}}; }

Program::Program(int64_t channels, const std::string& simd)
    : channels_(channels), channels_out_(channels), kernels_(choose(simd)) {
    require(channels > 0, "an image needs at least one channel");
}

void Program::add(Stage stage) {
    const int64_t channels = check(stage, channels_out_);
    for (const bool source : {false, true}) {
        if (!misfit_[source]) misfit_[source] = misfit(stage, floats_[source]);
        floats_[source] = floats_after(stage, floats_[source]);
    }
    if (folded(stage)) return;
    if (changes_geometry(stage)) {
        const bool fresh = passes_.empty() || !std::holds_alternative<std::monostate>(passes_.back().change) ||
                           !passes_.back().pointwise.empty();
        if (fresh) passes_.emplace_back();
        Pass& pass = passes_.back();
        if (auto* resample = std::get_if<Resample>(&stage)) {
            pass.change = std::move(*resample);
        } else if (auto* sparse = std::get_if<Sparse>(&stage)) {
            pass.change = std::move(*sparse);
        } else if (auto* filter = std::get_if<Filter>(&stage)) {
            pass.change = std::move(*filter);
        } else {
            auto& gather = std::get<Gather>(stage);
            pass.change = Gather{std::nullopt, gather.rows, gather.columns, gather.fill};
            if (gather.channels) pass.pointwise.push_back(Gather{gather.channels, std::nullopt, std::nullopt});
        }
    } else {
        if (passes_.empty()) passes_.emplace_back();
        const auto* gather = std::get_if<Gather>(&stage);
        if (!gather || gather->channels) passes_.back().pointwise.push_back(std::move(stage));
    }
    channels_out_ = channels;
    known_.resize(passes_.size());
}

void Program::surround(Border border, std::vector<float> fill) {
    require(border != Border::copy, "an image cannot be surrounded by copies");
    check_fill(fill, channels_);
    around_ = border;
    around_fill_ = std::move(fill);
}

Batch Program::seen(const Batch& from, const std::array<int64_t, 4>& window, std::vector<uint8_t>& memory) const {
    require(around_.has_value(), "the window does not lie in the image");
    const auto [top, left, height, width] = window;
    require(height >= 1 && width >= 1 && height <= LONGEST && width <= LONGEST && std::abs(top) <= LONGEST &&
                std::abs(left) <= LONGEST,
            "a window has at least one pixel, and at most 2^24 along an axis");
    const auto list = [&](int64_t start, int64_t count, int64_t size) {
        Keep keep{start, 1, count};
        if (*around_ == Border::zero) return keep;
        for (int64_t i = 0; i < count; ++i) keep.list.push_back(bordered(start + i, size, *around_));
        return keep;
    };
    const Pass pass{Gather{std::nullopt, list(top, height, from.first.height), list(left, width, from.first.width),
                           around_fill_}, {}};
    Target part = pass.output(from.first.channels, height, width, from.first.floating);
    const int64_t size = part.floating ? 4 : 1, plane = height * width * size, image = plane * part.channels;
    memory.resize(static_cast<size_t>(image * from.images + PADDING));
    static thread_local Scratch scratch;
    for (int64_t n = 0; n < from.images; ++n) {
        View one = from.first;
        one.data += n * from.image;
        part.data = memory.data() + n * image;
        pass.run(one, part, 0, height, nullptr, *kernels_, scratch);
    }
    return {{memory.data(), memory.data() + memory.size(), part.channels, height, width, plane, width * size, size,
             part.floating},
            from.images, image};
}

// A mean and std behind a table of floats become part of it, and a table behind one of levels.
bool Program::folded(const Stage& stage) {
    auto* table = passes_.empty() || passes_.back().pointwise.empty()
                      ? nullptr
                      : std::get_if<Table>(&passes_.back().pointwise.back());
    const auto* normalise = std::get_if<Normalise>(&stage);
    const auto* second = std::get_if<Table>(&stage);
    if (table && table->floating() && normalise)
        *table = normalised(*table, *normalise);
    else if (table && !table->floating() && second)
        *table = chained(*table, *second);
    else
        return false;
    return true;
}

Target Program::output(int64_t height, int64_t width, bool floating) const {
    require(!passes_.empty(), "a program needs at least one stage");
    require(!misfit_[floating], misfit_[floating]);
    require(height > 0 && width > 0, "an image needs at least one row and column");
    require(height <= LONGEST && width <= LONGEST, "an image has at most 2^24 pixels along an axis");
    Target shape{nullptr, channels_, height, width, floating, false};
    for (const Pass& pass : passes_) shape = pass.output(shape.channels, shape.height, shape.width, shape.floating);
    return shape;
}

std::shared_ptr<const Geometry> Program::geometry(size_t pass, const View& view) {
    const auto* resample = std::get_if<Resample>(&passes_[pass].change);
    if (!resample) return nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& known = known_[pass];
    for (const Known& one : known)
        if (one.height == view.height && one.width == view.width && one.pixel == view.pixel &&
            one.values == view.values())
            return one.geometry;
    auto made = std::make_shared<const Geometry>(*resample, view, *kernels_);
    if (known.size() >= MOST_GEOMETRIES) known.erase(known.begin());
    known.push_back({view.height, view.width, view.pixel, view.values(), made});
    return made;
}

void Program::run_image(const View& from, const Target& to, int64_t begin, int64_t end,
                        const Geometries& geometries) const {
    static thread_local Scratch scratch;
    View view = from;
    std::vector<uint8_t> between[2];
    for (size_t n = 0; n < passes_.size(); ++n) {
        const Pass& pass = passes_[n];
        if (n + 1 == passes_.size()) return pass.run(view, to, begin, end, geometries[n].get(), *kernels_, scratch);
        Target middle = pass.output(view.channels, view.height, view.width, view.floating);
        const int64_t size = middle.floating ? 4 : 1, plane = middle.height * middle.width * size;
        auto& memory = between[n % 2];
        memory.resize(static_cast<size_t>(plane * middle.channels));
        middle.data = memory.data();
        pass.run(view, middle, 0, middle.height, geometries[n].get(), *kernels_, scratch);
        view = {middle.data,  middle.data + memory.size(), middle.channels, middle.height,  middle.width, plane,
                middle.width * size, size, middle.floating};
    }
}

Program::Geometries Program::geometries(const View& first) {
    Geometries all;
    View view = first;
    for (size_t n = 0; n < passes_.size(); ++n) {
        all.push_back(geometry(n, view));
        const Target next = passes_[n].output(view.channels, view.height, view.width, view.floating);
        const int64_t size = next.floating ? 4 : 1;
        view = {nullptr, nullptr, next.channels, next.height, next.width, next.height * next.width * size,
                next.width * size, size, next.floating};
    }
    return all;
}

void Program::run(const Batch& from, const Target& to, const Geometries& geometries, int64_t threads) const {
    const int64_t values = to.channels * to.height * to.width, size = to.floating ? 4 : 1;
    const int64_t work = from.images * (values + from.first.channels * from.first.height * from.first.width);
    threads = std::clamp<int64_t>(std::min(threads, work / WORK), 1, 256);
    // Few images: each is cut into bands of rows. Only the last pass can be, so there must be just one.
    const int64_t wanted = (threads + from.images - 1) / std::max<int64_t>(from.images, 1);
    const int64_t bands = passes_.size() == 1 ? std::clamp<int64_t>(wanted, 1, to.height) : 1;
    parallel(from.images * bands, threads, [&](int64_t task) {
        const int64_t image = task / bands, band = task % bands;
        View one = from.first;
        one.data += image * from.image;
        Target out = to;
        out.data += image * values * size;
        run_image(one, out, to.height * band / bands, to.height * (band + 1) / bands, geometries);
    });
}

namespace {

int64_t product(std::initializer_list<int64_t> factors) {
    int64_t result = 1;
    for (const int64_t factor : factors)
        require(factor >= 0 && !__builtin_mul_overflow(result, factor, &result),
                    "sizes are negative, or too large for this machine");
    return result;
}

// Bytes from the first value of a batch to behind its last.
int64_t extent(const Batch& batch) {
    const View& one = batch.first;
    int64_t bytes = one.element();
    for (const auto& [size, stride] : {std::pair{batch.images, batch.image}, {one.channels, one.channel},
                                       {one.height, one.row}, {one.width, one.pixel}})
        require(!__builtin_add_overflow(bytes, product({size - 1, stride}), &bytes), "sizes are too large");
    return bytes;
}

// Fresh memory for large outputs comes page by page, which takes longer than to fill it; huge pages are hundreds of times
// fewer. Advice that the system does not take changes nothing.
void advise(uint8_t* memory, int64_t bytes) {
#ifdef __linux__
    constexpr uintptr_t HUGE_PAGE = 1 << 21;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + static_cast<uintptr_t>(bytes)) / HUGE_PAGE * HUGE_PAGE;
    if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
    static_cast<void>(memory), static_cast<void>(bytes);
#endif
}

}  // namespace

Call::Call(std::shared_ptr<Program> program, int64_t images, std::array<int64_t, 3> shape,
           std::array<int64_t, 3> strides, int64_t step, bool floating, bool interleaved)
    : program_(std::move(program)) {
    const auto [channels, height, width] = shape;
    const int64_t element = floating ? 4 : 1;
    require(images >= 1 && channels >= 1 && height >= 1 && width >= 1,
                "an image needs at least one channel, row and column");
    require(channels == program_->channels(), "the image has another number of channels than the plan");
    View view{nullptr, nullptr, channels, height, width, product({strides[0], element}), product({strides[1], element}),
              product({strides[2], element}), floating};
    const bool side_by_side = view.channel == element && view.pixel <= 4 * element;
    require(view.pixel == element || (side_by_side && (channels == 1 || view.pixel >= channels * element)),
                "the values of a row must lie side by side, or be interleaved, 4 to a pixel at most");
    batch_ = {view, images, product({step, element})};
    extent_ = extent(batch_);
    target_ = program_->output(height, width, floating);
    target_.interleaved = interleaved;
    bytes_ = product({images, target_.channels, target_.height, target_.width, target_.floating ? 4 : 1});
    geometries_ = program_->geometries(view);
}

void Call::run(const uint8_t* source, uint8_t* target, int64_t threads, const std::array<int64_t, 4>* window) const {
    advise(target, bytes_);
    Batch batch = batch_;
    Target to = target_;
    batch.first.data = source;
    batch.first.end = source + extent_;
    to.data = target;
    if (!window) return program_->run(batch, to, geometries_, threads);
    const auto [top, left, height, width] = *window;
    View& view = batch.first;
    std::vector<uint8_t> part;
    if (top >= 0 && left >= 0 && height >= 1 && width >= 1 && height <= view.height - top &&
        width <= view.width - left) {
        view.data += top * view.row + left * view.pixel;
        view.height = height;
        view.width = width;
    } else {
        batch = program_->seen(batch, *window, part);
    }
    const Target shape = program_->output(height, width, view.floating);
    require(shape.height == to.height && shape.width == to.width, "a window changes the size of the output");
    program_->run(batch, to, program_->geometries(view), threads);
}

}  // namespace lt
