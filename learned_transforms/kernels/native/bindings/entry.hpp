// Calls that Python never sees: from the checks to the result, for images like those that came before.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "../schedule/program.hpp"
#include "memory.hpp"

namespace lt {

// An image, as far as it was looked at.
struct Arrival {
    nanobind::handle image;
    bool tensor;
    TensorInfo info;             // of a tensor
    nanobind::object mode, size;  // of a PIL image
};

// What is done to tensors of one class, shape and layout, or to PIL images of one mode and size.
class Route {
  public:
    // kind: the class of tensors, or the mode of PIL images. shape: of tensors, or (width, height). strides: of tensors.
    // chances: what the draw of each coin must be below for it to fall. result: the class of results, a tensor's.
    // rest: `rest(image, coins) -> result` runs where nothing is known of an outcome; it may make that known.
    Route(nanobind::object kind, std::vector<int64_t> shape, std::vector<int64_t> strides, std::vector<double> chances,
          nanobind::object result, nanobind::object rest);

    // Under this outcome a native call runs, and gives a tensor like this one.
    void add(const std::vector<bool>& coins, std::shared_ptr<const Call> call, nanobind::object like);

    // The result; invalid, and no number was drawn: the image is of another kind.
    nanobind::object run(const Arrival& given, int64_t threads) const;

    int traverse(visitproc visit, void* arg) const;

  private:
    struct Known {
        std::shared_ptr<const Call> call;
        nanobind::object like;
    };

    // Where the values of an image lie, which `owner` holds, if it is not the image itself; null: it is another.
    const uint8_t* tensor(const Arrival& given) const;
    const uint8_t* pil(const Arrival& given, nanobind::object& owner) const;

    nanobind::object kind_;
    std::vector<int64_t> shape_, strides_;
    std::vector<double> chances_;
    nanobind::object result_, rest_;
    std::vector<Known> known_;  // by the bits of an outcome
    int64_t reach_ = 0;
};

// The routes of a pipeline. Whoever changes it in a way that is not watched makes another.
class Entry {
  public:
    // watch: whether the transforms are what they were. empty: dictionaries that must be, such as hooks. threads: of
    // torch.
    Entry(nanobind::object watch, nanobind::list empty, int64_t threads);

    void add(nanobind::object route);
    int64_t threads() const { return threads_; }

    // The result; invalid: Python must look at the image.
    nanobind::object run(nanobind::handle image) const;

    int traverse(visitproc visit, void* arg) const;
    void clear();

  private:
    static constexpr size_t MOST = 8;

    nanobind::object watch_;
    std::vector<nanobind::object> empty_, routes_;
    int64_t threads_;
    size_t next_ = 0;
};

void define_entry(nanobind::module_& m);

}  // namespace lt
