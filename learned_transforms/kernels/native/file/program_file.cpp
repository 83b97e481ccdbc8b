#include "file/program_file.hpp"

#include <cmath>
#include <stdexcept>

#include "file/decode.hpp"
#include "file/sha256.hpp"
#include "ir/names.hpp"
#include "ir/verify.hpp"

namespace lt {

bool read_float(const Json& from, double& to) {
    if (from.kind == Json::integer) {
        to = static_cast<double>(from.number);
        return true;
    }
    std::string_view text = from.word;
    if (from.kind != Json::text || text.empty()) return false;
    const bool below = text[0] == '-';
    text.remove_prefix(below);
    double made = 0;
    if (text == "inf" || text == "nan") {
        made = text == "inf" ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    } else {
        if (text.substr(0, 2) != "0x" || text.size() > 32) return false;
        uint64_t digits = 0;
        int64_t power = 0;
        size_t at = 2;
        for (bool behind = false; at < text.size() && text[at] != 'p'; ++at) {
            if (text[at] == '.' && !behind) {
                behind = true;
                continue;
            }
            const size_t digit = std::string_view("0123456789abcdef").find(text[at]);
            if (digit == std::string_view::npos || digits >> 56) return false;
            digits = digits * 16 + digit;
            power -= behind ? 4 : 0;
        }
        if (at + 2 > text.size() - 1) return false;
        const char sign = text[++at];
        int64_t exponent = 0;
        if (sign != '+' && sign != '-') return false;
        for (++at; at < text.size(); ++at) {
            if (text[at] < '0' || text[at] > '9' || exponent > 9999) return false;
            exponent = exponent * 10 + (text[at] - '0');
        }
        made = std::ldexp(static_cast<double>(digits), static_cast<int>(power + (sign == '-' ? -exponent : exponent)));
    }
    to = below ? -made : made;
    return true;
}

namespace {

constexpr size_t LONGEST_HEADER = 1 << 24, MOST_COINS = 10, DIGEST = 64;
constexpr int64_t VERSION = 1, MOST_CHANNELS = 1 << 16;
constexpr const char* FORMAT = "learned_transforms.program/1";

const std::pair<const char*, size_t> SIZES[] = {{"U8", 1}, {"U16", 2}, {"I32", 4}, {"F32", 4}, {"I64", 8}, {"F64", 8}};

Tensors tensors_of(const Json& header, std::string_view data) {
    Tensors made;
    const Decoder decoder(made);
    for (size_t n = 0; n < header.keys.size(); ++n) {
        if (header.keys[n] == "__metadata__") continue;
        const Json &entry = header.items[n], none;
        const auto part = [&](const char* key) -> const Json& { return entry.find(key) ? *entry.find(key) : none; };
        Stored stored;
        std::vector<int64_t> shape;
        std::array<int64_t, 2> ends{};
        require(decoder.read(part("dtype"), stored.dtype) && decoder.read(part("shape"), shape) &&
                    decoder.read(part("data_offsets"), ends),
                "a tensor lacks its dtype, shape or place");
        int64_t bytes = static_cast<int64_t>(named(SIZES, stored.dtype));
        for (const int64_t length : shape) {
            require(length >= 0 && !__builtin_mul_overflow(bytes, length, &bytes), "a tensor has an impossible shape");
            stored.shape.push_back(static_cast<size_t>(length));
        }
        require(ends[0] >= 0 && ends[0] <= ends[1] && static_cast<uint64_t>(ends[1]) <= data.size() &&
                    ends[1] - ends[0] == bytes,
                "a tensor does not lie in the file");
        stored.bytes = data.substr(static_cast<size_t>(ends[0]), static_cast<size_t>(bytes));
        made.emplace(header.keys[n], std::move(stored));
    }
    return made;
}

template <class Made, class... Args>
Shared made_by(Made (*make)(Args...), const Json& entry, const Decoder& decoder) {
    std::tuple<std::decay_t<Args>...> arguments;
    require(decoder.read_items(entry.items.data() + 1, entry.items.size() - 1, arguments),
            "the arguments of an operation are of other types: " + entry.items[0].word);
    return std::make_shared<const Stage>(std::apply(make, arguments));
}

Shared stage_of(const Json& entry, const Decoder& decoder) {
    require(entry.kind == Json::list && !entry.items.empty() && entry.items[0].kind == Json::text,
            "an operation is a list that begins with its name");
    Shared made;
    each_maker([&](const char* name, auto make) {
        if (entry.items[0].word == name) made = made_by(make, entry, decoder);
    });
    require(made != nullptr, "there is no operation called " + entry.items[0].word + " in this release");
    return made;
}

// The metadata of a safetensors header, all of which are texts.
std::map<std::string, std::string> texts_of(const Json& header) {
    std::map<std::string, std::string> made;
    const Json* metadata = header.find("__metadata__");
    require(metadata && metadata->kind == Json::object, "it has no metadata");
    for (size_t n = 0; n < metadata->keys.size(); ++n) {
        require(metadata->items[n].kind == Json::text, "metadata are texts");
        made.emplace(metadata->keys[n], metadata->items[n].word);
    }
    return made;
}

// Reads the parts of a description, each of which must be there.
class Description {
  public:
    Description(const Json& json, const Decoder& decoder) : json_(json), decoder_(decoder) {}

    template <class T>
    T get(const char* key) const {
        T made{};
        const Json* found = json_.find(key);
        require(found && decoder_.read(*found, made), std::string("its description lacks ") + key);
        return made;
    }

    std::vector<Shared> stages() const {
        const Json* found = json_.find("stages");
        require(found && found->kind == Json::list, "its description lacks stages");
        std::vector<Shared> made;
        for (const Json& entry : found->items) made.push_back(stage_of(entry, decoder_));
        return made;
    }

  private:
    const Json& json_;
    const Decoder& decoder_;
};

}  // namespace

std::string digest_of(std::string_view bytes, std::string_view digest) {
    const size_t place = bytes.find("\"digest\":\"" + std::string(digest) + "\"");
    require(digest.size() == DIGEST && place != std::string_view::npos, "its digest is none");
    const size_t first = place + std::string_view("\"digest\":\"").size();
    Sha256 hash;
    hash.add(bytes.substr(0, first));
    hash.add(std::string(DIGEST, '0'));
    hash.add(bytes.substr(first + DIGEST));
    return hash.hex();
}

ProgramFile read_program(std::string_view bytes, const std::string& simd) {
    require(bytes.size() >= 8, "it is too short");
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(bytes[static_cast<size_t>(i)]);
    require(length <= LONGEST_HEADER && length <= bytes.size() - 8, "it is truncated, or no safetensors file");
    const Json header = parse(bytes.substr(8, static_cast<size_t>(length)));
    ProgramFile made;
    made.about = texts_of(header);
    require(made.about["format"] == FORMAT,
            "it is no program of this version, but '" + made.about["format"].substr(0, 64) + "': write it again with "
            "export.program of this release");
    require(digest_of(bytes, made.about["digest"]) == made.about["digest"], "it was changed after it was written");
    const Tensors tensors = tensors_of(header, bytes.substr(8 + static_cast<size_t>(length)));
    const Decoder decoder(tensors);
    const Json json = parse(made.about["program"]);
    const Description program(json, decoder);
    require(program.get<int64_t>("version") == VERSION, "it is of another version");
    made.channels = program.get<int64_t>("channels");
    require(made.channels >= 1 && made.channels <= MOST_CHANNELS, "an image has at least one channel");
    made.dtype = named(DTYPES, program.get<std::string>("dtype"));
    require(made.dtype == Dtype::uint8, "its images are not of bytes");
    made.interleaved = program.get<bool>("interleaved");
    made.windowed = program.get<bool>("windowed");
    made.size = program.get<std::optional<Size>>("size");
    made.coins = program.get<std::vector<std::string>>("coins");
    using Around = std::tuple<std::string, std::vector<float>>;
    const auto outcomes = program.get<std::vector<std::tuple<std::vector<int64_t>, std::optional<Around>>>>("outcomes");
    require(made.coins.size() <= MOST_COINS && outcomes.size() == size_t{1} << made.coins.size(),
            "there is a list of operations for each outcome of up to 10 coins");
    const std::vector<Shared> stages = program.stages();
    for (const auto& [list, around] : outcomes) {
        const auto one = std::make_shared<Program>(made.channels, simd);
        for (const int64_t number : list) {
            require(number >= 0 && static_cast<uint64_t>(number) < stages.size(), "an operation is not there");
            one->add(stages[static_cast<size_t>(number)]);
        }
        if (around) one->surround(named(BORDERS, std::get<0>(*around)), std::get<1>(*around));
        made.outcomes.push_back(one);
    }
    return made;
}

}  // namespace lt
