// Calls that Python never sees, for images of which it is known what is done to them.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

namespace lt {

// The routes of a pipeline. Whoever changes it in a way that is not watched makes another.
class Entry {
  public:
    // watch: whether the transforms are what they were. empty: dictionaries that must be, such as hooks. threads: of
    // torch.
    Entry(nanobind::object watch, nanobind::list empty, int64_t threads);

    // The last route is the first to be tried; one for images of every size comes behind the others.
    void add(nanobind::object route, bool every);
    int64_t threads() const { return threads_; }

    // The result; invalid: Python must look at the image.
    nanobind::object run(nanobind::handle image) const;

    int traverse(visitproc visit, void* arg) const;
    void clear();

  private:
    static constexpr size_t MOST = 8;  // of either

    nanobind::object watch_;
    std::vector<nanobind::object> empty_, routes_, every_;
    int64_t threads_;
    size_t next_ = 0;
};

void define_entry(nanobind::module_& m);

}  // namespace lt
