// Typed access to the members of a JSON body, as OpenAI's API reads them: null is the same as
// absent, a wrong type is an error that names the member and both types, unknown members are
// ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/base/result.hpp"

namespace troupe {

/// "an integer", "a string" ... for messages.
std::string_view json_type_name(const nlohmann::ordered_json& value);

/// Reads members of one object. After the first problem every read does nothing; take() reports it.
class openai_body {
 public:
  explicit openai_body(const nlohmann::ordered_json& object) : object_(object) {}

  /// The member; null where it is absent or null.
  [[nodiscard]] const nlohmann::ordered_json* find(std::string_view name) const;

  void read(std::string_view name, bool& out);
  void read(std::string_view name, std::int64_t& out);
  void read(std::string_view name, double& out);
  void read(std::string_view name, std::string& out);
  void read(std::string_view name, std::vector<std::int64_t>& out);
  /// A string or an array of strings.
  void read_strings(std::string_view name, std::vector<std::string>& out);
  template <class T>
  void read(std::string_view name, std::optional<T>& out) {
    if (find(name) == nullptr) return;
    T value{};
    read(name, value);
    out = std::move(value);
  }

  /// An error where the member is there and says more than null, false or an empty value.
  void refuse(std::string_view name, std::string_view why = "is not supported");
  void fail(std::string message);
  void fail(error failure);
  [[nodiscard]] bool failed() const { return failure_.has_value(); }
  [[nodiscard]] result<void> take() const;

 private:
  void wrong_type(std::string_view name, std::string_view expected,
                  const nlohmann::ordered_json& value);

  const nlohmann::ordered_json& object_;
  std::optional<error> failure_;
};

/// The object of a body, parsed within the bounds of limits.hpp.
result<nlohmann::ordered_json> parse_openai_object(std::string_view body);

/// False for a number that no 64-bit integer with a sign comes near.
bool fits_int64(const nlohmann::ordered_json& number);

/// A whole number, also one written as a float. Beyond 64 bits the nearest that fits, so that
/// whoever checks the range can say what is allowed.
std::optional<std::int64_t> json_integer(const nlohmann::ordered_json& value);

}  // namespace troupe
