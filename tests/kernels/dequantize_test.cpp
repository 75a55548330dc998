// Proves that dequantize_row gives the bits that the `gguf` Python package gives, for every type,
// by a golden file (tests/goldens/make_dequantize_goldens.py), and that wrong lengths are refused.
#include "kernels/dequantize/dequantize.hpp"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace {

using troupe::dtype;
using troupe::kernels::dequantize_row;

struct golden {
  dtype type;
  std::vector<std::byte> bytes;
  std::vector<float> expected;
};

std::vector<golden> read_goldens() {
  std::ifstream file(std::string(TROUPE_SOURCE_DIR) + "/tests/goldens/dequantize.bin",
                     std::ios::binary);
  REQUIRE(file.good());
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<golden> found;
  std::size_t at = 0;
  while (at < all.size()) {
    std::uint32_t header[3];
    REQUIRE(at + sizeof header <= all.size());
    std::memcpy(header, all.data() + at, sizeof header);
    at += sizeof header;
    golden next{static_cast<dtype>(header[0]), std::vector<std::byte>(header[1]),
                std::vector<float>(header[2])};
    REQUIRE(at + header[1] + header[2] * sizeof(float) <= all.size());
    std::memcpy(next.bytes.data(), all.data() + at, header[1]);
    at += header[1];
    std::memcpy(next.expected.data(), all.data() + at, header[2] * sizeof(float));
    at += header[2] * sizeof(float);
    found.push_back(std::move(next));
  }
  return found;
}

}  // namespace

TEST_CASE("dequantize_row equals the gguf package bit for bit") {
  std::set<dtype> seen;
  for (const auto& golden : read_goldens()) {
    INFO("type " << troupe::layout_of(golden.type)->name);
    seen.insert(golden.type);
    // One element more than the row, to see that nothing is written past it.
    std::vector<float> out(golden.expected.size() + 1, -123.0f);
    REQUIRE(dequantize_row(golden.type, golden.bytes, std::span(out).first(out.size() - 1)));
    CHECK(out.back() == -123.0f);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < golden.expected.size(); ++i) {
      wrong +=
          std::bit_cast<std::uint32_t>(out[i]) != std::bit_cast<std::uint32_t>(golden.expected[i]);
    }
    CHECK(wrong == 0);
  }
  CHECK(seen.size() == 12);
}

TEST_CASE("dequantize_row refuses lengths that do not fit") {
  std::vector<std::byte> bytes(40);
  std::vector<float> out(64);
  CHECK(dequantize_row(dtype::q4_1, bytes, out));
  CHECK(dequantize_row(dtype::q4_1, std::span(bytes).first(39), out).failure().code ==
        troupe::errc::invalid_argument);
  CHECK(dequantize_row(dtype::q4_1, bytes, std::span(out).first(63)).failure().code ==
        troupe::errc::invalid_argument);
  CHECK(dequantize_row(static_cast<dtype>(99), bytes, out).failure().code ==
        troupe::errc::unsupported);
  CHECK(dequantize_row(dtype::q4_1, {}, {}));
}
