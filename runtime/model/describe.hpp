// What `troupe model FILE` prints: a model file's facts for a person or, as JSON, for a program. It
// describes every readable file, also models that this build cannot serve, and says so.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/model/gguf.hpp"

namespace troupe {

enum class detail_level : std::uint8_t {
  summary,
  /// Also the fingerprint (reads the whole file), all metadata (long arrays abbreviated) and all
  /// tensors.
  everything,
};

/// Lines that end in newlines. Control characters and invalid UTF-8 from the file are shown as
/// \xNN, so that a file cannot drive the terminal.
std::string describe(const gguf_file& file, detail_level level = detail_level::summary);

/// The same facts as one indented JSON object, without a final newline.
std::string describe_json(const gguf_file& file, detail_level level = detail_level::summary);

}  // namespace troupe
