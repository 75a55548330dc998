// Every bound that Troupe puts on what it reads, queues, stores or waits for. Code names these
// constants instead of writing numbers, so that this page is the whole list.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::limits {

// Replies that wait for a client's socket (actors/gateway, every protocol).

/// Bytes of one connection's replies that the kernel has not taken yet. A token's event is about 250
/// bytes, so this is 4,000 tokens behind: a reader that slow is gone or stuck.
inline constexpr std::size_t outbox_bytes_max = std::size_t{1} << 20;

// HTTP (actors/gateway/http_port).

/// Connections at once. Each costs a file descriptor and about 20 KiB when idle.
inline constexpr std::size_t http_session_count_max = 1'024;
/// Connections beyond that which are told so (503) at the same time; more are closed without a word.
inline constexpr std::size_t http_refused_session_count_max = 16;
/// Request line and header fields.
inline constexpr std::uint32_t http_header_bytes_max = 16'384;
/// One body. A prompt of 1,000,000 tokens as ids in JSON is 7 MB.
inline constexpr std::uint64_t http_body_bytes_max = std::uint64_t{8} << 20;
/// Bodies of all connections together, from their arrival until they are parsed.
inline constexpr std::uint64_t http_bodies_bytes_max = std::uint64_t{128} << 20;
/// Bytes read ahead while a request is answered (pipelined requests). Reading pauses beyond it.
inline constexpr std::size_t http_pipeline_bytes_max = 65'536;
/// From a request's first byte to its last.
inline constexpr std::uint32_t http_request_ms_max = 30'000;
/// A kept-alive connection without a request. Longer than the 60 s of most proxies, so that the proxy
/// and not we close it under a request that is on its way.
inline constexpr std::uint32_t http_idle_ms_max = 75'000;
/// Queued bytes of which the kernel takes none: the reader stopped reading.
inline constexpr std::uint32_t http_write_ms_max = 30'000;
/// Reading on after a refusal, so that the client sees the reply and not a reset.
inline constexpr std::uint32_t http_linger_ms_max = 2'000;
/// How often the waits above are checked.
inline constexpr std::uint32_t http_sweep_ms = 250;

}  // namespace troupe::limits
