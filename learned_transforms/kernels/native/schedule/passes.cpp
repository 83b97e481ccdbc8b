#include "schedule/passes.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <variant>

#include "ir/verify.hpp"
#include "schedule/specialize.hpp"
#include "ir/lut.hpp"

namespace lt {

namespace {

constexpr double MOST_SIGMA = 64;  // whose boxes sum up to fewer than 257 pixels

bool changes_geometry(const Stage& stage) {
    const auto* gather = std::get_if<Gather>(&stage);
    const auto* blend = std::get_if<Blend>(&stage);
    return std::holds_alternative<Resample>(stage) || std::holds_alternative<Sparse>(stage) ||
           std::holds_alternative<Filter>(stage) || std::holds_alternative<Blur>(stage) ||
           std::holds_alternative<BoxBlur>(stage) || std::holds_alternative<Warp>(stage) || (blend && blend->of_filter()) ||
           (gather && (gather->rows || gather->columns));
}

// It must be the first of its pass, whose input it looks at.
bool needs_statistic(const Stage& stage) {
    const auto* blend = std::get_if<Blend>(&stage);
    return std::holds_alternative<Stretch>(stage) || std::holds_alternative<Equalize>(stage) ||
           (blend && blend->of_mean());
}

// Whether a pass makes floats of bytes, alike for all channels, and nothing else; so that a resample behind may do it.
bool converts(const Pass& pass, const Stage& next) {
    const auto* table = pass.pointwise.size() == 1 ? std::get_if<Table>(pass.pointwise.front().get()) : nullptr;
    const auto* resample = std::get_if<Resample>(&next);
    return table && table->dtype == Dtype::float32 && table->channels == 1 && std::holds_alternative<std::monostate>(pass.change) &&
           resample && resample->arithmetic.number == Number::float32 && !resample->arithmetic.tall_first;
}

}  // namespace

Shared joined(const Stage& before, const Stage& stage) {
    const auto* table = std::get_if<Table>(&before);
    const auto* normalize = std::get_if<Normalize>(&stage);
    const auto* second = std::get_if<Table>(&stage);
    const auto* cast = std::get_if<Cast>(&stage);
    if (!table) return nullptr;
    if (normalize && table->dtype == normalize->dtype)
        return std::make_shared<const Stage>(normalized(*table, *normalize));
    if (cast && table->dtype == Dtype::float32) return std::make_shared<const Stage>(rounded(*table, *cast));
    if (second && table->dtype == Dtype::uint8) return std::make_shared<const Stage>(chained(*table, *second));
    return nullptr;
}

void parallel(int64_t tasks, int64_t threads, const std::function<void(int64_t)>& task) {
    threads = std::clamp<int64_t>(threads, 1, tasks);
    if (threads == 1) {
        for (int64_t n = 0; n < tasks; ++n) task(n);
        return;
    }
    std::vector<std::exception_ptr> failures(static_cast<size_t>(threads));
    std::atomic<int64_t> next{0};
    const int64_t few = std::max<int64_t>(1, tasks / (threads * 64));
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

Passes::Passes(const std::vector<Shared>& stages, int64_t channels, Size size, Dtype dtype)
    : output_{nullptr, channels, size[0], size[1], dtype, false} {
    for (const Shared& stage : stages) {
        if (const char* why = misfit(*stage, dtype)) throw std::invalid_argument(why);
        dtype = dtype_after(*stage, dtype);
        if (const Factor* factor = factor_of(*stage); factor && factor->slot) slots_.push_back(*factor->slot);
        if (const auto* warp = std::get_if<Warp>(stage.get()); warp && warp->slot)
            slots_.push_back(*warp->slot + static_cast<int64_t>(warp->matrix.size()) - 1);
        if (const auto* blur = std::get_if<Blur>(stage.get()))
            if (const auto* first = std::get_if<int64_t>(&blur->taps)) slots_.push_back(*first + blur->count() - 1);
        add(stage);
    }
    for (const Pass& pass : passes_)
        output_ = pass.output(output_.channels, output_.height, output_.width, output_.dtype);
}

void Passes::add(const Shared& stage) {
    Pass* last = passes_.empty() ? nullptr : &passes_.back();
    if (last && !last->pointwise.empty())
        if (Shared both = joined(*last->pointwise.back(), *stage)) {
            last->pointwise.back() = std::move(both);
            return;
        }
    const auto* gather = std::get_if<Gather>(stage.get());
    if (!changes_geometry(*stage)) {
        if (!last || needs_statistic(*stage)) last = &passes_.emplace_back();
        if (!gather || gather->channels) last->pointwise.push_back(stage);
        return;
    }
    if (last && converts(*last, *stage)) {
        last->before = std::move(last->pointwise.back());
        last->pointwise.clear();
    }
    if (!last || !std::holds_alternative<std::monostate>(last->change) || !last->pointwise.empty())
        last = &passes_.emplace_back();
    last->changing = stage;
    if (gather) {
        last->change = Gather{std::nullopt, gather->rows, gather->columns, gather->fill};
        if (gather->channels)
            last->pointwise.push_back(
                std::make_shared<const Stage>(Gather{gather->channels, std::nullopt, std::nullopt}));
        return;
    }
    std::visit(
        [&](const auto& one) {
            using Kind = std::decay_t<decltype(one)>;
            if constexpr (std::is_same_v<Kind, Resample>)
                last->change = one;
            else if constexpr (std::is_assignable_v<Change&, const Kind*>)
                last->change = &one;
        },
        *stage);
}

void Passes::check_factors(const Factors& factors) const {
    for (const int64_t slot : slots_)
        require(slot < static_cast<int64_t>(factors.size()),
                "Expected factor " + std::to_string(slot) + " with the image: it is drawn for each.");
    for (const double factor : factors) require(std::isfinite(factor), "Expected factors that are finite numbers.");
    for (const Pass& pass : passes_) {
        if (const auto* blur = changes<Blur>(pass.change))
            require(blur->sigma.of(factors) > 0, "Expected a sigma above 0.");
        if (const auto* box = changes<BoxBlur>(pass.change))
            require(box->sigma.of(factors) > 0 && box->sigma.of(factors) <= MOST_SIGMA,
                    "Expected a sigma above 0, and of 64 at most.");
        for (const Shared& stage : pass.pointwise) {
            if (const auto* tables = std::get_if<Tables>(stage.get())) {
                const double number = tables->number.of(factors);
                require(number >= 0 && number < static_cast<double>(tables->count), "Expected the number of a table.");
            }
            if (const auto* turn = std::get_if<Turn>(stage.get()))
                require(std::abs(turn->factor.of(factors)) <= MOST_TURNS, "Expected a turn of hue of 2^20 at most.");
        }
    }
}

Geometries Passes::geometries(const View& first, bool whole, const Kernels& kernels) const {
    Geometries all;
    View view = first;
    for (size_t n = 0; n < passes_.size(); ++n) {
        const auto* resample = std::get_if<Resample>(&passes_[n].change);
        all.of.push_back(resample ? std::make_shared<const Geometry>(*resample, passes_[n].seen(view), kernels) : nullptr);
        const Target next = passes_[n].output(view.channels, view.height, view.width, view.dtype);
        const int64_t size = next.element();
        view = {nullptr, nullptr, next.channels, next.height, next.width, next.height * next.width * size,
                next.width * size, size, next.dtype};
    }
    if (whole && count() == 1) all.small = SmallPass::of(passes_[0], first, all.of[0].get(), output_, kernels);
    return all;
}

int64_t Passes::held(const View* view) const {
    int64_t bytes = static_cast<int64_t>(sizeof(Passes) + passes_.size() * sizeof(Pass));
    if (!view) return bytes;
    int64_t height = view->height, width = view->width;
    for (const Pass& pass : passes_) {
        if (const auto* resample = std::get_if<Resample>(&pass.change))
            bytes += Geometry::bytes(*resample, height, width, view->values());
        const Target next = pass.output(view->channels, height, width, view->dtype);
        height = next.height, width = next.width;
    }
    return bytes;
}

void Passes::run_image(const View& from, const Target& to, int64_t begin, int64_t end, const Geometries& geometries,
                        const Factors& factors, const Settled* ready, const Kernels& kernels) const {
    static thread_local Scratch scratch;
    static thread_local Settled settled;
    View view = from;
    std::unique_ptr<uint8_t[]> between[2];
    for (size_t n = 0; n < passes_.size(); ++n) {
        const Pass& pass = passes_[n];
        if (!ready) settled.settle(pass, view, factors, kernels, scratch);
        const Settled& numbers = ready ? *ready : settled;
        if (n + 1 == passes_.size())
            return pass.run(view, to, begin, end, geometries.of[n].get(), numbers, kernels, scratch);
        Target middle = pass.output(view.channels, view.height, view.width, view.dtype);
        const int64_t size = middle.element(), plane = middle.height * middle.width * size;
        auto& memory = between[n % 2];
        memory.reset(new uint8_t[static_cast<size_t>(plane * middle.channels)]);
        middle.data = memory.get();
        pass.run(view, middle, 0, middle.height, geometries.of[n].get(), numbers, kernels, scratch);
        view = {middle.data, middle.data + plane * middle.channels, middle.channels, middle.height, middle.width, plane,
                middle.width * size, size, middle.dtype};
    }
}

namespace {

// Of a batch, by how much there is to do.
int64_t useful(int64_t threads, const Batch& from, const Target& to) {
    const View& one = from.first;
    const int64_t work = from.images * (to.channels * to.height * to.width + one.channels * one.height * one.width);
    return std::clamp<int64_t>(std::min(threads, work / WORK), 1, 256);
}

// One image after the other, each by run(image, target, kernels).
template <class Small>
void run_small(const Small& small, const Batch& from, const Target& to, int64_t threads, const Kernels& kernels) {
    const int64_t bytes = to.channels * to.height * to.width * to.element();
    parallel(from.images, threads, [&](int64_t n) {
        small.run(from.first.data + n * from.image, to.data + n * bytes, kernels);
    });
}

}  // namespace

bool Passes::run_part(const Batch& from, const Target& to, const std::array<int64_t, 4>& window, Border border,
                      const std::vector<float>& fill, int64_t threads, const Kernels& kernels) const {
    if (count() != 1 || to.interleaved) return false;
    const auto copies = SmallCopies::of(passes_[0], from.first, window, border, fill, to, kernels);
    if (copies) run_small(*copies, from, to, useful(threads, from, to), kernels);
    return copies.has_value();
}

void Passes::run(const Batch& from, const Target& to, const Geometries& geometries, const Factors& factors,
                 int64_t threads, const Kernels& kernels) const {
    require(!passes_.empty(), "nothing is done to such images");
    const int64_t values = to.channels * to.height * to.width, size = to.element();
    threads = useful(threads, from, to);
    if (geometries.small && !to.interleaved) return run_small(*geometries.small, from, to, threads, kernels);
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
        settled[image].settle(passes_[0], image_of(static_cast<int64_t>(image)), factors, kernels, scratch);
    }
    parallel(from.images * bands, threads, [&](int64_t task) {
        const int64_t image = task / bands, band = task % bands;
        const View one = image_of(image);
        Target out = to;
        out.data += image * values * size;
        run_image(one, out, to.height * band / bands, to.height * (band + 1) / bands, geometries,
                  factors, bands > 1 ? &settled[static_cast<size_t>(image)] : nullptr, kernels);
    });
}

}  // namespace lt
