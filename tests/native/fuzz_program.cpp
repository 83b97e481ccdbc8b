// Reads program files that were damaged, half of them with a digest that fits: a status, and no crash.
// fuzz_program COUNT SEED FILE ...
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "c/lt_runtime.h"
#include "file/program_file.hpp"

namespace {

constexpr size_t MOST_BYTES = 1 << 22;  // of a result that is made
constexpr int64_t SIDES[] = {1, 2, 7, 32, 40};

using Engine = std::mt19937_64;

size_t below(Engine& engine, size_t count) { return count ? static_cast<size_t>(engine() % count) : 0; }

std::string content_of(const char* path) {
    std::string made;
    std::FILE* file = std::fopen(path, "rb");
    if (!file) return made;
    for (int byte = std::fgetc(file); byte != EOF; byte = std::fgetc(file)) made.push_back(static_cast<char>(byte));
    std::fclose(file);
    return made;
}

size_t header_of(const std::string& bytes) {
    uint64_t length = 0;
    if (bytes.size() >= 8) std::memcpy(&length, bytes.data(), 8);
    return static_cast<size_t>(std::min<uint64_t>(length, bytes.size()));
}

// Another number in place of one of the description, which is where most of what is checked stands.
void renumber(Engine& engine, std::string& bytes) {
    constexpr const char* NUMBERS[] = {"0",     "1",    "-1",       "2",          "3",          "255",        "256", "4096",
                                       "65536", "1e3",  "16777216", "2147483647", "4294967296", "-9223372036854775808",
                                       "null",  "true", "[]",       "{}",         "\"\"",       "9223372036854775807"};
    const size_t begin = std::min(header_of(bytes), bytes.find("\"program\"")), end = header_of(bytes);
    size_t at = begin + below(engine, end > begin ? end - begin : 1);
    const auto digit = [&](size_t place) { return place < bytes.size() && bytes[place] >= '0' && bytes[place] <= '9'; };
    while (at < end && !digit(at)) ++at;
    size_t stop = at;
    while (digit(stop)) ++stop;
    const std::string other = NUMBERS[below(engine, std::size(NUMBERS))];
    // In place, so that the header keeps its length, where that is possible.
    if (other.size() <= stop - at)
        bytes.replace(at, stop - at, other + std::string(stop - at - other.size(), ' '));
    else
        bytes.replace(at, stop - at, other);
    const uint64_t length = static_cast<uint64_t>(static_cast<int64_t>(end) + std::max<int64_t>(
        0, static_cast<int64_t>(other.size()) - static_cast<int64_t>(stop - at)));
    if (bytes.size() >= 8) std::memcpy(bytes.data(), &length, 8);
}

void damage(Engine& engine, std::string& bytes) {
    const size_t place = below(engine, engine() % 2 ? header_of(bytes) + 8 : bytes.size()), at = std::min(place, bytes.size());
    switch (engine() % 8) {
        case 0:
            bytes.resize(at);
            return;
        case 1:
            bytes.erase(at, 1 + below(engine, 16));
            return;
        case 2:
            bytes.insert(at, bytes.substr(below(engine, bytes.size()), 1 + below(engine, 16)));
            return;
        case 3:
            if (at < bytes.size()) bytes[at] = static_cast<char>(engine());
            return;
        case 4:
            if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << engine() % 8));
            return;
        default:
            renumber(engine, bytes);
    }
}

// The same with the digest of what it holds now, so that it is looked into.
void seal(std::string& bytes) {
    constexpr std::string_view KEY = "\"digest\":\"";
    const size_t place = bytes.find(KEY);
    if (place == std::string::npos || place + KEY.size() + 65 > bytes.size()) return;
    const std::string before = bytes.substr(place + KEY.size(), 64);
    if (before.find_first_not_of("0123456789abcdef") != std::string::npos) return;
    try {
        bytes.replace(place + KEY.size(), 64, lt::digest_of(bytes, before));
    } catch (const std::invalid_argument&) {
    }
}

// Whether a program ran to its end.
bool ran(Engine& engine, const lt_program* program) {
    const int64_t channels = lt_channels(program);
    if (channels > 16) return false;
    const int64_t height = SIDES[below(engine, std::size(SIDES))], width = SIDES[below(engine, std::size(SIDES))];
    const std::vector<uint8_t> memory(static_cast<size_t>(height * width * channels), 100);
    const lt_image image{memory.data(), height, width, width * channels, channels, 1};
    const int64_t window[4] = {0, 0, std::max<int64_t>(1, height / 2), std::max<int64_t>(1, width / 2)};
    const lt_draw draw{static_cast<uint32_t>(engine() % (uint64_t{1} << lt_coins(program))),
                       lt_windowed(program) ? window : nullptr};
    lt_output output;
    if (lt_describe(program, height, width, &draw, LT_AS_PYTHON, &output) != LT_OK || output.bytes > MOST_BYTES)
        return false;
    std::vector<uint8_t> target(output.bytes);
    return lt_run(program, &image, &draw, LT_AS_PYTHON, target.data(), target.size()) == LT_OK;
}

}  // namespace

int main(int count, char** arguments) {
    const int64_t files = count > 1 ? std::atoll(arguments[1]) : 0;
    std::vector<std::string> known;
    for (int n = 3; n < count; ++n) known.push_back(content_of(arguments[n]));
    if (known.empty()) {
        std::printf("fuzz_program COUNT SEED FILE ...\n");
        return 2;
    }
    const uint64_t first = static_cast<uint64_t>(std::atoll(arguments[2]));
    int64_t statuses[8] = {}, runs = 0, wrong = 0;
    for (int64_t n = 0; n < files; ++n) {
        Engine engine(first + static_cast<uint64_t>(n));
        const std::string& whole = known[below(engine, known.size())];
        std::string bytes = whole;
        for (uint64_t times = 1 + engine() % 3; times > 0; --times) damage(engine, bytes);
        const bool sealed = engine() % 4 != 0;
        if (sealed) seal(bytes);
        lt_program* program = nullptr;
        const lt_status status = lt_read(bytes.data(), bytes.size(), &program);
        ++statuses[status];
        // What has no digest that fits is refused, whatever was changed.
        wrong += (status == LT_OK) != (program != nullptr) || (status == LT_OK && !sealed && bytes != whole);
        if (program) runs += ran(engine, program);
        lt_free(program);
    }
    std::printf("%lld files: %lld read, of which %lld ran; %lld damaged, %lld without memory; %lld wrong\n",
                static_cast<long long>(files), static_cast<long long>(statuses[LT_OK]), static_cast<long long>(runs),
                static_cast<long long>(statuses[LT_DAMAGED]), static_cast<long long>(statuses[LT_NO_MEMORY]),
                static_cast<long long>(wrong));
    return wrong ? 1 : 0;
}
