// One field list for each message struct: names and members, in order. The msgpack codec, the JSON
// codec and CAF's inspect all read this list, so that a message has one definition.
//
//   struct ping { std::uint64_t nonce = 0; static constexpr auto fields = std::tuple{field{"nonce",
//   &ping::nonce}}; };
//
// (Inside the class the list is a function, because members are incomplete there: see request.hpp.)
#pragma once

#include <string_view>
#include <tuple>
#include <utility>

namespace troupe {

template <class Struct, class Member>
struct field {
  std::string_view name;
  Member Struct::*member;
};
template <class Struct, class Member>
field(const char*, Member Struct::*) -> field<Struct, Member>;

template <class T>
concept message_struct = requires {
  T::fields();
};

/// Calls visit(name, member) for each field, in order.
template <message_struct T, class Visitor>
constexpr void for_each_field(T& message, Visitor&& visit) {
  std::apply([&](const auto&... each) { (visit(each.name, message.*(each.member)), ...); },
             T::fields());
}
template <message_struct T, class Visitor>
constexpr void for_each_field(const T& message, Visitor&& visit) {
  std::apply([&](const auto&... each) { (visit(each.name, message.*(each.member)), ...); },
             T::fields());
}

}  // namespace troupe
