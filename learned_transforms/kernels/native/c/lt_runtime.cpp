#include "c/lt_runtime.h"

#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>

#include "file/program_file.hpp"
#include "ir/verify.hpp"

// A program, and the call that ran last: images often come in one size.
struct lt_program {
    struct Kind {
        size_t outcome;
        std::array<int64_t, 3> shape, strides;
        bool interleaved;

        bool operator==(const Kind& other) const {
            return outcome == other.outcome && shape == other.shape && strides == other.strides &&
                   interleaved == other.interleaved;
        }
    };

    lt::ProgramFile file;
    mutable std::mutex guard;
    mutable Kind kind{};
    mutable std::shared_ptr<const lt::Call> last;

    std::shared_ptr<const lt::Call> call(const Kind& wanted) const {
        {
            const std::lock_guard<std::mutex> held(guard);
            if (last && kind == wanted) return last;
        }
        auto made = std::make_shared<const lt::Call>(file.outcomes[wanted.outcome], 1, wanted.shape, wanted.strides, 0,
                                                     file.dtype, wanted.interleaved, file.windowed);
        const std::lock_guard<std::mutex> held(guard);
        kind = wanted, last = made;
        return made;
    }
};

namespace {

using lt::require;

thread_local std::string message;

// A mistake of the caller's, of another kind than what else is thrown.
struct BadArgument : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

void expect(bool holds, const char* what) {
    if (!holds) throw BadArgument(what);
}

lt_status failed(lt_status status, const char* what) {
    try {
        message = what;
    } catch (const std::bad_alloc&) {
        message.clear();
    }
    return status;
}

// What `work` throws, as a status; std::invalid_argument is `usual`.
template <class F>
lt_status guarded(lt_status usual, const F& work) {
    try {
        work();
        return LT_OK;
    } catch (const BadArgument& error) {
        return failed(LT_BAD_ARGUMENT, error.what());
    } catch (const std::bad_alloc&) {
        return failed(LT_NO_MEMORY, "there is not enough memory");
    } catch (const std::length_error&) {
        return failed(LT_NO_MEMORY, "there is not enough memory");
    } catch (const std::exception& error) {
        return failed(usual, error.what());
    }
}

// What is run: an outcome, on a part of images.
struct Chosen {
    size_t outcome;
    std::array<int64_t, 4> window;  // top, left, height, width; all of the image, where there is none
    bool windowed;
};

Chosen chosen(const lt_program& program, int64_t height, int64_t width, const lt_draw* draw) {
    const auto& file = program.file;
    const size_t outcome = draw ? draw->outcome : 0;
    const int64_t* window = draw ? draw->window : nullptr;
    expect(outcome < file.outcomes.size(), "there are not so many coins");
    expect(!file.windowed || window, "this program needs a window with each image");
    expect(file.windowed || !window, "this program takes no window");
    require(height >= 1 && width >= 1 && height <= lt::LONGEST && width <= lt::LONGEST,
            "an image has at least one row and column, and at most 2^24");
    require(!file.size || *file.size == lt::Size{height, width}, "this program is for images of another size");
    if (!window) return {outcome, {0, 0, height, width}, false};
    return {outcome, {window[0], window[1], window[2], window[3]}, true};
}

// What comes out of whole images, of whose parts as much is made.
lt::Target output_of(const lt_program& program, const Chosen& what, int64_t height, int64_t width, lt_layout layout) {
    expect(layout == LT_AS_PYTHON || layout == LT_HWC || layout == LT_CHW, "there is no such layout");
    lt::Target made = program.file.outcomes[what.outcome]->lower({height, width}, program.file.dtype)->output();
    made.interleaved = layout == LT_AS_PYTHON ? program.file.interleaved : layout == LT_HWC;
    return made;
}

size_t bytes_of(const lt::Target& target) {
    int64_t bytes = target.element();
    for (const int64_t length : {target.channels, target.height, target.width})
        require(!__builtin_mul_overflow(bytes, length, &bytes), "the result is too large for this machine");
    require(static_cast<uint64_t>(bytes) <= SIZE_MAX, "the result is too large for this machine");
    return static_cast<size_t>(bytes);
}

// The bytes of a part of an image, to which nothing is done.
void copy(const lt_image& image, const Chosen& what, const lt::Target& target, uint8_t* to) {
    const auto [top, left, height, width] = what.window;
    for (int64_t c = 0; c < target.channels; ++c)
        for (int64_t y = 0; y < height; ++y)
            for (int64_t x = 0; x < width; ++x)
                to[target.interleaved ? (y * width + x) * target.channels + c : (c * height + y) * width + x] =
                    image.data[(top + y) * image.row + (left + x) * image.pixel + c * image.channel];
}

// Whether nothing is done to the part of images that is used, which then lies in them.
bool idle(const lt_program& program, const Chosen& what, const lt::Target& target, const lt_image& image) {
    const auto [top, left, height, width] = what.window;
    const bool inside = top >= 0 && left >= 0 && height <= image.height - top && width <= image.width - left;
    return inside && height == target.height && width == target.width &&
           program.file.outcomes[what.outcome]->lower({height, width}, program.file.dtype)->count() == 0;
}

std::string content_of(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (!file) throw std::runtime_error("it cannot be opened");
    std::string made;
    char part[1 << 14];
    size_t count = 0;
    try {
        while ((count = std::fread(part, 1, sizeof(part), file)) > 0) made.append(part, count);
    } catch (...) {
        std::fclose(file);
        throw;
    }
    const bool broken = std::ferror(file) != 0;
    std::fclose(file);
    if (broken) throw std::runtime_error("it cannot be read to its end");
    return made;
}

}  // namespace

const char* lt_message(void) { return message.c_str(); }

lt_status lt_read(const void* bytes, size_t size, lt_program** program) {
    return guarded(LT_DAMAGED, [&] {
        expect(program != nullptr, "there is no place for the program");
        *program = nullptr;
        expect(bytes != nullptr, "there are no bytes");
        auto made = std::make_unique<lt_program>();
        made->file = lt::read_program({static_cast<const char*>(bytes), size}, "");
        *program = made.release();
    });
}

lt_status lt_open(const char* path, lt_program** program) {
    std::string content;
    const lt_status status = guarded(LT_NO_FILE, [&] {
        expect(program != nullptr, "there is no place for the program");
        *program = nullptr;
        expect(path != nullptr, "there is no path");
        content = content_of(path);
    });
    return status == LT_OK ? lt_read(content.data(), content.size(), program) : status;
}

void lt_free(lt_program* program) { delete program; }

int64_t lt_channels(const lt_program* program) { return program ? program->file.channels : 0; }

int lt_windowed(const lt_program* program) { return program && program->file.windowed; }

int lt_coins(const lt_program* program) { return program ? static_cast<int>(program->file.coins.size()) : 0; }

const char* lt_coin(const lt_program* program, int number) {
    return number >= 0 && number < lt_coins(program) ? program->file.coins[static_cast<size_t>(number)].c_str() : nullptr;
}

const char* lt_about(const lt_program* program, const char* name) {
    if (!program || !name) return nullptr;
    for (const auto& [key, text] : program->file.about)
        if (key == name) return text.c_str();
    return nullptr;
}

lt_status lt_describe(const lt_program* program, int64_t height, int64_t width, const lt_draw* draw, lt_layout layout,
                      lt_output* output) {
    return guarded(LT_BAD_IMAGE, [&] {
        expect(program && output, "there is no program, or no place for what is told");
        const Chosen what = chosen(*program, height, width, draw);
        const lt::Target made = output_of(*program, what, height, width, layout);
        *output = {made.channels, made.height, made.width, static_cast<lt_dtype>(made.dtype),
                   made.interleaved ? LT_HWC : LT_CHW, bytes_of(made)};
    });
}

lt_status lt_run(const lt_program* program, const lt_image* image, const lt_draw* draw, lt_layout layout, void* target,
                 size_t bytes) {
    return guarded(LT_BAD_IMAGE, [&] {
        expect(program && image && image->data && target, "there is no program, image, or place for the result");
        const Chosen what = chosen(*program, image->height, image->width, draw);
        const lt::Target made = output_of(*program, what, image->height, image->width, layout);
        expect(bytes == bytes_of(made), "the place for the result has another size than it; see lt_describe");
        expect(image->row >= 0 && image->pixel >= 1 && image->channel >= 1, "steps of an image go forward");
        auto* const to = static_cast<uint8_t*>(target);
        if (idle(*program, what, made, *image)) return copy(*image, what, made, to);
        const std::array<int64_t, 3> shape{program->file.channels, image->height, image->width};
        const auto call = program->call({what.outcome, shape, {image->channel, image->row, image->pixel},
                                         made.interleaved});
        call->run(image->data, to, 1, what.windowed ? &what.window : nullptr, {});
    });
}
