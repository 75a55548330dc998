// Every bound of the system, by name. A limit that somebody may want to tune is a key of the
// configuration (config.hpp); what stands here is fixed when the program is built.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::limits {

// ---- configuration (config/load)

/// Bytes of a configuration file.
inline constexpr std::size_t config_bytes_max = 1u << 20;

// ---- chat templates (runtime/text/jinja). A template comes with a model file and is not trusted.

/// Bytes of template source. The longest published templates are about 30 KB.
inline constexpr std::size_t template_source_bytes_max = 1u << 20;
/// Nesting of expressions and statements in the source: bounds the parser's stack.
inline constexpr int template_nesting_max = 120;
/// Nested evaluations at run time, through macros and loops: bounds the interpreter's stack at
/// about 1 KiB each in release builds (under 8 KiB with sanitizers).
inline constexpr int template_recursion_max = 500;
/// Nodes evaluated and elements touched in one rendering; about a second at the very worst.
inline constexpr std::uint64_t template_steps_max = 10'000'000;
/// Bytes of the rendered prompt.
inline constexpr std::size_t template_output_bytes_max = 64u << 20;
/// Bytes of one string that a template makes.
inline constexpr std::size_t template_string_bytes_max = 64u << 20;
/// Bytes of all the values that one rendering makes, freed ones included.
inline constexpr std::size_t template_allocated_bytes_max = 512u << 20;
/// Elements of range(...), as in Jinja's own sandbox.
inline constexpr std::int64_t template_range_length_max = 100'000;
/// Nesting of lists and dicts, in the inputs and in what a template builds.
inline constexpr int template_value_depth_max = 100;
/// Elements of one list or dict, those of what it holds included and shared ones counted each time.
inline constexpr std::size_t template_value_weight_max = 10'000'000;

}  // namespace troupe::limits
