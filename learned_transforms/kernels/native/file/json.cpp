#include "file/json.hpp"

#include <algorithm>
#include <stdexcept>

namespace lt {
namespace {

constexpr int DEEPEST = 32;

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Json whole() {
        Json made = value(0);
        if (at_ != text_.size()) fail();
        return made;
    }

  private:
    [[noreturn]] static void fail() { throw std::invalid_argument("its description is no JSON of this format"); }

    void skip() { at_ = std::min(text_.find_first_not_of(" \n\r\t", at_), text_.size()); }
    char next() {
        if (at_ >= text_.size()) fail();
        return text_[at_++];
    }
    bool taken(char which) {
        skip();
        const bool there = at_ < text_.size() && text_[at_] == which;
        at_ += there;
        return there;
    }
    bool taken(std::string_view word) {
        const bool there = text_.substr(at_, word.size()) == word;
        at_ += there ? word.size() : 0;
        return there;
    }

    Json value(int depth) {
        if (depth > DEEPEST) fail();
        Json made;
        if (taken('[')) {
            made.kind = Json::list;
            for (bool first = true; !taken(']'); first = false) {
                if (!first && !taken(',')) fail();
                made.items.push_back(value(depth + 1));
            }
        } else if (taken('{')) {
            made.kind = Json::object;
            for (bool first = true; !taken('}'); first = false) {
                if ((!first && !taken(',')) || !taken('"')) fail();
                made.keys.push_back(word());
                if (!taken(':')) fail();
                made.items.push_back(value(depth + 1));
            }
            std::vector<std::string_view> sorted(made.keys.begin(), made.keys.end());
            std::sort(sorted.begin(), sorted.end());
            if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) fail();
        } else if (taken('"')) {
            made.kind = Json::text, made.word = word();
        } else if (taken(std::string_view("true")) || taken(std::string_view("false"))) {
            made.kind = Json::boolean, made.truth = text_[at_ - 2] == 'u';
        } else if (!taken(std::string_view("null"))) {
            made.kind = Json::integer, made.number = number();
        }
        skip();
        return made;
    }

    int64_t number() {
        const bool below = taken('-');
        int64_t made = 0;
        const size_t first = at_;
        for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
            if (__builtin_mul_overflow(made, 10, &made) || __builtin_add_overflow(made, text_[at_] - '0', &made)) fail();
        if (at_ == first) fail();
        return below ? -made : made;
    }

    uint32_t unit() {
        uint32_t made = 0;
        for (int digit = 0; digit < 4; ++digit) {
            const char c = next();
            if (c >= '0' && c <= '9') made = made * 16 + static_cast<uint32_t>(c - '0');
            else if (c >= 'a' && c <= 'f') made = made * 16 + static_cast<uint32_t>(c - 'a' + 10);
            else if (c >= 'A' && c <= 'F') made = made * 16 + static_cast<uint32_t>(c - 'A' + 10);
            else fail();
        }
        return made;
    }

    static void put(std::string& to, uint32_t code) {
        const auto byte = [&](uint32_t value) { to.push_back(static_cast<char>(value)); };
        if (code < 0x80) return byte(code);
        if (code < 0x800) return byte(0xc0 | code >> 6), byte(0x80 | (code & 63));
        if (code < 0x10000) return byte(0xe0 | code >> 12), byte(0x80 | (code >> 6 & 63)), byte(0x80 | (code & 63));
        byte(0xf0 | code >> 18), byte(0x80 | (code >> 12 & 63)), byte(0x80 | (code >> 6 & 63)), byte(0x80 | (code & 63));
    }

    std::string word() {
        std::string made;
        for (char c = next(); c != '"'; c = next()) {
            if (static_cast<unsigned char>(c) < 0x20) fail();
            if (c != '\\') {
                made.push_back(c);
                continue;
            }
            const char escaped = next();
            constexpr std::string_view KNOWN = "\"\\/bfnrt", MEANT = "\"\\/\b\f\n\r\t";
            if (const size_t which = KNOWN.find(escaped); which != std::string_view::npos) {
                made.push_back(MEANT[which]);
            } else if (escaped == 'u') {
                uint32_t code = unit();
                if (code >= 0xd800 && code < 0xdc00 && taken(std::string_view("\\u")))
                    code = 0x10000 + ((code & 0x3ff) << 10) + (unit() & 0x3ff);
                put(made, code);
            } else {
                fail();
            }
        }
        return made;
    }

    std::string_view text_;
    size_t at_ = 0;
};

}  // namespace

const Json* Json::find(std::string_view key) const {
    const auto place = std::find(keys.begin(), keys.end(), key);
    return place == keys.end() ? nullptr : &items[static_cast<size_t>(place - keys.begin())];
}

Json parse(std::string_view text) { return Parser(text).whole(); }

}  // namespace lt
