#include "program.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include "checks.hpp"
#include "settled.hpp"
#include "tables.hpp"

namespace lt {

const Kernels* choose(const std::string& name) {
    const Kernels* all[] = {avx512(), avx2(), &PORTABLE};
    for (const Kernels* kernels : all)
        if (kernels && (name.empty() || name == kernels->name)) return kernels;
    throw std::invalid_argument("no kernels called '" + name + "' on this processor, or in this build");
}

namespace {

constexpr size_t MOST_GEOMETRIES = 8;
constexpr double MOST_SIGMA = 64;  // whose boxes sum up to fewer than 257 pixels

bool changes_geometry(const Stage& stage) {
    const auto* gather = std::get_if<Gather>(&stage);
    const auto* blend = std::get_if<Blend>(&stage);
    return std::holds_alternative<Resample>(stage) || std::holds_alternative<Sparse>(stage) ||
           std::holds_alternative<Filter>(stage) || std::holds_alternative<Blur>(stage) ||
           std::holds_alternative<BoxBlur>(stage) || (blend && blend->of_filter()) ||
           (gather && (gather->rows || gather->columns));
}

// It must be the first of its pass, whose input it looks at.
bool needs_statistic(const Stage& stage) {
    const auto* blend = std::get_if<Blend>(&stage);
    return std::holds_alternative<Stretch>(stage) || std::holds_alternative<Equalise>(stage) ||
           (blend && blend->of_mean());
}

// Whether a pass makes floats of bytes, alike for all channels, and nothing else; so that a resample behind may do it.
bool converts(const Pass& pass, const Stage& next) {
    const auto* table = pass.pointwise.size() == 1 ? std::get_if<Table>(&pass.pointwise.front()) : nullptr;
    const auto* resample = std::get_if<Resample>(&next);
    return table && table->floating() && table->channels == 1 && std::holds_alternative<std::monostate>(pass.change) &&
           resample && resample->arithmetic.number == Number::float32 && !resample->arithmetic.tall_first;
}

}  // namespace

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
    if (const Factor* factor = factor_of(stage); factor && factor->slot) slots_.push_back(*factor->slot);
    if (folded(stage)) return;
    if (changes_geometry(stage)) {
        if (!passes_.empty() && converts(passes_.back(), stage)) {
            Pass& pass = passes_.back();
            pass.before = std::move(std::get<Table>(pass.pointwise.back()));
            pass.pointwise.clear();
        }
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
        } else if (auto* blend = std::get_if<Blend>(&stage)) {
            pass.change = std::move(*blend);
        } else if (auto* blur = std::get_if<Blur>(&stage)) {
            pass.change = std::move(*blur);
        } else if (auto* box = std::get_if<BoxBlur>(&stage)) {
            pass.change = std::move(*box);
        } else {
            auto& gather = std::get<Gather>(stage);
            pass.change = Gather{std::nullopt, gather.rows, gather.columns, gather.fill};
            if (gather.channels) pass.pointwise.push_back(Gather{gather.channels, std::nullopt, std::nullopt});
        }
    } else {
        if (passes_.empty() || needs_statistic(stage)) passes_.emplace_back();
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
                           around_fill_}, {}, {}};
    Target part = pass.output(from.first.channels, height, width, from.first.floating);
    const int64_t size = part.floating ? 4 : 1, plane = height * width * size, image = plane * part.channels;
    memory.resize(static_cast<size_t>(image * from.images + PADDING));
    static thread_local Scratch scratch;
    for (int64_t n = 0; n < from.images; ++n) {
        View one = from.first;
        one.data += n * from.image;
        part.data = memory.data() + n * image;
        pass.run(one, part, 0, height, nullptr, Settled(), *kernels_, scratch);
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

void Program::check_factors(const Factors& factors) const {
    for (const int64_t slot : slots_)
        require(slot < static_cast<int64_t>(factors.size()),
                "Expected factor " + std::to_string(slot) + " with the image: it is drawn for each.");
    for (const double factor : factors) require(std::isfinite(factor), "Expected factors that are finite numbers.");
    for (const Pass& pass : passes_) {
        if (const auto* blur = std::get_if<Blur>(&pass.change))
            require(blur->sigma.of(factors) > 0, "Expected a sigma above 0.");
        if (const auto* box = std::get_if<BoxBlur>(&pass.change))
            require(box->sigma.of(factors) > 0 && box->sigma.of(factors) <= MOST_SIGMA,
                    "Expected a sigma above 0, and of 64 at most.");
        for (const Stage& stage : pass.pointwise)
            if (const auto* turn = std::get_if<Turn>(&stage))
                require(std::abs(turn->factor.of(factors)) <= MOST_TURNS, "Expected a turn of hue of 2^20 at most.");
    }
}

std::shared_ptr<const Geometry> Program::geometry(size_t pass, const View& view) {
    const auto* resample = std::get_if<Resample>(&passes_[pass].change);
    if (!resample) return nullptr;
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& known = known_[pass];
    for (const Known& one : known)
        if (one.height == view.height && one.width == view.width && one.pixel == view.pixel &&
            one.values == view.values() && one.floating == view.floating)
            return one.geometry;
    auto made = std::make_shared<const Geometry>(*resample, passes_[pass].seen(view), *kernels_);
    if (known.size() >= MOST_GEOMETRIES) known.erase(known.begin());
    known.push_back({view.height, view.width, view.pixel, view.values(), view.floating, made});
    return made;
}

void Program::run_image(const View& from, const Target& to, int64_t begin, int64_t end, const Geometries& geometries,
                        const Factors& factors, const Settled* ready) const {
    static thread_local Scratch scratch;
    static thread_local Settled settled;
    View view = from;
    std::unique_ptr<uint8_t[]> between[2];
    for (size_t n = 0; n < passes_.size(); ++n) {
        const Pass& pass = passes_[n];
        if (!ready) settled.settle(pass, view, factors, *kernels_, scratch);
        const Settled& numbers = ready ? *ready : settled;
        if (n + 1 == passes_.size())
            return pass.run(view, to, begin, end, geometries[n].get(), numbers, *kernels_, scratch);
        Target middle = pass.output(view.channels, view.height, view.width, view.floating);
        const int64_t size = middle.floating ? 4 : 1, plane = middle.height * middle.width * size;
        auto& memory = between[n % 2];
        memory.reset(new uint8_t[static_cast<size_t>(plane * middle.channels)]);
        middle.data = memory.get();
        pass.run(view, middle, 0, middle.height, geometries[n].get(), numbers, *kernels_, scratch);
        view = {middle.data, middle.data + plane * middle.channels, middle.channels, middle.height, middle.width, plane,
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

void Program::run(const Batch& from, const Target& to, const Geometries& geometries, const Factors& factors,
                  int64_t threads) const {
    const int64_t values = to.channels * to.height * to.width, size = to.floating ? 4 : 1;
    const int64_t work = from.images * (values + from.first.channels * from.first.height * from.first.width);
    threads = std::clamp<int64_t>(std::min(threads, work / WORK), 1, 256);
    // Few images: each is cut into bands of rows. Only the last pass can be, so there must be just one.
    const int64_t wanted = (threads + from.images - 1) / std::max<int64_t>(from.images, 1);
    const int64_t bands = passes_.size() == 1 ? std::clamp<int64_t>(wanted, 1, to.height) : 1;
    const auto image_of = [&](int64_t image) {
        View one = from.first;
        one.data += image * from.image;
        return one;
    };
    // The bands of an image share its statistics.
    std::vector<Settled> settled(static_cast<size_t>(bands > 1 ? from.images : 0));
    for (size_t image = 0; image < settled.size(); ++image) {
        static thread_local Scratch scratch;
        settled[image].settle(passes_[0], image_of(static_cast<int64_t>(image)), factors, *kernels_, scratch);
    }
    parallel(from.images * bands, threads, [&](int64_t task) {
        const int64_t image = task / bands, band = task % bands;
        const View one = image_of(image);
        Target out = to;
        out.data += image * values * size;
        run_image(one, out, to.height * band / bands, to.height * (band + 1) / bands, geometries,
                  factors, bands > 1 ? &settled[static_cast<size_t>(image)] : nullptr);
    });
}

}  // namespace lt
