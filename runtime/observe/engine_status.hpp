// Whether the engine can take requests. Written by the supervisor, read by the gateways' threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace troupe {

enum class engine_state : std::uint8_t { starting, ready, restarting, draining, dead };

constexpr std::string_view to_string(engine_state state) noexcept {
  switch (state) {
    case engine_state::starting: return "starting";
    case engine_state::ready: return "ready";
    case engine_state::restarting: return "restarting";
    case engine_state::draining: return "draining";
    case engine_state::dead: return "dead";
  }
  return "dead";
}

class engine_status {
 public:
  [[nodiscard]] engine_state get() const noexcept { return state_.load(std::memory_order_acquire); }
  void set(engine_state state) noexcept { state_.store(state, std::memory_order_release); }

 private:
  std::atomic<engine_state> state_{engine_state::starting};
};

}  // namespace troupe
