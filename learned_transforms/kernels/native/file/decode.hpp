// Plain values out of JSON, by the types that are wanted: as Python hands the same values over.
#pragma once

#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <type_traits>

#include "file/json.hpp"
#include "ir/makers.hpp"

namespace lt {

struct Stored {
    std::string dtype;  // as safetensors names it
    std::vector<size_t> shape;
    std::string_view bytes;
};

using Tensors = std::map<std::string, Stored, std::less<>>;

// A hexadecimal float, as float.hex() of Python's writes it, or a whole number; false: it is none.
bool read_float(const Json& from, double& to);

// read(from, to): false where it is of another type; `to` may be anything then. Arrays are {"tensor": name}.
class Decoder {
  public:
    explicit Decoder(const Tensors& tensors) : tensors_(tensors) {}

    bool read(const Json& from, bool& to) const {
        to = from.truth;
        return from.kind == Json::boolean;
    }
    template <class T>
    std::enable_if_t<std::is_arithmetic_v<T>, bool> read(const Json& from, T& to) const {
        if constexpr (std::is_floating_point_v<T>) {
            double found = 0;
            const bool fits = read_float(from, found);
            to = static_cast<T>(found);
            return fits;
        } else {
            to = static_cast<T>(from.number);
            return from.kind == Json::integer && to == from.number;
        }
    }
    bool read(const Json& from, std::string& to) const {
        to = from.word;
        return from.kind == Json::text;
    }
    template <class T>
    bool read(const Json& from, std::optional<T>& to) const {
        to.reset();
        return from.kind == Json::null || read(from, to.emplace());
    }
    template <class T>
    bool read(const Json& from, std::vector<T>& to) const {
        if (from.kind != Json::list) return false;
        to.clear();
        for (const Json& item : from.items)
            if (!read(item, to.emplace_back())) return false;
        return true;
    }
    template <class T, size_t N>
    bool read(const Json& from, std::array<T, N>& to) const {
        if (from.kind != Json::list || from.items.size() != N) return false;
        for (size_t i = 0; i < N; ++i)
            if (!read(from.items[i], to[i])) return false;
        return true;
    }
    template <class... T>
    bool read(const Json& from, std::tuple<T...>& to) const {
        return from.kind == Json::list && read_items(from.items.data(), from.items.size(), to);
    }
    template <class... T>
    bool read(const Json& from, std::variant<T...>& to) const {
        return (read_as<T>(from, to) || ...);
    }
    template <class T, size_t Dimensions>
    bool read(const Json& from, Array<T, Dimensions>& to) const {
        const Json* name = from.kind == Json::object && from.keys.size() == 1 ? from.find("tensor") : nullptr;
        const auto found = name ? tensors_.find(name->word) : tensors_.end();
        if (found == tensors_.end() || found->second.dtype != dtype_of<T>() || found->second.shape.size() != Dimensions)
            return false;
        const auto memory = std::make_shared<std::vector<T>>(found->second.bytes.size() / sizeof(T));
        if (!memory->empty()) std::memcpy(memory->data(), found->second.bytes.data(), memory->size() * sizeof(T));
        std::copy(found->second.shape.begin(), found->second.shape.end(), to.lengths.begin());
        to.data = memory->data();
        to.memory = memory;
        return true;
    }

    // So many items, each of its type.
    template <class... T>
    bool read_items(const Json* items, size_t count, std::tuple<T...>& to) const {
        if (count != sizeof...(T)) return false;
        return std::apply([&](auto&... each) { return (read(*items++, each) && ...); }, to);
    }

  private:
    template <class T, class Variant>
    bool read_as(const Json& from, Variant& to) const {
        T found{};
        if (!read(from, found)) return false;
        to = std::move(found);
        return true;
    }
    template <class T>
    static const char* dtype_of() {
        if constexpr (std::is_same_v<T, uint8_t>) return "U8";
        if constexpr (std::is_same_v<T, uint16_t>) return "U16";
        if constexpr (std::is_same_v<T, int32_t>) return "I32";
        if constexpr (std::is_same_v<T, int64_t>) return "I64";
        if constexpr (std::is_same_v<T, float>) return "F32";
        if constexpr (std::is_same_v<T, double>) return "F64";
    }

    const Tensors& tensors_;
};

}  // namespace lt
