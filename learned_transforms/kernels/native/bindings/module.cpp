// What Python sees: build a program stage by stage, run it on memory that Python owns.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <limits>
#include <stdexcept>

#include "../ir/verify.hpp"
#include "../schedule/program.hpp"
#include "entry.hpp"
#include "memory.hpp"
#include "ir/names.hpp"
#include "sampler.hpp"
#include "stages.hpp"
#include "watch.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

void run(const lt::Call& call, uintptr_t source, uintptr_t target, int64_t threads,
         const std::optional<std::array<int64_t, 4>>& window, const std::vector<double>& factors) {
    const nb::gil_scoped_release released;
    call.run(reinterpret_cast<const uint8_t*>(source), reinterpret_cast<uint8_t*>(target), threads,
             window ? &*window : nullptr, factors);
}

// call, source, offset of its result in the target in bytes, window, factors
using JobTuple = std::tuple<std::shared_ptr<lt::Call>, uintptr_t, int64_t, std::optional<std::array<int64_t, 4>>,
                            std::vector<double>>;

// Runs into `bytes` bytes of memory at `target`, all of which are checked before the first.
void run_all(std::vector<JobTuple> given, uintptr_t target, int64_t bytes, int64_t threads) {
    std::vector<lt::Job> jobs;
    jobs.reserve(given.size());
    for (auto& [call, source, offset, window, factors] : given) {
        lt::require(call && source != 0, "there is no call, or no memory of an image");
        lt::require(offset >= 0 && call->bytes() <= bytes && offset <= bytes - call->bytes(),
                    "a result does not fit the memory of all");
        jobs.push_back({std::move(call), reinterpret_cast<const uint8_t*>(source),
                        reinterpret_cast<uint8_t*>(target) + offset, window, std::move(factors)});
    }
    const nb::gil_scoped_release released;
    lt::run_all(jobs, threads);
}

}  // namespace

NB_MODULE(_native, m) {
    lt::define_watch(m);
    lt::define_sampler(m);
    lt::define_stages(m);
    lt::define_entry(m);
    nb::class_<lt::Program>(m, "Program")
        .def(nb::init<int64_t, const std::string&>(), "channels"_a, "simd"_a)
        .def_prop_ro("simd", [](const lt::Program& p) { return p.kernels().name; })
        .def("add", [](lt::Program& p, const lt::BoundStage& stage) { p.add(stage.what); }, "stage"_a)
        .def("surround",
             [](lt::Program& p, const std::string& border, std::vector<float> fill) {
                 p.surround(lt::named(lt::BORDERS, border), std::move(fill));
             },
             "border"_a, "fill"_a)
        .def("bind",
             [](std::shared_ptr<lt::Program> program, int64_t images, std::array<int64_t, 3> shape,
                std::array<int64_t, 3> strides, int64_t step, const std::string& dtype, bool interleaved,
                bool windowed) {
                 return std::make_shared<lt::Call>(std::move(program), images, shape, strides, step,
                                                   lt::named(lt::DTYPES, dtype), interleaved,
                                                   windowed);
             },
             "images"_a, "shape"_a, "strides"_a, "step"_a, "dtype"_a, "interleaved"_a, "windowed"_a = false);
    nb::class_<lt::Call>(m, "Call")
        .def_prop_ro("output",
                     [](const lt::Call& call) {
                         const lt::Target& to = call.output();
                         return std::make_tuple(to.channels, to.height, to.width, lt::name_of(lt::DTYPES, to.dtype));
                     })
        .def_prop_ro("memory",
                     [](const lt::Call& call) {
                         const lt::Target& to = call.output();
                         return to.interleaved ? std::make_tuple(to.height, to.width, to.channels)
                                               : std::make_tuple(to.channels, to.height, to.width);
                     })
        .def_prop_ro("interleaved", [](const lt::Call& call) { return call.output().interleaved; })
        .def_prop_ro("bytes", &lt::Call::bytes)
        .def_prop_ro("held", &lt::Call::held)
        .def_prop_ro("reach", &lt::Call::reach)
        .def_prop_ro("passes", &lt::Call::passes)
        .def("__call__", &run, "source"_a, "target"_a, "threads"_a, "window"_a = nb::none(),
             "factors"_a = std::vector<double>());
    m.def("run_all", &run_all, "jobs"_a, "target"_a, "bytes"_a, "threads"_a);
    // Freed memory goes back to the system; long-lived small blocks between large ones would else keep it.
    m.def("trim", [] {
#ifdef __GLIBC__
        malloc_trim(0);
#endif
    });
    m.def("advise", [](uintptr_t memory, int64_t bytes) { lt::advise(reinterpret_cast<uint8_t*>(memory), bytes); });
    m.def("mix_batch", [](uintptr_t source, uintptr_t target, int64_t images, int64_t values, double share,
                          int64_t threads, const std::string& simd) {
        const nb::gil_scoped_release released;
        lt::mix_batch(reinterpret_cast<const float*>(source), reinterpret_cast<float*>(target), images, values, share,
                      threads, *lt::choose(simd));
    }, "source"_a, "target"_a, "images"_a, "values"_a, "share"_a, "threads"_a, "simd"_a);
    m.def("arrow_pixels", &lt::arrow_pixels, "capsule"_a);
    m.def("memory_of", &lt::memory_of, "array"_a);
    m.def("simd", [] {
        std::vector<std::string> names;
        for (const lt::Kernels* kernels : lt::every_kernels())
            if (kernels) names.emplace_back(kernels->name);
        return names;
    });
}
