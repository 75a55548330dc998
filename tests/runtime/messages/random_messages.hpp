// Random messages of every kind, by their field lists, and a comparison that knows JSON fields.
#pragma once

#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/messages/envelope.hpp"
#include "runtime/messages/msgpack_fields.hpp"

namespace troupe::test {

class message_source {
 public:
  explicit message_source(std::uint64_t seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  template <class T>
  T message() {
    T out;
    for_each_field(out, [&](std::string_view name, auto& member) {
      if (below(4) != 0) fill(member, name);
    });
    return out;
  }

  message_body body(message_kind kind) {
    switch (kind) {
      case message_kind::submit: return message<submit>();
      case message_kind::accepted: return message<accepted>();
      case message_kind::delta: return message<delta>();
      case message_kind::finished: return message<finished>();
      case message_kind::error: return message<error_reply>();
      case message_kind::cancel: return message<cancel>();
      case message_kind::resume: return message<resume>();
      case message_kind::ping: return message<ping>();
      case message_kind::pong: return message<pong>();
      case message_kind::stats: return message<stats>();
    }
    return ping{};
  }

  std::string text() {
    static const std::vector<std::string> parts{"a",    "Zed",  " ",  "\n", "\"",
                                                "\\",   "é",    "漢", "😀",  std::string(1, '\0'),
                                                "\x7f", "\x01", "{",  "]"};
    std::string out;
    for (std::uint64_t i = below(12); i > 0; --i) out += parts[below(parts.size())];
    if (below(20) == 0) out += std::string(70000, 'x');  // str 32
    return out;
  }

  nlohmann::ordered_json json(int depth) {
    switch (below(depth > 0 ? 8 : 6)) {
      case 0: return nullptr;
      case 1: return below(2) == 0;
      case 2: return static_cast<std::int64_t>(random_());
      case 3: return random_();
      case 4: return number();
      case 5: return text();
      case 6: {
        auto out = nlohmann::ordered_json::array();
        for (std::uint64_t i = below(4); i > 0; --i) out.push_back(json(depth - 1));
        return out;
      }
      default: return json_map(depth);
    }
  }

 private:
  nlohmann::ordered_json json_map(int depth) {
    auto out = nlohmann::ordered_json::object();
    for (std::uint64_t i = below(5); i > 0; --i) out[text()] = json(depth - 1);
    return out;
  }

  double number() {
    switch (below(4)) {
      case 0: return static_cast<double>(below(10));
      case 1: return -1e300;
      case 2: return 5e-324;
      default: return std::normal_distribution<double>()(random_);
    }
  }

  template <class T>
  void fill(T& out, std::string_view name) {
    if constexpr (wire::is_optional<T>::value) {
      if (below(2)) fill(out.emplace(), name);
    } else if constexpr (std::is_same_v<T, std::string>) {
      fill_text(out, name);
    } else if constexpr (std::is_same_v<T, bool>) {
      out = below(2) == 0;
    } else if constexpr (std::is_integral_v<T>) {
      const T values[] = {0,
                          1,
                          127,
                          static_cast<T>(random_()),
                          std::numeric_limits<T>::max(),
                          std::numeric_limits<T>::min()};
      out = values[below(6)];
    } else if constexpr (std::is_floating_point_v<T>) {
      out = number();
    } else if constexpr (wire::number_map<T>) {
      for (std::uint64_t i = below(5); i > 0; --i) out[text()] = number();
    } else if constexpr (wire::is_vector<T>::value) {
      out.resize(below(5));
      for (auto& each : out) fill(each, {});
    } else {
      out = message<T>();
    }
  }

  void fill_text(std::string& out, std::string_view name) {
    switch (wire::json_shape_of(name)) {
      case wire::json_shape::none: out = text(); return;
      case wire::json_shape::map: out = json_map(4).dump(); return;
      case wire::json_shape::array_of_maps: {
        auto list = nlohmann::ordered_json::array();
        for (std::uint64_t i = below(3); i > 0; --i) list.push_back(json_map(4));
        out = list.dump();
      }
    }
  }

  std::mt19937_64 random_;
};

template <class T>
bool same(const T& a, const T& b, std::string_view name = {}) {
  if constexpr (wire::is_optional<T>::value) {
    return a.has_value() == b.has_value() && (!a || same(*a, *b, name));
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (wire::json_shape_of(name) == wire::json_shape::none) return a == b;
    return nlohmann::ordered_json::parse(a) == nlohmann::ordered_json::parse(b);
  } else if constexpr (std::is_arithmetic_v<T> || wire::number_map<T>) {
    return a == b;
  } else if constexpr (wire::is_vector<T>::value) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!same(a[i], b[i])) return false;
    }
    return true;
  } else {
    return std::apply(
        [&](const auto&... each) {
          return (same(a.*(each.member), b.*(each.member), each.name) && ...);
        },
        T::fields());
  }
}

inline bool same_body(const message_body& a, const message_body& b) {
  return a.index() == b.index() && std::visit(
                                       [&](const auto& left) {
                                         using T = std::decay_t<decltype(left)>;
                                         return same(left, std::get<T>(b));
                                       },
                                       a);
}

inline constexpr message_kind all_kinds[] = {
    message_kind::submit, message_kind::accepted, message_kind::delta,  message_kind::finished,
    message_kind::error,  message_kind::cancel,   message_kind::resume, message_kind::ping,
    message_kind::pong,   message_kind::stats};

}  // namespace troupe::test
