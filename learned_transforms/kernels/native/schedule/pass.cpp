#include "schedule/pass.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "ir/verify.hpp"
#include "schedule/specialize.hpp"
#include "schedule/tiles.hpp"

namespace lt {

namespace {

template <class Kind, class = void>
struct HasArithmetic : std::false_type {};
template <class Kind>
struct HasArithmetic<Kind, std::void_t<decltype(std::declval<Kind>().arithmetic)>> : std::true_type {};

}  // namespace

const Arithmetic* arithmetic_of(const Stage& stage) {
    return std::visit(
        [](const auto& one) -> const Arithmetic* {
            using Kind = std::decay_t<decltype(one)>;
            if constexpr (std::is_same_v<Kind, Warp>)
                return one.nearest() ? nullptr : &one.arithmetic;
            else if constexpr (HasArithmetic<Kind>::value)
                return &one.arithmetic;
            else
                return nullptr;
        },
        stage);
}

Dtype dtype_after(const Stage& stage, Dtype dtype) {
    if (const Arithmetic* arithmetic = arithmetic_of(stage)) return dtype_of(arithmetic->rounding);
    if (const auto* table = std::get_if<Table>(&stage)) return table->dtype;
    if (const auto* cast = std::get_if<Cast>(&stage)) return cast->dtype;
    return std::holds_alternative<Equalize>(stage) ? Dtype::uint8 : dtype;
}

int64_t channels_after(const Stage& stage, int64_t channels) {
    if (const auto* mix = std::get_if<Mix>(&stage)) return mix->outputs;
    const auto* gather = std::get_if<Gather>(&stage);
    return gather && gather->channels ? static_cast<int64_t>(gather->channels->size()) : channels;
}

void look_up(const Table& table, int64_t channel, const uint8_t* in, int64_t n, uint8_t* out, const Kernels& kernels) {
    const int64_t row = table.channels == 1 ? 0 : channel;
    if (table.dtype == Dtype::uint8)
        kernels.levels(table.levels.data() + row * 256, in, n, out);
    else if (table.dtype == Dtype::float32)
        kernels.table(table, row, in, n, reinterpret_cast<float*>(out));
    else
        kernels.words(table, row, in, n, reinterpret_cast<uint16_t*>(out));
}

namespace {

// What a step makes of n values of each plane.
struct Stepping {
    const Planes& from;
    const Place& place;
    int64_t n, channels;  // made by it
    const Kernels& kernels;
    Scratch& scratch;
    const uint8_t** made;

    uint8_t* out(int64_t c) const { return place.data + c * place.stride; }
    const float* floats(int64_t c) const { return reinterpret_cast<const float*>(from.of[c]); }
    const float* const* all_floats() const { return reinterpret_cast<const float* const*>(from.of); }

    template <class F>
    void each(const F& f) const {
        for (int64_t c = 0; c < channels; ++c) made[c] = out(c), f(c);
    }

    void mix(const Mix& how, int64_t c, void* to) const {
        if (from.floating())
            kernels.mix_floats(how, c, all_floats(), n, to);
        else
            kernels.mix_bytes(how, c, from.of, n, to);
    }

    void operator()(const Gather* gather) const {
        for (int64_t c = 0; c < channels; ++c) made[c] = from.of[(*gather->channels)[static_cast<size_t>(c)]];
    }
    void operator()(const Mix* how) const {
        each([&](int64_t c) { mix(*how, c, out(c)); });
    }
    void operator()(const Table* table) const {
        each([&](int64_t c) { look_up(*table, c, from.of[c], n, out(c), kernels); });
    }
    void operator()(const Normalize* normalize) const {
        each([&](int64_t c) {
            const auto channel = static_cast<size_t>(c);
            const float mean = normalize->mean[channel], std = normalize->std[channel];
            if (from.floating())
                kernels.normalize(mean, std, floats(c), n, reinterpret_cast<float*>(out(c)));
            else
                kernels.normalize_words(from.dtype, mean, std, reinterpret_cast<const uint16_t*>(from.of[c]), n,
                                        reinterpret_cast<uint16_t*>(out(c)));
        });
    }
    void operator()(const Cast* cast) const {
        each([&](int64_t c) { kernels.cast(cast->dtype, floats(c), n, reinterpret_cast<uint16_t*>(out(c))); });
    }
    void operator()(const Blending& how) const {
        float* other = scratch.get<float>(Scratch::OTHER, n);
        if (!how.mix) {
            std::fill_n(other, n, how.mean);
        } else if (how.mix->arithmetic.rounding == Rounding::none) {
            mix(*how.mix, 0, other);
        } else {
            uint8_t* gray = scratch.get(Scratch::GRAY, n);
            mix(*how.mix, 0, gray);
            kernels.to_floats(gray, n, other);
        }
        each([&](int64_t c) {
            if (from.floating())
                kernels.blend_floats(how, floats(c), other, n, out(c));
            else
                kernels.blend_bytes(how, from.of[c], other, n, out(c));
        });
    }
    void operator()(const Stretching& how) const {
        each([&](int64_t c) {
            const auto [low, high] = how.ends[static_cast<size_t>(c)];
            kernels.stretch_floats(*how.stage, low, high, floats(c), n, out(c));
        });
    }
    void operator()(const Turning& how) const {
        void* const to[3] = {out(0), out(1), out(2)};
        each([](int64_t) {});
        if (from.floating())
            kernels.turn_floats(how, all_floats(), n, to);
        else
            kernels.turn_bytes(how, from.of, n, to);
    }
};

Source source_of(const Pass& pass, const View& from, const Geometry* geometry, int64_t begin, int64_t end,
                 const Settled& settled, const Kernels& kernels, Scratch& scratch) {
    static const Gather EVERYTHING{};
    const Change& change = pass.change;
    if (const auto* resample = std::get_if<Resample>(&change))
        return resampled(*resample, pass.before ? &std::get<Table>(*pass.before) : nullptr, from, *geometry, begin, end, kernels, scratch);
    if (const auto* sparse = changes<Sparse>(change)) return scattered(*sparse, from, kernels, scratch);
    if (const auto* filter = changes<Filter>(change)) return filtered(*filter, nullptr, from, begin, kernels, scratch);
    if (const auto* blend = changes<Blend>(change))
        return filtered(std::get<Filter>(blend->other), &settled.blending, from, begin, kernels, scratch);
    if (const auto* blur = changes<Blur>(change))
        return blurred(*blur, settled.down, settled.along, blur->joint() ? &settled.window : nullptr, from, begin, kernels,
                       scratch);
    if (const auto* box = changes<BoxBlur>(change))
        return boxed(settled.box, box->passes, from, begin, end, kernels, scratch);
    if (changes<Warp>(change)) return warped(settled.warping, from, kernels, scratch);
    const auto* gather = std::get_if<Gather>(&change);
    return copied(gather ? *gather : EVERYTHING, from, kernels, scratch);
}

}  // namespace

View Pass::seen(View view) const {
    if (before) view.channel *= 4, view.row *= 4, view.pixel *= 4, view.dtype = Dtype::float32;
    return view;
}

Dtype Pass::dtype_between(Dtype dtype) const {
    return std::visit(
        [&](const auto& how) {
            using How = std::decay_t<decltype(how)>;
            if constexpr (std::is_same_v<How, std::monostate> || std::is_same_v<How, Gather> ||
                          std::is_same_v<How, const BoxBlur*>)
                return dtype;
            else if constexpr (std::is_same_v<How, const Warp*>)
                return how->nearest() ? dtype : dtype_of(how->arithmetic.rounding);
            else if constexpr (std::is_pointer_v<How>)
                return dtype_of(how->arithmetic.rounding);
            else
                return dtype_of(how.arithmetic.rounding);
        },
        change);
}

Target Pass::output(int64_t channels, int64_t height, int64_t width, Dtype dtype) const {
    dtype = dtype_between(dtype);
    if (const auto* resample = std::get_if<Resample>(&change)) {
        height = resample->rows.keep.count, width = resample->columns.keep.count;
    } else if (const auto* sparse = changes<Sparse>(change)) {
        require(height == sparse->from[0] && width == sparse->from[1],
                "its pixels are picked out of an image of another size");
        height = sparse->to[0], width = sparse->to[1];
    } else if (const auto* blur = changes<Blur>(change)) {
        require(blur->border != Border::reflect || (blur->height / 2 < height && blur->width / 2 < width),
                "a blur reaches further beyond the image than it can be reflected");
    } else if (const auto* warp = changes<Warp>(change)) {
        const Size size = warp->of({height, width});
        height = size[0], width = size[1];
    } else if (const auto* gather = std::get_if<Gather>(&change)) {
        height = gather->rows ? gather->rows->count : height;
        width = gather->columns ? gather->columns->count : width;
    }
    for (const Shared& stage : pointwise) {
        channels = channels_after(*stage, channels);
        dtype = dtype_after(*stage, dtype);
    }
    return {nullptr, channels, height, width, dtype, false};
}

void Pass::run(const View& from, const Target& to, int64_t begin, int64_t end, const Geometry* geometry,
               const Settled& settled, const Kernels& kernels, Scratch& scratch) const {
    const bool still = std::holds_alternative<std::monostate>(change) && lies_in_planes(from);
    const Source source =
        still ? nullptr : source_of(*this, from, geometry, begin, end, settled, kernels, scratch);
    const std::vector<Step>& steps = settled.steps;
    const bool backwards = source && source->backwards();
    const int64_t height = tile_rows(to.width), tiles = (end - begin + height - 1) / height;
    for (int64_t n = 0; n < tiles; ++n) {
        const int64_t first = begin + (backwards ? tiles - 1 - n : n) * height;
        const Tile tile{first, std::min(height, end - first), to.width};
        if (source && steps.empty() && to.interleaved && source->interleaved()) {
            const auto bytes = static_cast<size_t>(tile.width * to.channels * to.element());
            for (int64_t row = 0; row < tile.rows; ++row) {
                const int64_t i = tile.begin + (backwards ? tile.rows - 1 - row : row);
                std::memcpy(to.data + static_cast<size_t>(i) * bytes, source->line(i), bytes);
            }
            continue;
        }
        const bool straight = source && steps.empty() && !to.interleaved;
        const auto room = [&] {
            return straight ? in_target(to, tile)
                            : in_scratch(scratch, Scratch::TILES, from.channels, tile, source->dtype());
        };
        Planes planes = still ? in_place(from, tile, scratch)
                              : split(*source, tile, from.channels, room(), kernels, scratch);
        // Values and pointers alternate between two buffers each; a Gather makes pointers only.
        bool other = false, moved = false;
        for (const Step& step : steps) {
            other = !other;
            const bool copies = std::holds_alternative<const Gather*>(step.what);
            moved = moved != !copies;
            const bool last = &step == &steps.back() && !to.interleaved;
            // A Gather needs no room: asking for more of it would move the values that it points to.
            const Place place = last     ? in_target(to, tile)
                                : copies ? Place{nullptr, 0}
                                         : in_scratch(scratch, moved ? Scratch::OTHER_TILES : Scratch::TILES,
                                                      step.channels, tile, step.dtype);
            const auto** made = scratch.get<const uint8_t*>(other ? Scratch::OTHER_PLANES : Scratch::PLANES,
                                                            step.channels);
            std::visit(Stepping{planes, place, tile.pixels(), step.channels, kernels, scratch, made}, step.what);
            planes = {made, step.channels, step.dtype};
        }
        if (!straight) store(planes, to, tile, kernels);
    }
}

}  // namespace lt
