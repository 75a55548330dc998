// Proves that gguf_file reads every kind of metadata and tensor, and that no file, however broken,
// does more than fail: each forgery is a value with a message. Run under ASan + UBSan (preset dev)
// this also proves that nothing is read out of bounds, because every buffer here has exactly the
// file's length.
#include "runtime/model/gguf.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <random>

#include <catch2/catch.hpp>

#include "config/limits.hpp"
#include "tests/runtime/model/gguf_builder.hpp"

using namespace troupe;
using namespace troupe::test;
using Catch::Matchers::Contains;

namespace {

// A file with every kind of value and three tensors. It ends with tensor data, without padding.
gguf_builder small_file() {
  gguf_builder file;
  file.set("general.architecture", std::string("test"));
  file.set_number<std::uint8_t>("n.u8", u8, 200);
  file.set_number<std::int8_t>("n.i8", i8, -100);
  file.set_number<std::uint16_t>("n.u16", u16, 60000);
  file.set_number<std::int16_t>("n.i16", i16, -30000);
  file.set_number<std::uint32_t>("n.u32", u32, 4'000'000'000u);
  file.set_number<std::int32_t>("n.i32", i32, -2'000'000'000);
  file.set_number<float>("n.f32", f32, 0.5f);
  file.set_number<std::uint64_t>("n.u64", u64, std::numeric_limits<std::uint64_t>::max());
  file.set_number<std::int64_t>("n.i64", i64, std::numeric_limits<std::int64_t>::min());
  file.set_number<double>("n.f64", f64, -1e300);
  file.set("yes", true);
  file.set("no", false);
  file.set("empty", std::string());
  file.set_numbers<std::uint8_t>("a.u8", u8, {0, 255});
  file.set_numbers<std::int8_t>("a.i8", i8, {-128, 127});
  file.set_numbers<std::uint16_t>("a.u16", u16, {0, 65535});
  file.set_numbers<std::int16_t>("a.i16", i16, {-32768, 32767});
  file.set_numbers<std::uint32_t>("a.u32", u32, {0, 1});
  file.set_numbers<std::int32_t>("a.i32", i32, {-1, 1});
  file.set_numbers<float>("a.f32", f32, {0.25f, -0.25f});
  file.set_numbers<std::uint64_t>("a.u64", u64, {1, std::numeric_limits<std::uint64_t>::max()});
  file.set_numbers<std::int64_t>("a.i64", i64, {-1, 1});
  file.set_numbers<double>("a.f64", f64, {1e-300, 2.0});
  file.set("a.bool", std::vector<bool>{true, false, true});
  file.set("a.string", std::vector<std::string>{"one", "", std::string("th\0ree", 6)});
  file.set("a.empty", std::vector<std::string>{});
  file.add_float_tensor("matrix", {4, 3});
  file.tensors.push_back(
      {"quantized", {64, 2, 2}, static_cast<std::uint32_t>(dtype::q4_1), byte_vector(160)});
  file.add_float_tensor("vector", {8});
  return file;
}

template <class T>
T value_of(const gguf_file& file, std::string_view key) {
  const gguf_value* value = file.find(key);
  INFO(key);
  REQUIRE(value != nullptr);
  REQUIRE(std::holds_alternative<T>(*value));
  return std::get<T>(*value);
}

// Parses a heap copy of exactly these bytes, and touches everything that a reader may touch.
result<> parse_and_read(const byte_vector& bytes) {
  const auto exact = std::make_unique<std::byte[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  TROUPE_TRY(const gguf_file file, gguf_file::parse({exact.get(), bytes.size()}, "forged"));
  unsigned sum = 0;
  for (const gguf_tensor& tensor : file.tensors()) {
    for (const std::byte byte : tensor.data) sum += std::to_integer<unsigned>(byte);
    if (file.find_tensor(tensor.name) != &tensor) return error{errc::internal, "lost a tensor"};
  }
  for (const gguf_entry& entry : file.entries()) {
    if (file.find(entry.key) != &entry.value) return error{errc::internal, "lost a key"};
  }
  static_cast<void>(sum);
  return {};
}

std::string message_of(const byte_vector& bytes, errc expected) {
  const auto outcome = parse_and_read(bytes);
  REQUIRE_FALSE(outcome.has_value());
  CHECK(to_string(outcome.failure().code) == to_string(expected));
  CHECK_THAT(outcome.failure().message, Contains("forged: "));
  return outcome.failure().message;
}

std::filesystem::path scratch_path(const std::string& name) {
  return std::filesystem::temp_directory_path() /
         ("troupe_gguf_test_" + std::to_string(::getpid()) + "_" + name);
}

}  // namespace

TEST_CASE("every kind of metadata comes back, widened") {
  for (const std::uint32_t version : {2u, 3u}) {
    gguf_builder builder = small_file();
    builder.version = version;
    const byte_vector bytes = builder.build();
    const auto opened = gguf_file::parse(bytes, "small");
    REQUIRE(opened.has_value());
    const gguf_file& file = opened.value();
    CHECK(file.version() == version);
    CHECK(file.size_bytes() == bytes.size());
    CHECK(file.name() == "small");
    CHECK(file.entries().size() == builder.entries.size());
    CHECK(file.entries()[1].key == "n.u8");

    CHECK(value_of<std::uint64_t>(file, "n.u8") == 200);
    CHECK(value_of<std::int64_t>(file, "n.i8") == -100);
    CHECK(value_of<std::uint64_t>(file, "n.u16") == 60000);
    CHECK(value_of<std::int64_t>(file, "n.i16") == -30000);
    CHECK(value_of<std::uint64_t>(file, "n.u32") == 4'000'000'000u);
    CHECK(value_of<std::int64_t>(file, "n.i32") == -2'000'000'000);
    CHECK(value_of<double>(file, "n.f32") == 0.5);
    CHECK(value_of<std::uint64_t>(file, "n.u64") == std::numeric_limits<std::uint64_t>::max());
    CHECK(value_of<std::int64_t>(file, "n.i64") == std::numeric_limits<std::int64_t>::min());
    CHECK(value_of<double>(file, "n.f64") == -1e300);
    CHECK(value_of<bool>(file, "yes"));
    CHECK_FALSE(value_of<bool>(file, "no"));
    CHECK(value_of<std::string>(file, "empty").empty());

    using unsigneds = std::vector<std::uint64_t>;
    using integers = std::vector<std::int64_t>;
    using doubles = std::vector<double>;
    CHECK(value_of<unsigneds>(file, "a.u8") == unsigneds{0, 255});
    CHECK(value_of<integers>(file, "a.i8") == integers{-128, 127});
    CHECK(value_of<unsigneds>(file, "a.u16") == unsigneds{0, 65535});
    CHECK(value_of<integers>(file, "a.i16") == integers{-32768, 32767});
    CHECK(value_of<unsigneds>(file, "a.u32") == unsigneds{0, 1});
    CHECK(value_of<integers>(file, "a.i32") == integers{-1, 1});
    CHECK(value_of<doubles>(file, "a.f32") == doubles{0.25, -0.25});
    CHECK(value_of<unsigneds>(file, "a.u64") ==
          unsigneds{1, std::numeric_limits<std::uint64_t>::max()});
    CHECK(value_of<integers>(file, "a.i64") == integers{-1, 1});
    CHECK(value_of<doubles>(file, "a.f64") == doubles{1e-300, 2.0});
    CHECK(value_of<std::vector<bool>>(file, "a.bool") == std::vector<bool>{true, false, true});
    const std::vector<std::string> strings = {"one", "", std::string("th\0ree", 6)};
    CHECK(value_of<std::vector<std::string>>(file, "a.string") == strings);
    CHECK(value_of<std::vector<std::string>>(file, "a.empty").empty());
    CHECK(file.find("absent") == nullptr);
  }
}

TEST_CASE("tensors come back with shape, type and data") {
  const byte_vector bytes = small_file().build();
  const auto opened = gguf_file::parse(bytes, "small");
  REQUIRE(opened.has_value());
  REQUIRE(opened->tensors().size() == 3);
  const gguf_tensor* matrix = opened->find_tensor("matrix");
  REQUIRE(matrix == &opened->tensors()[0]);
  CHECK(matrix->type == dtype::f32);
  CHECK(matrix->column_count() == 4);
  CHECK(matrix->row_count() == 3);
  REQUIRE(matrix->data.size() == 48);
  float last = 0.0f;
  std::memcpy(&last, matrix->data.data() + 44, sizeof last);
  CHECK(last == 11.0f);
  const gguf_tensor* quantized = opened->find_tensor("quantized");
  REQUIRE(quantized != nullptr);
  CHECK(quantized->type == dtype::q4_1);
  CHECK(quantized->row_count() == 4);
  CHECK(quantized->data.size() == 160);
  CHECK(opened->find_tensor("vector")->data.data() + 32 == bytes.data() + bytes.size());
  CHECK(opened->find_tensor("absent") == nullptr);
}

TEST_CASE("typed access converts where nothing is lost and names the key where it cannot") {
  const byte_vector bytes = small_file().build();
  const auto opened = gguf_file::parse(bytes, "small");
  REQUIRE(opened.has_value());
  const gguf_file& file = opened.value();
  CHECK(file.get_unsigned("n.u8").value() == 200);
  CHECK(file.get_double("n.f32").value() == 0.5);
  CHECK(file.get_double("n.i8").value() == -100.0);
  CHECK(file.get_double("n.u8").value() == 200.0);
  CHECK(file.get_bool("yes").value());
  CHECK(file.get_string("general.architecture").value() == "test");
  CHECK(file.get_strings("a.string").value()->size() == 3);

  CHECK(file.get_unsigned("absent").failure().code == errc::not_found);
  CHECK_THAT(file.get_string("absent").failure().message,
             Contains("small: ") && Contains("\"absent\""));
  CHECK_THAT(file.get_unsigned("n.i8").failure().message, Contains("\"n.i8\" is -100"));
  CHECK(file.get_unsigned("n.f32").failure().code == errc::corrupt);
  CHECK_THAT(file.get_bool("n.u8").failure().message,
             Contains("is an unsigned integer; expected a bool"));
  CHECK(file.get_double("yes").failure().code == errc::corrupt);
  CHECK(file.get_string("a.string").failure().code == errc::corrupt);
  CHECK_THAT(file.get_strings("a.u8").failure().message,
             Contains("is an array of unsigned integers"));
}

TEST_CASE("a model file opens from disk") {
  const auto file = gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf");
  REQUIRE(file.has_value());
  CHECK(file->get_string("general.architecture").value() == "llama");
  CHECK(file->get_strings("tokenizer.ggml.tokens").value()->size() == 320);
  CHECK(file->tensors().size() == 2 + 2 * 9);
}

TEST_CASE("released pages come back with what they held") {
  const auto file = gguf_file::open(TROUPE_SOURCE_DIR "/tests/models/tiny-llama.gguf");
  REQUIRE(file);
  const auto data = file->tensors().front().data;
  const std::vector<std::byte> before(data.begin(), data.end());
  file->release_pages();
  CHECK(std::ranges::equal(data, before));
}

TEST_CASE("what is no model file is refused with a reason") {
  CHECK(gguf_file::open(scratch_path("absent")).failure().code == errc::not_found);
  CHECK_THAT(gguf_file::open("/tmp").failure().message, Contains("not a regular file"));

  const auto empty = scratch_path("empty");
  std::ofstream(empty).close();
  CHECK_THAT(gguf_file::open(empty).failure().message, Contains("the file is empty"));
  std::filesystem::remove(empty);

  const auto text = scratch_path("text");
  std::ofstream(text) << "hello, this is no model";
  CHECK_THAT(gguf_file::open(text).failure().message,
             Contains("not a GGUF file") && Contains(text.string()));
  std::filesystem::remove(text);

  const auto pipe = scratch_path("pipe");  // opening it must not wait for a writer
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(gguf_file::open(pipe).failure().code == errc::invalid_argument);
  std::filesystem::remove(pipe);
}

TEST_CASE("a file cut short at any byte is an error") {
  const byte_vector whole = small_file().build();
  REQUIRE(parse_and_read(whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto outcome =
        parse_and_read(byte_vector(whole.begin(), whole.begin() + static_cast<long>(size)));
    INFO("cut to " << size << " of " << whole.size() << " bytes");
    REQUIRE_FALSE(outcome.has_value());
    REQUIRE(outcome.failure().code == errc::corrupt);
  }
}

TEST_CASE("mutated files never crash") {
  constexpr unsigned seed = 20240229;
  constexpr int mutation_count = 100'000;
  std::mt19937 random(seed);
  byte_vector bytes = small_file().build();
  const byte_vector original = bytes;
  int accepted = 0;
  for (int i = 0; i < mutation_count; ++i) {
    const std::size_t at = random() % bytes.size();
    const auto value =
        static_cast<std::byte>(random() % 4 == 0 ? 0xFF * (random() % 2) : random() % 256);
    bytes[at] = value;
    CAPTURE(seed, i, at, std::to_integer<int>(value));
    const auto outcome = parse_and_read(bytes);
    if (outcome.has_value()) {
      ++accepted;
    } else {
      const errc code = outcome.failure().code;
      REQUIRE((code == errc::corrupt || code == errc::unsupported));
    }
    bytes[at] = original[at];
  }
  WARN(mutation_count << " mutations with seed " << seed << ": " << accepted << " accepted");
}

TEST_CASE("forged headers are refused") {
  gguf_builder file = small_file();
  SECTION("magic") {
    file.magic = 0x46554748;
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("not a GGUF file"));
  }
  SECTION("version 1") {
    file.version = 1;
    CHECK_THAT(message_of(file.build(), errc::unsupported), Contains("version 1"));
  }
  SECTION("big-endian") {
    file.version = 0x03000000;
    CHECK_THAT(message_of(file.build(), errc::unsupported), Contains("big-endian"));
  }
  SECTION("more metadata than bytes") {
    file.entry_count = std::numeric_limits<std::uint64_t>::max();
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("metadata entries"));
  }
  SECTION("more tensors than bytes") {
    file.tensor_count = std::uint64_t{1} << 62;
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("tensors"));
  }
  SECTION("more entries than allowed, with the bytes for it") {
    file.entry_count = limits::gguf_entry_count_max + 1;
    byte_vector bytes = file.build();
    bytes.resize(bytes.size() + 16 * (limits::gguf_entry_count_max + 2));
    CHECK_THAT(message_of(bytes, errc::corrupt), Contains("metadata entries"));
  }
}

TEST_CASE("forged metadata is refused") {
  gguf_builder file = small_file();
  const auto lengths = [](std::uint64_t length) {
    byte_vector encoded;
    append(encoded, length);
    return encoded;
  };
  const auto array_header = [](std::uint32_t type, std::uint64_t length) {
    byte_vector encoded;
    append(encoded, type);
    append(encoded, length);
    return encoded;
  };
  SECTION("a duplicate key") {
    file.entries.push_back(file.entries.front());
    CHECK_THAT(message_of(file.build(), errc::corrupt),
               Contains("\"general.architecture\" appears twice"));
  }
  SECTION("an empty key") {
    file.set("", true);
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("is empty"));
  }
  SECTION("a key that is too long") {
    file.set(std::string(limits::gguf_key_bytes_max + 1, 'k'), true);
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("a metadata key"));
  }
  SECTION("a key whose bytes are no text does not reach the message raw") {
    file.set_raw("\x1b[31m\xff", static_cast<gguf_type>(77), {});
    CHECK_THAT(message_of(file.build(), errc::corrupt),
               Contains("\"\\x1b[31m\\xff\" has the unknown value type 77"));
  }
  SECTION("a string past the end") {
    file.set_raw("s", string, lengths(std::uint64_t{1} << 20));
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("truncated"));
  }
  SECTION("a string of 2^64 - 1 bytes") {
    file.set_raw("s", string, lengths(std::numeric_limits<std::uint64_t>::max()));
    CHECK_THAT(message_of(file.build(), errc::corrupt),
               Contains("claims 18446744073709551615 bytes"));
  }
  SECTION("a bool of 2") {
    file.set_raw("b", boolean, {std::byte{2}});
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("only 0 and 1"));
  }
  SECTION("an array of arrays") {
    file.set_raw("a", array, array_header(array, 1));
    CHECK_THAT(message_of(file.build(), errc::unsupported), Contains("an array of arrays"));
  }
  SECTION("an array of an unknown type") {
    file.set_raw("a", array, array_header(13, 1));
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("unknown type 13"));
  }
  SECTION("huge arrays") {
    for (const gguf_type type : {u8, i16, u32, f32, boolean, string, u64, f64}) {
      for (const std::uint64_t length : {std::numeric_limits<std::uint64_t>::max(),
                                         std::uint64_t{1} << 61, std::uint64_t{1} << 20}) {
        file.set_raw("a", array, array_header(type, length));
        CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("array elements"));
      }
    }
  }
  SECTION("arrays that are too long together, with the bytes for it") {
    file.set("a.one", std::vector<bool>(limits::gguf_array_elements_max / 2));
    file.set("a.two", std::vector<bool>(limits::gguf_array_elements_max / 2));
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("\"a.two\" claims"));
  }
}

TEST_CASE("forged alignments are refused") {
  gguf_builder file = small_file();
  for (const std::uint32_t alignment : {0u, 1u, 4u, 24u, 33u, 131'072u, 0x80000000u}) {
    file.set_number<std::uint32_t>("general.alignment", u32, alignment);
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("general.alignment"));
  }
  file.set("general.alignment", std::string("32"));
  CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("general.alignment"));

  for (const std::uint32_t alignment : {8u, 32u, 64u, 65'536u}) {
    file.set_number<std::uint32_t>("general.alignment", u32, alignment);
    file.alignment = alignment;
    CHECK(parse_and_read(file.build()).has_value());
  }
}

TEST_CASE("forged tensors are refused") {
  gguf_builder file = small_file();
  auto& matrix = file.find("matrix");
  SECTION("a duplicate name") {
    matrix.name = "vector";
    CHECK_THAT(message_of(file.build(), errc::corrupt),
               Contains("tensor \"vector\" appears twice"));
  }
  SECTION("an empty name") {
    matrix.name = "";
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("is empty"));
  }
  SECTION("a name that is too long") {
    matrix.name = std::string(limits::gguf_tensor_name_bytes_max + 1, 't');
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("a tensor name"));
  }
  SECTION("no dimensions, and too many") {
    matrix.dimensions = {};
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("has 0 dimensions"));
    matrix.dimensions = {1, 1, 1, 1, 1};
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("has 5 dimensions"));
  }
  SECTION("a zero dimension") {
    for (std::size_t i = 0; i < 2; ++i) {
      matrix.dimensions = {4, 3};
      matrix.dimensions[i] = 0;
      CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("at least 1"));
    }
  }
  SECTION("dimensions whose product overflows to something small") {
    const std::uint64_t half = std::uint64_t{1} << 32;
    for (const std::vector<std::uint64_t>& dimensions :
         {std::vector<std::uint64_t>{half, half},
          {half, half, half, half},
          {4, std::uint64_t{1} << 62},
          {3, 6148914691236517206u},
          {std::numeric_limits<std::uint64_t>::max(), 1}}) {
      matrix.dimensions = dimensions;
      CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("their product at most"));
    }
  }
  SECTION("more elements than bytes") {
    matrix.dimensions = {4, std::uint64_t{1} << 40};
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("truncated: tensor \"matrix\""));
  }
  SECTION("an unknown type names its code") {
    matrix.type = 16;
    CHECK_THAT(message_of(file.build(), errc::unsupported),
               Contains("\"matrix\" has type code 16"));
  }
  SECTION("rows of broken blocks") {
    file.find("quantized").dimensions = {48, 2, 2};
    CHECK_THAT(message_of(file.build(), errc::corrupt),
               Contains("rows of 48 elements") && Contains("Q4_1"));
  }
  SECTION("an offset past the end, and one that wraps around") {
    for (const std::uint64_t offset :
         {std::uint64_t{1} << 20, std::numeric_limits<std::uint64_t>::max() - 31}) {
      matrix.offset = offset;
      CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("truncated: tensor \"matrix\""));
    }
  }
  SECTION("a misaligned offset") {
    matrix.offset = 4;
    CHECK_THAT(message_of(file.build(), errc::corrupt),
               Contains("no multiple of the alignment 32"));
  }
  SECTION("overlapping data") {
    file.find("quantized").offset = 32;
    CHECK_THAT(message_of(file.build(), errc::corrupt), Contains("overlaps"));
  }
}

TEST_CASE("tensors may lie in the data section in any order") {
  gguf_builder file;
  file.add_float_tensor("first", {8});
  file.add_float_tensor("second", {8});
  file.tensors[0].offset = 32;
  file.tensors[1].offset = 0;
  const byte_vector bytes = file.build();
  const auto opened = gguf_file::parse(bytes, "swapped");
  REQUIRE(opened.has_value());
  CHECK(opened->find_tensor("second")->data.data() + 32 ==
        opened->find_tensor("first")->data.data());
}

TEST_CASE("the fingerprint is of every byte, and stays") {
  byte_vector bytes = small_file().build();
  const auto fingerprint_of = [&] {
    const auto file = gguf_file::parse(bytes, "small");
    REQUIRE(file.has_value());
    const std::uint64_t first = file->fingerprint();
    CHECK(file->fingerprint() == first);
    return first;
  };
  const std::uint64_t original = fingerprint_of();
  CHECK(original == fingerprint_of());
  bytes.back() ^= std::byte{1};  // tensor data
  CHECK(original != fingerprint_of());
  bytes.back() ^= std::byte{1};
  gguf_builder renamed = small_file();
  renamed.find("vector").name = "vectoR";
  bytes = renamed.build();
  CHECK(original != fingerprint_of());
}
