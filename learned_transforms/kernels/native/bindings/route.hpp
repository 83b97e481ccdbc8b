// What is done to images of one kind, from their random numbers to the result, without Python.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "../schedule/program.hpp"
#include "torch.hpp"

namespace lt {

// An image that came: a tensor of bytes [C, H, W] or [N, C, H, W], an array of them [H, W, C], or a PIL image.
class Arrival {
  public:
    explicit Arrival(nanobind::handle image);
    ~Arrival();
    Arrival(const Arrival&) = delete;
    Arrival& operator=(const Arrival&) = delete;

    // Whether it is one of those.
    explicit operator bool() const { return known_; }

    // Ask a PIL image what it is.
    void look();

    // Where its values lie, if there are as many bytes; else null.
    const uint8_t* values(int64_t bytes);

    nanobind::handle image() const { return image_; }
    nanobind::handle kind() const { return kind_; }  // the class of a tensor or array, the mode of a PIL image
    const std::vector<int64_t>& shape() const { return shape_; }
    const std::vector<int64_t>& strides() const { return strides_; }

  private:
    void array();

    nanobind::handle image_;
    bool known_ = false, tensor_ = false, array_ = false;
    Py_buffer view_;                 // of an array
    nanobind::object kind_, owner_;  // owner: of the memory of a PIL image
    const uint8_t* begin_ = nullptr;
    std::vector<int64_t> shape_, strides_;
};

class Route {
  public:
    // kind: the class of tensors or arrays, or the mode of PIL images. shape, strides: of all of them; or only the number of
    // channels, where images of every size take it. chances: what the draw of each coin must be below for it to fall.
    // sampler: what draws instead, where it is not only coins. still: the size of windows to which nothing is done. result:
    // the class of what comes out. rest: `rest(image, outcomes, window, fresh) -> result` runs what cannot be run
    // here; of fresh outcomes, it may add what runs, and give None instead.
    Route(nanobind::object kind, std::vector<int64_t> shape, std::vector<int64_t> strides, std::vector<double> chances,
          nanobind::object sampler, std::optional<std::array<int64_t, 2>> still, nanobind::object result,
          nanobind::object rest);

    // Under these outcomes a call like this one runs, and gives a tensor like that; of arrays, like is (shape, dtype).
    void add(const std::vector<bool>& outcomes, std::shared_ptr<const Call> call, nanobind::object like);

    // The result; invalid, and nothing is drawn that counts: Python must draw, or the image is of another kind.
    nanobind::object run(Arrival& image, int64_t threads);

    int traverse(visitproc visit, void* arg) const;

  private:
    using Window = std::optional<std::array<int64_t, 4>>;
    struct Drawn {
        size_t outcomes;  // a bit for each
        Window window;
    };
    struct Known {
        std::shared_ptr<const Call> call;
        nanobind::object like;
        // Where every size is taken: the same for one that came several times in a row.
        std::shared_ptr<const Call> again;
        std::vector<int64_t> shape, strides;
        bool windowed = false;
    };

    // How many images of its size came in a row, this one included; 0: it is of another kind.
    int64_t times(const Arrival& image);
    std::optional<Drawn> draw(const Arrival& image) const;
    std::optional<Drawn> sample(const Arrival& image) const;
    // Whether nothing is done to such a window.
    bool idle(const std::array<int64_t, 4>& window, const Arrival& image) const;
    nanobind::object leave(const Arrival& image, const Drawn& drawn, bool fresh) const;
    // What runs on an image, where every size is taken.
    std::shared_ptr<const Call> bind(const Arrival& image, const Drawn& drawn, bool keep);
    // A tensor or array for what a call gives, and where it lies.
    nanobind::object memory(const Call& call, const nanobind::object& like, uint8_t*& target) const;

    nanobind::object kind_;
    std::vector<int64_t> shape_, strides_;
    std::vector<double> chances_;
    nanobind::object sampler_;
    std::optional<std::array<int64_t, 2>> still_;
    nanobind::object result_, rest_;
    size_t count_;  // of outcomes
    std::vector<Known> known_;
    std::vector<int64_t> last_shape_, last_strides_;  // of the image before, where every size is taken
    int64_t times_ = 0, left_ = 0;                    // that it came in a row; that it was left to `rest`
};

}  // namespace lt
