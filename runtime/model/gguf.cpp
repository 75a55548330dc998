#include "runtime/model/gguf.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "runtime/model/file_hash.hpp"
#include "runtime/model/gguf_parser.hpp"

namespace troupe {

namespace {

// A read-only mapping of a whole file. A file that another process shortens while it is mapped
// raises SIGBUS on access: replace a model file by renaming a new one over it.
class file_mapping {
 public:
  file_mapping() = default;
  file_mapping(void* address, std::size_t size) : address_(address), size_(size) {}
  file_mapping(file_mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  file_mapping& operator=(file_mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~file_mapping() {
    if (address_ != nullptr) ::munmap(address_, size_);
  }

  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), size_};
  }
  void release_pages() const {
    if (address_ != nullptr)
      ::madvise(address_, size_, MADV_DONTNEED);  // a refusal costs memory only
  }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

result<file_mapping> map_descriptor(int descriptor, const std::string& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    return error{errc::unavailable,
                 fmt::format("{}: cannot be examined: {}", path, std::strerror(errno))};
  }
  if (!S_ISREG(status.st_mode)) {
    return error{errc::invalid_argument,
                 fmt::format("{}: not a regular file; name a .gguf file", path)};
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return error{errc::corrupt, fmt::format("{}: the file is empty", path)};
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) {
    return error{errc::out_of_memory, fmt::format("{}: its {} bytes cannot be mapped: {}", path,
                                                  size, std::strerror(errno))};
  }
  return file_mapping(address, size);
}

result<file_mapping> map_file(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must fail below, not wait for a writer. It changes nothing for
  // files.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    const int reason = errno;
    const errc code = reason == ENOENT || reason == ENOTDIR ? errc::not_found : errc::unavailable;
    return error{code, fmt::format("{}: cannot be opened: {}", path, std::strerror(reason))};
  }
  auto mapping = map_descriptor(descriptor, path);
  ::close(descriptor);
  return mapping;
}

std::string_view kind_of(const gguf_value& value) {
  constexpr std::string_view kinds[] = {"a bool",
                                        "a signed integer",
                                        "an unsigned integer",
                                        "a float",
                                        "a string",
                                        "an array of bools",
                                        "an array of signed integers",
                                        "an array of unsigned integers",
                                        "an array of floats",
                                        "an array of strings"};
  static_assert(std::size(kinds) == std::variant_size_v<gguf_value>);
  return kinds[value.index()];
}

}  // namespace

struct gguf_file::state {
  std::string name;  // for messages
  file_mapping mapping;
  std::span<const std::byte> bytes;
  gguf_contents contents;
  mutable std::once_flag hashed;
  mutable std::uint64_t hash = 0;

  [[nodiscard]] error missing(std::string_view key) const {
    return {errc::not_found, fmt::format("{}: metadata key {} is missing", name, printable(key))};
  }
  [[nodiscard]] error mistyped(std::string_view key, const gguf_value& value,
                               std::string_view expected) const {
    return {errc::corrupt, fmt::format("{}: metadata key {} is {}; expected {}", name,
                                       printable(key), kind_of(value), expected)};
  }
};

gguf_file::gguf_file(std::unique_ptr<state> owned) : state_(std::move(owned)) {}
gguf_file::gguf_file(gguf_file&&) noexcept = default;
gguf_file& gguf_file::operator=(gguf_file&&) noexcept = default;
gguf_file::~gguf_file() = default;

result<gguf_file> gguf_file::open(const std::filesystem::path& path) {
  TROUPE_TRY(file_mapping mapping, map_file(path.string()));
  TROUPE_TRY(gguf_file file, parse(mapping.bytes(), path.string()));
  file.state_->mapping = std::move(mapping);
  return file;
}

result<gguf_file> gguf_file::parse(std::span<const std::byte> bytes, std::string_view name) {
  auto contents = parse_gguf(bytes);
  if (!contents) {
    return error{contents.failure().code, fmt::format("{}: {}", name, contents.failure().message)};
  }
  auto owned = std::make_unique<state>();
  owned->name = name;
  owned->bytes = bytes;
  owned->contents = std::move(contents).value();
  return gguf_file(std::move(owned));
}

std::uint32_t gguf_file::version() const noexcept {
  return state_->contents.version;
}
std::uint64_t gguf_file::size_bytes() const noexcept {
  return state_->bytes.size();
}
std::string_view gguf_file::name() const noexcept {
  return state_->name;
}
std::span<const gguf_entry> gguf_file::entries() const noexcept {
  return state_->contents.entries;
}
std::span<const gguf_tensor> gguf_file::tensors() const noexcept {
  return state_->contents.tensors;
}

const gguf_value* gguf_file::find(std::string_view key) const noexcept {
  const auto& entries = state_->contents.entries;
  const auto& order = state_->contents.entries_by_key;
  const auto found =
      std::lower_bound(order.begin(), order.end(), key,
                       [&](std::size_t i, std::string_view k) { return entries[i].key < k; });
  return found != order.end() && entries[*found].key == key ? &entries[*found].value : nullptr;
}

const gguf_tensor* gguf_file::find_tensor(std::string_view name) const noexcept {
  const auto& tensors = state_->contents.tensors;
  const auto& order = state_->contents.tensors_by_name;
  const auto found =
      std::lower_bound(order.begin(), order.end(), name,
                       [&](std::size_t i, std::string_view n) { return tensors[i].name < n; });
  return found != order.end() && tensors[*found].name == name ? &tensors[*found] : nullptr;
}

result<std::uint64_t> gguf_file::get_unsigned(std::string_view key) const {
  const gguf_value* value = find(key);
  if (value == nullptr) return state_->missing(key);
  if (const auto* number = std::get_if<std::uint64_t>(value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(value)) {
    if (*number >= 0) return static_cast<std::uint64_t>(*number);
    return error{errc::corrupt,
                 fmt::format("{}: metadata key {} is {}; expected a value of at least 0",
                             state_->name, printable(key), *number)};
  }
  return state_->mistyped(key, *value, "an unsigned integer");
}

result<double> gguf_file::get_double(std::string_view key) const {
  const gguf_value* value = find(key);
  if (value == nullptr) return state_->missing(key);
  if (const auto* number = std::get_if<double>(value)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<std::int64_t>(value)) return static_cast<double>(*number);
  return state_->mistyped(key, *value, "a number");
}

result<bool> gguf_file::get_bool(std::string_view key) const {
  const gguf_value* value = find(key);
  if (value == nullptr) return state_->missing(key);
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  return state_->mistyped(key, *value, "a bool");
}

result<std::string> gguf_file::get_string(std::string_view key) const {
  const gguf_value* value = find(key);
  if (value == nullptr) return state_->missing(key);
  if (const auto* text = std::get_if<std::string>(value)) return *text;
  return state_->mistyped(key, *value, "a string");
}

result<const std::vector<std::string>*> gguf_file::get_strings(std::string_view key) const {
  const gguf_value* value = find(key);
  if (value == nullptr) return state_->missing(key);
  if (const auto* texts = std::get_if<std::vector<std::string>>(value)) return texts;
  return state_->mistyped(key, *value, "an array of strings");
}

std::uint64_t gguf_file::fingerprint() const {
  std::call_once(state_->hashed, [this] { state_->hash = hash_bytes(state_->bytes); });
  return state_->hash;
}

void gguf_file::release_pages() const {
  state_->mapping.release_pages();
}

}  // namespace troupe
