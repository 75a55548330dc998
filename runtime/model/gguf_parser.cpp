#include "runtime/model/gguf_parser.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/model/byte_cursor.hpp"
#include "runtime/model/gguf_metadata.hpp"

namespace troupe {

static_assert(std::endian::native == std::endian::little, "GGUF files are read as little-endian");

namespace {

error corrupt(std::string message) {
  return {errc::corrupt, std::move(message)};
}
error unsupported(std::string message) {
  return {errc::unsupported, std::move(message)};
}

// a * b, or nullopt when it passes the limit.
std::optional<std::uint64_t> multiply_within(std::uint64_t a, std::uint64_t b,
                                             std::uint64_t limit) {
  if (a != 0 && b > limit / a) return std::nullopt;
  return a * b;
}

class parser {
 public:
  explicit parser(std::span<const std::byte> bytes) : bytes_(bytes), cursor_(bytes) {}
  result<gguf_contents> run();

 private:
  struct location {  // where a tensor's data lies, relative to the data section
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };

  result<> read_header();
  result<> index_entries();
  result<> read_alignment();
  result<> read_tensor();
  result<std::uint64_t> tensor_bytes(const gguf_tensor& tensor, std::uint32_t type_code) const;
  result<> index_tensors();
  result<> locate_data();

  std::span<const std::byte> bytes_;
  byte_cursor cursor_;
  gguf_contents contents_;
  std::vector<location> locations_;  // parallel to contents_.tensors
  std::uint64_t tensor_count_ = 0;
  std::uint64_t entry_count_ = 0;
  std::uint64_t alignment_ = 32;  // the format's default
};

result<gguf_contents> parser::run() {
  TROUPE_TRY_VOID(read_header());
  contents_.entries.reserve(static_cast<std::size_t>(entry_count_));
  gguf_metadata_reader metadata(cursor_);
  for (std::uint64_t i = 0; i < entry_count_; ++i) {
    TROUPE_TRY(gguf_entry entry, metadata.read_entry());
    contents_.entries.push_back(std::move(entry));
  }
  TROUPE_TRY_VOID(index_entries());
  TROUPE_TRY_VOID(read_alignment());
  contents_.tensors.reserve(static_cast<std::size_t>(tensor_count_));
  locations_.reserve(static_cast<std::size_t>(tensor_count_));
  for (std::uint64_t i = 0; i < tensor_count_; ++i) TROUPE_TRY_VOID(read_tensor());
  TROUPE_TRY_VOID(index_tensors());
  TROUPE_TRY_VOID(locate_data());
  return std::move(contents_);
}

result<> parser::read_header() {
  TROUPE_TRY(const auto magic, cursor_.read<std::uint32_t>("the magic number"));
  constexpr std::uint32_t expected = 0x46554747;  // "GGUF"
  if (magic != expected) {
    return corrupt(
        fmt::format("not a GGUF file: it starts with bytes 0x{:08x} instead of \"GGUF\"", magic));
  }
  TROUPE_TRY(contents_.version, cursor_.read<std::uint32_t>("the format version"));
  if (contents_.version == 0x02000000 || contents_.version == 0x03000000) {
    return unsupported("the file is big-endian; convert it with gguf-convert-endian");
  }
  if (contents_.version != 2 && contents_.version != 3) {
    return unsupported(
        fmt::format("GGUF version {}; this build reads versions 2 and 3", contents_.version));
  }
  TROUPE_TRY(tensor_count_, cursor_.read<std::uint64_t>("the tensor count"));
  TROUPE_TRY(entry_count_, cursor_.read<std::uint64_t>("the metadata count"));
  // An entry takes at least a key length, a type and one byte; a tensor a name length, a dimension
  // count, one dimension, a type and an offset.
  constexpr std::uint64_t entry_bytes_min = 8 + 4 + 1;
  constexpr std::uint64_t tensor_bytes_min = 8 + 4 + 8 + 4 + 8;
  if (entry_count_ > limits::gguf_entry_count_max ||
      entry_count_ > cursor_.left() / entry_bytes_min) {
    return corrupt(fmt::format(
        "the header claims {} metadata entries; {} bytes follow and at most {} are allowed",
        entry_count_, cursor_.left(), limits::gguf_entry_count_max));
  }
  if (tensor_count_ > limits::gguf_tensor_count_max ||
      tensor_count_ > cursor_.left() / tensor_bytes_min) {
    return corrupt(
        fmt::format("the header claims {} tensors; {} bytes follow and at most {} are allowed",
                    tensor_count_, cursor_.left(), limits::gguf_tensor_count_max));
  }
  return {};
}

// Sorts 0 .. count - 1 by name. The index of a name that appears twice, if there is one.
template <class NameOf>
std::optional<std::size_t> sort_by_name(std::vector<std::size_t>& order, std::size_t count,
                                        NameOf name_of) {
  order.resize(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return name_of(a) < name_of(b); });
  const auto twice =
      std::adjacent_find(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return name_of(a) == name_of(b); });
  return twice == order.end() ? std::nullopt : std::optional(*twice);
}

result<> parser::index_entries() {
  const auto key_of = [&](std::size_t i) -> const std::string& { return contents_.entries[i].key; };
  if (const auto twice = sort_by_name(contents_.entries_by_key, contents_.entries.size(), key_of)) {
    return corrupt(fmt::format("metadata key {} appears twice", printable(key_of(*twice))));
  }
  return {};
}

result<> parser::read_alignment() {
  for (const gguf_entry& entry : contents_.entries) {
    if (entry.key != "general.alignment") continue;
    const auto* value = std::get_if<std::uint64_t>(&entry.value);
    if (value == nullptr || !std::has_single_bit(*value) ||
        *value < limits::gguf_alignment_bytes_min || *value > limits::gguf_alignment_bytes_max) {
      return corrupt(
          fmt::format("general.alignment must be an unsigned power of two from {} to {}{}",
                      limits::gguf_alignment_bytes_min, limits::gguf_alignment_bytes_max,
                      value != nullptr ? fmt::format(", it is {}", *value) : ""));
    }
    alignment_ = *value;
  }
  return {};
}

result<> parser::read_tensor() {
  const std::size_t start = cursor_.position();
  gguf_tensor tensor;
  TROUPE_TRY(tensor.name, cursor_.read_string(limits::gguf_tensor_name_bytes_max, "a tensor name"));
  if (tensor.name.empty())
    return corrupt(fmt::format("the tensor name at byte {} is empty", start));
  TROUPE_TRY(const auto dimension_count, cursor_.read<std::uint32_t>("a tensor's dimension count"));
  if (dimension_count == 0 || dimension_count > limits::gguf_tensor_dimensions_max) {
    return corrupt(fmt::format("tensor {} has {} dimensions; 1 to {} are allowed",
                               printable(tensor.name), dimension_count,
                               limits::gguf_tensor_dimensions_max));
  }
  for (std::uint32_t i = 0; i < dimension_count; ++i) {
    TROUPE_TRY(const auto size, cursor_.read<std::uint64_t>("a tensor's dimension"));
    tensor.dimensions.push_back(size);
  }
  TROUPE_TRY(const auto type_code, cursor_.read<std::uint32_t>("a tensor's type"));
  TROUPE_TRY(const auto offset, cursor_.read<std::uint64_t>("a tensor's offset"));
  tensor.type = static_cast<dtype>(type_code);
  TROUPE_TRY(const auto size, tensor_bytes(tensor, type_code));
  if (offset % alignment_ != 0) {
    return corrupt(
        fmt::format("tensor {} starts at data offset {}, which is no multiple of the alignment {}",
                    printable(tensor.name), offset, alignment_));
  }
  locations_.push_back({offset, size});
  contents_.tensors.push_back(std::move(tensor));
  return {};
}

result<std::uint64_t> parser::tensor_bytes(const gguf_tensor& tensor,
                                           std::uint32_t type_code) const {
  const auto layout = layout_of(tensor.type);
  if (!layout) {
    return unsupported(fmt::format("tensor {} has type code {}, which this build cannot read",
                                   printable(tensor.name), type_code));
  }
  std::uint64_t elements = 1;
  for (const std::uint64_t dimension : tensor.dimensions) {
    const auto product = multiply_within(elements, dimension, limits::gguf_tensor_elements_max);
    if (dimension == 0 || !product) {
      return corrupt(fmt::format(
          "tensor {} has the dimensions [{}]; each must be at least 1 and their product at most {}",
          printable(tensor.name), fmt::join(tensor.dimensions, ", "),
          limits::gguf_tensor_elements_max));
    }
    elements = *product;
  }
  if (tensor.dimensions[0] % layout->block_elements != 0) {
    return corrupt(fmt::format(
        "tensor {} has rows of {} elements, which is no multiple of the {} in a {} block",
        printable(tensor.name), tensor.dimensions[0], layout->block_elements, layout->name));
  }
  // At most 2^48 elements of at most 4 bytes: no overflow.
  return elements / layout->block_elements * layout->block_bytes;
}

result<> parser::index_tensors() {
  const auto name_of = [&](std::size_t i) -> const std::string& {
    return contents_.tensors[i].name;
  };
  if (const auto twice =
          sort_by_name(contents_.tensors_by_name, contents_.tensors.size(), name_of)) {
    return corrupt(fmt::format("tensor {} appears twice", printable(name_of(*twice))));
  }
  return {};
}

result<> parser::locate_data() {
  if (contents_.tensors.empty()) return {};
  const std::uint64_t unaligned = cursor_.position();
  const std::uint64_t start = (unaligned + alignment_ - 1) / alignment_ * alignment_;
  const std::uint64_t available = start <= bytes_.size() ? bytes_.size() - start : 0;

  std::vector<std::size_t> order(contents_.tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return locations_[a].offset < locations_[b].offset;
  });
  std::uint64_t previous_end = 0;
  for (const std::size_t i : order) {
    gguf_tensor& tensor = contents_.tensors[i];
    const auto [offset, size] = locations_[i];
    if (offset > available || size > available - offset) {
      return corrupt(
          fmt::format("truncated: tensor {} needs {} bytes at data offset {}, and the data section "
                      "has {}; fetch the file again",
                      printable(tensor.name), size, offset, available));
    }
    // No reader needs this, but without it a small file could claim the work of a huge one.
    if (offset < previous_end) {
      return corrupt(
          fmt::format("tensor {} at data offset {} overlaps the one before it, which ends at {}",
                      printable(tensor.name), offset, previous_end));
    }
    previous_end = offset + size;
    tensor.data =
        bytes_.subspan(static_cast<std::size_t>(start + offset), static_cast<std::size_t>(size));
  }
  return {};
}

}  // namespace

result<gguf_contents> parse_gguf(std::span<const std::byte> bytes) {
  return parser(bytes).run();
}

std::string printable(std::string_view text) {
  constexpr std::size_t shown_bytes_max = 80;
  std::string out = "\"";
  for (const char c : text.substr(0, shown_bytes_max)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F || c == '"' || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += text.size() > shown_bytes_max ? "...\"" : "\"";
  return out;
}

}  // namespace troupe
