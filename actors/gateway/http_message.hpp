// One HTTP request and reply as plain values, and how a reply is written. Knows nothing of sockets.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/result.hpp"

namespace troupe {

/// What Troupe reads of a request's head.
struct http_head {
  std::string method;
  std::string path;                 ///< the target without query, scheme and authority
  std::string authorization;        ///< empty: absent
  std::optional<std::string> lane;  ///< X-Troupe-Lane
  std::size_t host_count = 1;       ///< Host fields
  bool expects_continue = false;
  bool keep_alive = true;
  bool version_1_0 = false;  ///< chunked transfer coding does not exist there
};

/// Bytes of request bodies that all connections of a port may hold together. Thread-safe.
class byte_budget {
 public:
  explicit byte_budget(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}
  [[nodiscard]] bool take(std::uint64_t bytes) noexcept {
    if (used_.fetch_add(bytes) + bytes <= bytes_max_) return true;
    used_.fetch_sub(bytes);
    return false;
  }
  void give_back(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes); }

 private:
  const std::uint64_t bytes_max_;
  std::atomic<std::uint64_t> used_{0};
};

/// A share of the budget, given back when it is destroyed (on whichever thread parsed the body).
class byte_lease {
 public:
  byte_lease() = default;
  explicit byte_lease(std::shared_ptr<byte_budget> budget) : budget_(std::move(budget)) {}
  byte_lease(byte_lease&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  byte_lease& operator=(byte_lease&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~byte_lease() {
    if (budget_ != nullptr) budget_->give_back(bytes_);
  }
  /// False when the budget is spent; the lease then stays as it was.
  [[nodiscard]] bool grow_to(std::uint64_t bytes) noexcept {
    if (bytes <= bytes_) return true;
    if (!budget_->take(bytes - bytes_)) return false;
    bytes_ = bytes;
    return true;
  }

 private:
  std::shared_ptr<byte_budget> budget_;
  std::uint64_t bytes_ = 0;
};

struct http_request {
  http_head head;
  std::string body;
  byte_lease lease;  ///< covers body
};

using http_fields = std::vector<std::pair<std::string, std::string>>;

struct http_reply {
  unsigned status = 200;
  std::string body;
  std::string content_type = "application/json";
  http_fields fields = {};  ///< further header fields
  bool close = false;       ///< end the connection after it
};

/// An OpenAI-style error body. status 0: the one that belongs to the code. `overloaded`,
/// `unavailable` and `out_of_memory` get Retry-After; how long a rate is spent, the caller knows.
http_reply make_error_reply(const error& failure, unsigned status = 0);
/// Retry-After in seconds, which are rounded up.
void add_retry_after(http_reply& reply, std::chrono::milliseconds wait);

/// The whole reply. head_only: for HEAD, the length is told but the body left out.
std::string format_reply(const http_reply& reply, bool head_only, bool keep_alive);
/// The head of an event stream of unknown length; chunked where the version has it.
std::string format_stream_head(const http_fields& fields, bool chunked, bool keep_alive);
/// Appends data, which is not empty, as one chunk of the chunked transfer coding.
void append_chunk(std::string& out, std::string_view data);
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace troupe
