// A program file: safetensors whose metadata hold operations as JSON, and whose tensors are their arrays. Python writes it
// (learned_transforms/export/program_file.py), and docs/runtimes.md tells of its parts.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "schedule/program.hpp"

namespace lt {

struct ProgramFile {
    int64_t channels;
    Dtype dtype;                                           // of images
    bool interleaved;                                      // what comes out in Python has its channels side by side
    std::optional<Size> size;                              // of all images; none: any
    bool windowed;                                         // each image comes with a window
    std::vector<std::string> coins;                        // transforms that are applied or not, in order
    std::vector<std::shared_ptr<const Program>> outcomes;  // by number: bit n of it is coin n
    std::map<std::string, std::string> about;              // texts of the metadata
};

// Throws std::invalid_argument where the bytes are no such file, are of another version, or were changed. `simd`: see
// choose().
ProgramFile read_program(std::string_view bytes, const std::string& simd);

// The hash of a file whose digest, which it holds, is taken for so many zeros.
std::string digest_of(std::string_view bytes, std::string_view digest);

}  // namespace lt
