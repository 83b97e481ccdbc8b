// Whether Python objects are still what they were, asked at every call: a few nanoseconds an attribute.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

namespace lt {

class Watch {
  public:
    // A dictionary has these entries, in this order: each value the same object, or equal to a copy taken before.
    void mapping(nanobind::dict watched, const nanobind::dict& copy);

    // A sequence holds these very objects.
    void sequence(nanobind::object watched, const nanobind::tuple& copy);

    // A class has these very attributes.
    void attributes(nanobind::type_object owner, const nanobind::dict& copy);

    // A function gives a value that equals this one.
    void result(nanobind::object function, nanobind::object value);

    bool same() const;

    // What a garbage collector must know.
    int traverse(visitproc visit, void* arg) const;
    void clear();

  private:
    struct Mapping {
        nanobind::dict watched;
        std::vector<std::pair<nanobind::object, nanobind::object>> entries;
        // Values that may change in place, with their copies; and the version of the dictionary that holds them.
        mutable std::vector<std::pair<nanobind::object, nanobind::object>> loose;
        mutable uint64_t version;

        bool same() const;
        bool same_entries(uint64_t now) const;
    };
    struct Sequence {
        nanobind::object watched;
        std::vector<nanobind::object> entries;
    };
    struct Class {
        nanobind::type_object owner;
        std::vector<std::pair<nanobind::object, nanobind::object>> entries;
        mutable unsigned version;  // of the class, as Python counts; another says that it may have changed

        bool same() const;
    };
    struct Result {
        nanobind::object function, value;
    };
    std::vector<Mapping> mappings_;
    std::vector<Sequence> sequences_;
    std::vector<Class> classes_;
    std::vector<Result> results_;
};

void define_watch(nanobind::module_& m);

}  // namespace lt
