#ifdef __linux__
#include <sys/mman.h>
#endif

#include "ir/verify.hpp"
#include "schedule/program.hpp"

namespace lt {

namespace {

constexpr int64_t PIECE = 1 << 14;  // values of an image that are still in the cache when the next one takes them

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

}  // namespace

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

Call::Call(std::shared_ptr<const Program> program, int64_t images, std::array<int64_t, 3> shape,
           std::array<int64_t, 3> strides, int64_t step, Dtype dtype, bool interleaved, bool windowed)
    : program_(std::move(program)), windowed_(windowed || program_->begins()) {
    const auto [channels, height, width] = shape;
    const int64_t element = size_of(dtype);
    // Along an axis of one value they may be anything.
    if (channels == 1) strides[0] = 1;
    if (width == 1) strides[2] = 1;
    require(images >= 1 && channels >= 1 && height >= 1 && width >= 1,
                "an image needs at least one channel, row and column");
    require(channels == program_->channels(), "the image has another number of channels than the plan");
    View view{nullptr, nullptr, channels, height, width, product({strides[0], element}), product({strides[1], element}),
              product({strides[2], element}), dtype};
    const bool side_by_side = view.channel == element && view.pixel <= 4 * element;
    require(view.pixel == element || (side_by_side && (channels == 1 || view.pixel >= channels * element)),
                "the values of a row must lie side by side, or be interleaved, 4 to a pixel at most");
    batch_ = {view, images, product({step, element})};
    extent_ = extent(batch_);
    passes_ = program_->lower({height, width}, dtype);
    require(windowed_ || passes_->count() > 0, "nothing is done to such images");
    target_ = passes_->output();
    target_.interleaved = interleaved;
    bytes_ = product({images, target_.channels, target_.height, target_.width, target_.element()});
}

int64_t Call::held() const {
    return static_cast<int64_t>(sizeof(Call)) + passes_->held(windowed_ ? nullptr : &batch_.first);
}

int64_t Call::work() const {
    const View& one = batch_.first;
    return batch_.images * (one.channels * one.height * one.width + target_.channels * target_.height * target_.width);
}

void Call::run(const uint8_t* source, uint8_t* target, int64_t threads, const std::array<int64_t, 4>* window,
               const Factors& factors) const {
    require(source != nullptr, "the image has no memory");
    passes_->check_factors(factors);
    advise(target, bytes_);
    Batch batch = batch_;
    Target to = target_;
    batch.first.data = source;
    batch.first.end = source + extent_;
    to.data = target;
    const Kernels& kernels = program_->kernels();
    if (!window && !windowed_) {
        std::call_once(made_, [&] { geometries_ = passes_->geometries(batch.first, true, kernels); });
        return passes_->run(batch, to, geometries_, factors, threads, kernels);
    }
    View& view = batch.first;
    std::vector<uint8_t> part;
    std::shared_ptr<const Passes> passes = passes_;
    if (window) {
        const auto [top, left, height, width] = *window;
        const bool inside = top >= 0 && left >= 0 && height >= 1 && width >= 1 && height <= view.height - top &&
                            width <= view.width - left;
        if (!inside) program_->check_beyond(*window);
        if (program_->begins() || !program_->alike({view.height, view.width}, {height, width}))
            passes = program_->lower({height, width}, view.dtype, &factors);
        const Target& shape = passes->output();
        require(shape.height == to.height && shape.width == to.width, "a window changes the size of the output");
        if (passes->run_part(batch, to, *window, program_->border(), program_->fill(), threads, kernels)) return;
        if (inside) {
            view.data += top * view.row + left * view.pixel;
            view.height = height, view.width = width;
        } else {
            batch = program_->seen(batch, *window, part);
        }
    } else if (program_->begins()) {
        passes = program_->lower({view.height, view.width}, view.dtype, &factors);
    }
    passes->run(batch, to, passes->geometries(view, batch.images > 1, kernels), factors, threads, kernels);
}

void run_all(const std::vector<Job>& jobs, int64_t threads) {
    const auto count = static_cast<int64_t>(jobs.size());
    if (count < threads) {
        for (const Job& job : jobs) job.run(threads);
        return;
    }
    int64_t work = 0;
    for (const Job& job : jobs) work += job.call->work();
    parallel(count, std::min(threads, work / WORK), [&](int64_t n) { jobs[static_cast<size_t>(n)].run(1); });
}

void mix_batch(const float* source, float* target, int64_t images, int64_t values, double share, int64_t threads,
               const Kernels& kernels) {
    require(source != nullptr && target != nullptr && images >= 1, "a batch needs at least one image");
    advise(reinterpret_cast<uint8_t*>(target), product({images, values, 4}));
    const int64_t pieces = (values + PIECE - 1) / PIECE;
    const auto own = static_cast<float>(share), rest = static_cast<float>(1.0 - share);
    parallel(images * pieces, std::min(threads, images * values / WORK), [&](int64_t task) {
        const int64_t image = task % images, first = task / images * PIECE, n = std::min(PIECE, values - first);
        const int64_t at = image * values + first, before = (image + images - 1) % images * values + first;
        kernels.weighed(source + before, rest, source + at, own, n, target + at);
    });
}

}  // namespace lt
