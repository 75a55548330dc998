// Every bound of the program that is not a setting: what no configuration may exceed, and the sizes
// of queues and tables. One comment a bound: what holds it and why it is what it is.
#pragma once

#include <cstdint>

namespace troupe::limits {

// Memory and scheduling.

/// Token positions of one KV block. A whole block is gathered on the stack to be hashed (1 KiB).
inline constexpr std::uint32_t block_tokens_max = 256;
/// Blocks of one pool; at 16 positions each that is 268 million positions, above any device of
/// today.
inline constexpr std::uint32_t block_count_max = 1u << 24;
/// Positions of one sequence: 2^22, four times the longest context window published so far.
inline constexpr std::uint32_t model_len_max = 1u << 22;
/// Sequences that hold blocks at once, so also the sequences (n) of one request.
inline constexpr std::uint32_t num_seqs_max = 1u << 16;
/// Requests that wait in all lanes of one scheduler.
inline constexpr std::uint32_t num_queued_reqs_max = 1u << 20;

}  // namespace troupe::limits
