// JSON of whole numbers, texts, lists and objects: what program files hold. Floats are texts, see decode.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lt {

struct Json {
    enum Kind { null, boolean, integer, text, list, object };

    Kind kind = null;
    bool truth = false;
    int64_t number = 0;
    std::string word;
    std::vector<std::string> keys;  // of an object, one for each of its items
    std::vector<Json> items;

    // The item of an object; null: there is none, or this is no object.
    const Json* find(std::string_view key) const;
};

// Throws std::invalid_argument where a text is anything else, is deeper than 32 lists, or has the same key twice.
Json parse(std::string_view text);

}  // namespace lt
