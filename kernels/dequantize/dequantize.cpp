#include "kernels/dequantize/dequantize.hpp"

#include <bit>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

#include "kernels/base/half.hpp"
#include "kernels/dequantize/float8.hpp"
#include "kernels/dequantize/quantized_group.hpp"

namespace troupe::kernels {

namespace {

std::uint16_t word_at(std::span<const std::byte> bytes, std::size_t i) noexcept {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[2 * i]) |
                                    (std::to_integer<unsigned>(bytes[2 * i + 1]) << 8));
}

void dequantize_groups(dtype type, std::span<const std::byte> bytes, std::span<float> out) {
  const bool minimum = has_minimum(type);
  const int offset = quantized_offset(type);
  quantized_group group;
  for (std::size_t g = 0; g < out.size() / quantized_group_size; ++g) {
    read_group(type, bytes.data(), g, group);
    float* w = out.data() + g * quantized_group_size;
    const float scales[] = {group.scale(0), group.scale(1)};
    for (std::size_t k = 0; k < quantized_group_size; ++k) {
      const float product = scales[k / 16] * static_cast<float>(group.q[k] - offset);
      w[k] = minimum ? product + group.minimum() : product;
    }
  }
}

}  // namespace

result<void> dequantize_row(dtype type, std::span<const std::byte> bytes, std::span<float> out) {
  const auto layout = layout_of(type);
  if (!layout) {
    return error{errc::unsupported, fmt::format("cannot dequantize tensor type code {}",
                                                static_cast<std::uint32_t>(type))};
  }
  if (out.size() % layout->block_elements != 0) {
    return error{errc::invalid_argument,
                 fmt::format("a row of {} elements is not whole {} blocks of {}", out.size(),
                             layout->name, layout->block_elements)};
  }
  const std::size_t wanted = out.size() / layout->block_elements * layout->block_bytes;
  if (bytes.size() != wanted) {
    return error{errc::invalid_argument,
                 fmt::format("{} elements of {} take {} bytes, not {}", out.size(), layout->name,
                             wanted, bytes.size())};
  }
  switch (type) {
    case dtype::f32:
      if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
      break;
    case dtype::f16:
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = half_to_float(word_at(bytes, i));
      break;
    case dtype::bf16:
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = bfloat_to_float(word_at(bytes, i));
      break;
    case dtype::f8_e4m3:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = f8_e4m3_to_float(std::to_integer<std::uint8_t>(bytes[i]));
      }
      break;
    default: dequantize_groups(type, bytes, out); break;
  }
  return {};
}

}  // namespace troupe::kernels
