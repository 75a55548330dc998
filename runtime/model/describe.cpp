#include "runtime/model/describe.hpp"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/model/model_description.hpp"
#include "runtime/model/rope_frequencies.hpp"

namespace troupe {

namespace {

constexpr std::size_t shown_elements_max = 8;      // of an array
constexpr std::size_t shown_text_bytes_max = 200;  // of a metadata string

struct type_share {
  std::size_t tensor_count = 0;
  std::uint64_t size_bytes = 0;
};

// The facts that both forms print.
struct facts {
  std::string architecture, name, tokenizer, pre_tokenizer, chat_template;
  std::uint64_t parameter_count = 0;
  std::uint64_t tensor_bytes = 0;
  std::size_t vocab_size = 0;
  std::optional<std::uint64_t> context_length;
  std::map<std::string, type_share> types;
  result<model_description> model = error{};
};

std::string text_or_empty(const gguf_file& file, std::string_view key) {
  auto text = file.get_string(key);
  return text ? std::move(text).value() : std::string();
}

facts collect(const gguf_file& file) {
  facts out;
  out.architecture = text_or_empty(file, "general.architecture");
  out.name = text_or_empty(file, "general.name");
  out.tokenizer = text_or_empty(file, "tokenizer.ggml.model");
  out.pre_tokenizer = text_or_empty(file, "tokenizer.ggml.pre");
  out.chat_template = text_or_empty(file, "tokenizer.chat_template");
  if (const auto tokens = file.get_strings("tokenizer.ggml.tokens"))
    out.vocab_size = tokens.value()->size();
  for (const gguf_tensor& tensor : file.tensors()) {
    // Divisors of RoPE frequencies are a table, not parameters.
    if (tensor.name != rope_factors_tensor) {
      out.parameter_count += tensor.column_count() * tensor.row_count();
    }
    out.tensor_bytes += tensor.data.size();
    type_share& share = out.types[std::string(layout_of(tensor.type)->name)];
    ++share.tensor_count;
    share.size_bytes += tensor.data.size();
  }
  out.model = model_description::from_gguf(file);
  if (out.model) {
    out.context_length = out.model->context_length;
  } else if (const auto length = file.get_unsigned(out.architecture + ".context_length")) {
    out.context_length = length.value();
  }
  return out;
}

// The bytes of the UTF-8 character that text starts with; 0 where it is malformed or a control
// character that a terminal may act on.
std::size_t printable_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80)
    return first == '\n' || first == '\t' || (first >= 0x20 && first != 0x7F) ? 1 : 0;
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, code points above 0x10FFFF, and the C1 controls 0x80 to 0x9F.
  const bool malformed = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) >= 0xA0) ||
                         (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) >= 0x90);
  const bool control = first == 0xC2 && byte(1) < 0xA0;
  return malformed || control ? 0 : size;
}

std::string terminal_safe(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t size = printable_bytes(text);
    if (size == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

// On one line, shortened.
std::string one_line(std::string_view text) {
  std::string out = terminal_safe(text.substr(0, shown_text_bytes_max));
  for (std::size_t at = 0; (at = out.find('\n', at)) != std::string::npos;)
    out.replace(at, 1, "\\n");
  if (text.size() > shown_text_bytes_max) out += fmt::format("... ({} bytes)", text.size());
  return out;
}

std::string with_commas(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string element_text(const std::string& element) {
  return fmt::format("\"{}\"", one_line(element));
}
template <class Number>
std::string element_text(Number element) {
  return fmt::format("{}", element);
}

template <class Value>
std::string value_text(const Value& value) {
  if constexpr (std::is_same_v<Value, std::string> || std::is_arithmetic_v<Value>) {
    return element_text(value);
  } else {
    std::string out = "[";
    for (std::size_t i = 0; i < std::min(value.size(), shown_elements_max); ++i) {
      if (i > 0) out += ", ";
      out += element_text(static_cast<typename Value::value_type>(value[i]));
    }
    if (value.size() > shown_elements_max) out += fmt::format(", ... {} elements", value.size());
    return out + "]";
  }
}

// The id and text of a token that the metadata names, for example "2 <|im_end|>".
std::string special_token(const gguf_file& file, std::string_view key) {
  const auto id = file.get_unsigned(key);
  if (!id) return "none";
  const auto tokens = file.get_strings("tokenizer.ggml.tokens");
  const bool known = tokens.has_value() && id.value() < tokens.value()->size();
  return fmt::format("{} {}", id.value(),
                     known ? one_line((*tokens.value())[id.value()]) : "(no such token)");
}

std::string shape_lines(const model_description& model) {
  std::string out;
  const auto line = [&](std::string_view label, const std::string& text) {
    out += fmt::format("{:<16} {}\n", label, text);
  };
  line("layers", std::to_string(model.layer_count));
  line("hidden size",
       fmt::format("{}, feed-forward {}", model.hidden_size, model.intermediate_size));
  line("attention",
       fmt::format("{} heads, {} KV heads, {} elements a head{}{}", model.head_count,
                   model.kv_head_count, model.head_dim, model.has_qkv_bias ? ", QKV bias" : "",
                   model.has_qk_norm ? ", QK norm" : ""));
  line("LM head", model.has_tied_embedding ? "tied to the embedding" : "output.weight");
  return out;
}

void append_everything(const gguf_file& file, std::string& out) {
  out += fmt::format("\nfingerprint      {:016x}\n\nmetadata\n", file.fingerprint());
  for (const gguf_entry& entry : file.entries()) {
    out +=
        fmt::format("  {} = {}\n", one_line(entry.key),
                    std::visit([](const auto& value) { return value_text(value); }, entry.value));
  }
  out += "\ntensors\n";
  for (const gguf_tensor& tensor : file.tensors()) {
    out += fmt::format("  {:<32} {:<8} [{}]\n", one_line(tensor.name), layout_of(tensor.type)->name,
                       fmt::join(tensor.dimensions, ", "));
  }
}

nlohmann::json model_json(const model_description& model) {
  return {{"layer_count", model.layer_count},
          {"hidden_size", model.hidden_size},
          {"intermediate_size", model.intermediate_size},
          {"head_count", model.head_count},
          {"kv_head_count", model.kv_head_count},
          {"head_dim", model.head_dim},
          {"vocab_size", model.vocab_size},
          {"context_length", model.context_length},
          {"rms_epsilon", model.rms_epsilon},
          {"rope_dimension_count", model.rope.dimension_count},
          {"rope_attention_factor", model.rope.attention_factor},
          {"has_qkv_bias", model.has_qkv_bias},
          {"has_qk_norm", model.has_qk_norm},
          {"has_tied_embedding", model.has_tied_embedding}};
}

template <class Value>
nlohmann::json value_json(const Value& value) {
  if constexpr (std::is_same_v<Value, std::string> || std::is_arithmetic_v<Value>) {
    return value;
  } else {
    if (value.size() <= shown_elements_max) return value;
    const Value first(value.begin(),
                      value.begin() + static_cast<std::ptrdiff_t>(shown_elements_max));
    return {{"element_count", value.size()}, {"first_elements", first}};
  }
}

void add_everything(const gguf_file& file, nlohmann::json& out) {
  out["fingerprint"] = fmt::format("{:016x}", file.fingerprint());
  out["metadata"] = nlohmann::json::object();
  for (const gguf_entry& entry : file.entries()) {
    out["metadata"][entry.key] =
        std::visit([](const auto& value) { return value_json(value); }, entry.value);
  }
  out["tensors"] = nlohmann::json::array();
  for (const gguf_tensor& tensor : file.tensors()) {
    out["tensors"].push_back({{"name", tensor.name},
                              {"type", layout_of(tensor.type)->name},
                              {"dimensions", tensor.dimensions},
                              {"size_bytes", tensor.data.size()}});
  }
}

}  // namespace

std::string describe(const gguf_file& file, detail_level level) {
  const facts known = collect(file);
  std::string out;
  const auto line = [&](std::string_view label, const std::string& text) {
    out += fmt::format("{:<16} {}\n", label, text);
  };
  const auto or_none = [](const std::string& text) {
    return text.empty() ? "none" : one_line(text);
  };
  line("name", or_none(known.name));
  line("architecture", or_none(known.architecture));
  line("served", known.model ? "yes" : "no: " + terminal_safe(known.model.failure().message));
  line("file",
       fmt::format("GGUF version {}, {} bytes", file.version(), with_commas(file.size_bytes())));
  line("parameters", fmt::format("{} in {} tensors, {} bytes", with_commas(known.parameter_count),
                                 file.tensors().size(), with_commas(known.tensor_bytes)));
  for (const auto& [type, share] : known.types) {
    line("", fmt::format("{:<8} {:>5} tensors {:>16} bytes", type, share.tensor_count,
                         with_commas(share.size_bytes)));
  }
  line("context length",
       known.context_length ? with_commas(*known.context_length) + " tokens" : "unknown");
  if (known.model) out += shape_lines(known.model.value());
  line("tokenizer", fmt::format("{}, pre-tokenizer {}, {} tokens", or_none(known.tokenizer),
                                or_none(known.pre_tokenizer), with_commas(known.vocab_size)));
  line("BOS token", special_token(file, "tokenizer.ggml.bos_token_id"));
  line("EOS token", special_token(file, "tokenizer.ggml.eos_token_id"));
  if (known.chat_template.empty()) {
    line("chat template", "none");
  } else {
    out += fmt::format("chat template\n{}\n", terminal_safe(known.chat_template));
  }
  if (level == detail_level::everything) append_everything(file, out);
  return out;
}

std::string describe_json(const gguf_file& file, detail_level level) {
  const facts known = collect(file);
  nlohmann::json out = {{"name", known.name},
                        {"architecture", known.architecture},
                        {"served", known.model.has_value()},
                        {"gguf_version", file.version()},
                        {"size_bytes", file.size_bytes()},
                        {"parameter_count", known.parameter_count},
                        {"tensor_count", file.tensors().size()},
                        {"tensor_bytes", known.tensor_bytes},
                        {"types", nlohmann::json::object()},
                        {"tokenizer", {{"model", known.tokenizer}, {"pre", known.pre_tokenizer}}},
                        {"chat_template", known.chat_template}};
  for (const auto& [type, share] : known.types) {
    out["types"][type] = {{"tensor_count", share.tensor_count}, {"size_bytes", share.size_bytes}};
  }
  out["tokenizer"]["vocab_size"] = known.vocab_size;
  for (const char* token : {"bos_token_id", "eos_token_id"}) {
    const auto id = file.get_unsigned(std::string("tokenizer.ggml.") + token);
    out["tokenizer"][token] = id ? nlohmann::json(id.value()) : nlohmann::json();
  }
  out["context_length"] =
      known.context_length ? nlohmann::json(*known.context_length) : nlohmann::json();
  if (known.model) {
    out["model"] = model_json(known.model.value());
  } else {
    out["not_served_because"] = known.model.failure().message;
  }
  if (level == detail_level::everything) add_everything(file, out);
  // ASCII only, so that a terminal sees no control characters. Bytes that are not UTF-8 become
  // U+FFFD; the strict handler would throw.
  return out.dump(2, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace troupe
