// Repacks GGUF rows into panels of 16 outputs (packed_layout.hpp). All variants read the same
// layouts, but for Q6_K in AVX2.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "kernels/base/half.hpp"
#include "kernels/dequantize/quantized_group.hpp"
#include "kernels/matmul/packed_state.hpp"

namespace troupe::kernels {

namespace {

packing packing_of(dtype type, isa set, bool with_zero_points) {
  switch (type) {
    case dtype::f32: return packing::f32;
    case dtype::f16: return packing::f16;
    case dtype::bf16: return packing::bf16;
    case dtype::f8_e4m3: return packing::f8;
    case dtype::q4_0: return packing::nibbles_offset;
    case dtype::q4_1:
      return with_zero_points ? packing::nibbles_zero_point : packing::nibbles_minimum;
    case dtype::q4_k:
      return with_zero_points ? packing::nibbles_zero_point_blocks
                              : packing::nibbles_minimum_blocks;
    case dtype::q5_1: return packing::bytes_minimum;
    case dtype::q5_k: return packing::bytes_minimum_blocks;
    case dtype::q6_k:
      // AVX2 unpacks for 4 rows at a time, which would cost it a third more than bytes do.
      return set == isa::avx2 ? packing::bytes_halves_blocks : packing::sixes_halves_blocks;
    case dtype::q5_0:
    case dtype::q8_0: return packing::bytes_offset;
  }
  TROUPE_CHECK(false);
}

void put_half(float value, std::uint8_t* halves, std::size_t lane) {
  const std::uint16_t half = float_to_half(value);  // came from an f16, so this is exact
  std::memcpy(halves + lane * sizeof half, &half, sizeof half);
}

void put_block_scales(const quantized_packing& parts, const quantized_group& group,
                      std::size_t lane, std::uint8_t* block) {
  put_half(group.d, block, lane);
  if (parts.has_minimum) put_half(group.d_minimum, block + minima_offset, lane);
}

std::uint8_t* factors_of(const quantized_packing& parts, std::uint8_t* block, std::size_t inner) {
  return block + parts.factors_offset + 32 * inner;
}

/// Its p (matmul.hpp): scale / 64 * (64 * q + p) is nearest to scale * q + minimum. Nothing where
/// that would leave a byte: all of the group's weights are far from zero on one side, or no finite
/// numbers.
std::optional<int> zero_point_of(const quantized_group& group) {
  constexpr int offset = 1 << (zero_point_offset_shift + fraction_shift);
  constexpr int q_steps = 15 << zero_point_shift;
  constexpr auto past_largest = static_cast<float>((256 - q_steps) << fraction_shift);
  constexpr auto steps = static_cast<float>(1 << (zero_point_shift + fraction_shift));
  const float scale = group.scale(0), minimum = group.minimum();
  if (scale == 0.0f) return minimum == 0.0f ? std::optional<int>(0) : std::nullopt;
  // Not negative, so that cutting it rounds to the nearest.
  const float shifted = steps * minimum / scale + static_cast<float>(offset) + 0.5f;
  if (!(shifted >= 0.0f && shifted < past_largest) || !std::isfinite(scale)) return std::nullopt;
  return static_cast<int>(shifted) - offset;
}

void put_zero_point(const quantized_packing& parts, int zero_point, std::size_t inner,
                    std::size_t lane, std::uint8_t* block) {
  const int shifted = zero_point + (1 << (zero_point_offset_shift + fraction_shift));
  const int f = shifted % (1 << fraction_shift);
  factors_of(parts, block, inner)[16 + lane] = static_cast<std::uint8_t>(shifted >> fraction_shift);
  // The lanes come one after another, the lower nibble's first.
  std::uint8_t& both = block[parts.fractions_offset + 8 * inner + lane % 8];
  both = static_cast<std::uint8_t>(lane < 8 ? f : (both & 15) | f << 4);
}

void put_factors(const quantized_packing& parts, const quantized_group& group, std::size_t inner,
                 std::size_t lane, std::uint8_t* block) {
  std::uint8_t* factors = factors_of(parts, block, inner) + lane;
  const std::int8_t second = parts.has_minimum ? group.minimum_factor : group.scale_factors[1];
  factors[0] = static_cast<std::uint8_t>(group.scale_factors[0]);
  if (!parts.has_zero_point) factors[16] = static_cast<std::uint8_t>(second);
}

// Parts of a byte stay within it, so that the four of a quad can be moved at once.
template <weight_form Form>
void put_weights(const quantized_group& group, std::size_t lane, std::uint8_t* q) {
  constexpr std::uint32_t low_nibbles = 0x0F0F0F0F, low_pairs = 0x03030303;
  std::array<std::uint32_t, 8> quads;
  std::memcpy(quads.data(), group.q.data(), sizeof quads);
  const auto put = [q, lane](std::size_t part, std::uint32_t value) {
    std::memcpy(q + 64 * part + 4 * lane, &value, sizeof value);
  };
  if constexpr (Form == weight_form::bytes) {
    for (std::size_t i = 0; i < 8; ++i) put(i, quads[i]);
  } else {
    for (std::size_t i = 0; i < 4; ++i) {
      put(i, (quads[i] & low_nibbles) | (quads[i + 4] & low_nibbles) << 4);
    }
  }
  if constexpr (Form == weight_form::sixes) {
    for (std::size_t p = 0; p < 2; ++p) {
      std::uint32_t upper = 0;
      for (std::size_t i = 0; i < 4; ++i) upper |= (quads[4 * p + i] >> 4 & low_pairs) << 2 * i;
      put(4 + p, upper);
    }
  }
}

// NaN where one of them is.
float larger(float a, float b) {
  return b > a || std::isnan(b) ? b : a;
}

// No weight of the group is larger.
float largest_weight(const packed_matrix::state& packed, const quantized_group& group) {
  const int q_max = packed.offset_shift != 0                      ? 1 << packed.offset_shift
                    : packed.parts().form == weight_form::nibbles ? 15
                                                                  : 31;
  return std::max(std::fabs(group.scale(0)), std::fabs(group.scale(1))) *
             static_cast<float>(q_max) +
         std::fabs(group.minimum());
}

// Returns a bound of the row's weights, where they will be multiplied in bf16; NaN where one is.
template <weight_form Form>
float pack_quantized_row(const packed_matrix::state& packed, const std::byte* row, std::size_t lane,
                         std::uint8_t* panel) {
  // Copies, because a byte that is written might be theirs.
  const quantized_packing parts = packed.parts();
  const std::size_t group_count = packed.group_count();
  const dtype type = packed.type;
  const std::size_t block_bytes = layout_of(type)->block_bytes;
  std::uint8_t* block = panel + group_count * parts.group_bytes;
  std::uint8_t* q = panel;
  quantized_group group;
  const bool wants_bound = multiplies_in_bf16(packed.set);
  float largest = 0.0f;
  for (std::size_t g = 0; g < group_count; g += parts.block_groups) {
    for (std::size_t inner = 0; inner < parts.block_groups; ++inner, q += parts.group_bytes) {
      read_group_of_block(type, row, inner, group);
      if (wants_bound) largest = larger(largest, largest_weight(packed, group));
      put_weights<Form>(group, lane, q);
      if (inner == 0) put_block_scales(parts, group, lane, block);
      if (parts.block_groups > 1) put_factors(parts, group, inner, lane, block);
      if (parts.has_zero_point)
        put_zero_point(parts, zero_point_of(group).value(), inner, lane, block);
    }
    block += parts.block_scale_bytes;
    row += block_bytes;
  }
  return largest;
}

float pack_quantized_row(const packed_matrix::state& packed, const std::byte* row, std::size_t lane,
                         std::uint8_t* panel) {
  switch (packed.parts().form) {
    case weight_form::nibbles:
      return pack_quantized_row<weight_form::nibbles>(packed, row, lane, panel);
    case weight_form::sixes:
      return pack_quantized_row<weight_form::sixes>(packed, row, lane, panel);
    case weight_form::bytes:
      return pack_quantized_row<weight_form::bytes>(packed, row, lane, panel);
  }
  TROUPE_CHECK(false);
}

// Weights that an f16 cannot hold have no bf16 of theirs: every output shows it.
void choose_scale(float largest, packed_matrix::state& packed) {
  constexpr float half_max = 65504.0f;
  packed.scale_shift = bf16_scale_shift_max;
  while (packed.scale_shift > 0 && !(std::ldexp(largest, packed.scale_shift) <= half_max))
    --packed.scale_shift;
  packed.output_factor = largest <= half_max
                             ? std::ldexp(1.0f, bf16_scale_shift_max - packed.scale_shift)
                             : std::numeric_limits<float>::quiet_NaN();
}

void pack_float_row(const packed_matrix::state& packed, const std::byte* row,
                    std::size_t element_bytes, std::size_t lane, std::uint8_t* panel) {
  for (std::size_t k = 0; k < packed.column_count; ++k) {
    std::memcpy(panel + (k * panel_outputs + lane) * element_bytes, row + k * element_bytes,
                element_bytes);
  }
}

// With memory for its panels.
void choose_format(packing format, const dtype_layout& layout, packed_matrix::state& packed) {
  packed.format = format;
  std::size_t panel_bytes = packed.column_count * panel_outputs * layout.block_bytes;  // of floats
  if (packed.quantized) {
    const quantized_packing& parts = packed.parts();
    const int offset = quantized_offset(packed.type);
    packed.offset_shift = parts.has_zero_point ? zero_point_offset_shift
                          : offset != 0        ? std::countr_zero(static_cast<unsigned>(offset))
                                               : 0;
    panel_bytes = packed.group_count() * parts.group_bytes +
                  packed.group_count() / parts.block_groups * parts.block_scale_bytes;
  }
  packed.panel_bytes =
      (panel_bytes + buffer_alignment_bytes - 1) / buffer_alignment_bytes * buffer_alignment_bytes;
  if (packed.arena != nullptr) {
    packed.panels = packed.arena->allocate(packed.size_bytes());
  } else {
    packed.own_memory = aligned_buffer<std::uint8_t>(packed.size_bytes());
    packed.panels = packed.own_memory.data();
  }
}

/// All groups have a zero point.
bool fit_zero_points(const packed_matrix::state& packed, std::span<const std::byte> rows,
                     thread_pool& pool) {
  const std::size_t row_bytes = rows.size() / packed.row_count;
  std::atomic<bool> all_fit{true};
  pool.parallel_for(packed.panel_count(), [&](std::size_t index, std::size_t) {
    const std::size_t first = index * panel_outputs;
    const std::size_t end = std::min(first + panel_outputs, packed.row_count);
    quantized_group group;
    for (std::size_t row = first; row < end && all_fit.load(std::memory_order_relaxed); ++row) {
      const std::byte* const source = rows.data() + row * row_bytes;
      for (std::size_t g = 0; g < packed.group_count(); ++g) {
        read_group(packed.type, source, g, group);
        if (!zero_point_of(group)) all_fit.store(false, std::memory_order_relaxed);
      }
    }
  });
  return all_fit;
}

// Returns a bound of the weights, where they will be multiplied in bf16; NaN where one is.
float pack_rows(const packed_matrix::state& packed, std::span<const std::byte> rows,
                thread_pool& pool) {
  const std::size_t row_bytes = rows.size() / packed.row_count;
  std::vector<float> largest(packed.panel_count());
  pool.parallel_for(packed.panel_count(), [&](std::size_t index, std::size_t) {
    std::uint8_t* panel = packed.panels + index * packed.panel_bytes;
    for (std::size_t lane = 0; lane < panel_outputs; ++lane) {
      const std::size_t row = index * panel_outputs + lane;
      if (row >= packed.row_count) break;
      const std::byte* source = rows.data() + row * row_bytes;
      if (packed.quantized) {
        largest[index] = larger(largest[index], pack_quantized_row(packed, source, lane, panel));
      } else {
        pack_float_row(packed, source, row_bytes / packed.column_count, lane, panel);
      }
    }
  });
  return std::accumulate(largest.begin(), largest.end(), 0.0f, larger);
}

}  // namespace

minima faster_minima(isa set) noexcept {
  return detect_cpu_features().adds_beside_products && !multiplies_in_bf16(set)
             ? minima::zero_points
             : minima::as_in_file;
}

packed_matrix::packed_matrix(std::unique_ptr<state> owned) : state_(std::move(owned)) {}
packed_matrix::packed_matrix(packed_matrix&&) noexcept = default;
packed_matrix& packed_matrix::operator=(packed_matrix&&) noexcept = default;
packed_matrix::~packed_matrix() = default;

std::size_t packed_matrix::row_count() const noexcept {
  return state_->row_count;
}
std::size_t packed_matrix::column_count() const noexcept {
  return state_->column_count;
}
dtype packed_matrix::type() const noexcept {
  return state_->type;
}
isa packed_matrix::instruction_set() const noexcept {
  return state_->set;
}
bool packed_matrix::wants_quantized() const noexcept {
  return state_->quantized;
}
std::size_t packed_matrix::size_bytes() const noexcept {
  return state_->size_bytes();
}
std::size_t packed_matrix::group_count() const noexcept {
  return state_->quantized ? state_->panel_count() * state_->group_count() : 0;
}

result<packed_matrix> packed_matrix::pack(isa set, dtype type, std::span<const std::byte> rows,
                                          std::size_t row_count, std::size_t column_count,
                                          thread_pool& pool, std::shared_ptr<page_arena> arena,
                                          std::optional<minima> named_minima) {
  const auto layout = layout_of(type);
  if (!layout) {
    return error{errc::unsupported, fmt::format("cannot multiply by tensor type code {}",
                                                static_cast<std::uint32_t>(type))};
  }
  if (!is_supported(set)) {
    return error{errc::unsupported,
                 fmt::format("this machine cannot run the instruction set '{}'", to_string(set))};
  }
  if (row_count == 0 || column_count == 0 || column_count % layout->block_elements != 0) {
    return error{errc::invalid_argument,
                 fmt::format("a {} x {} matrix is not rows of whole {} blocks of {}", row_count,
                             column_count, layout->name, layout->block_elements)};
  }
  // The counts come from a file: they are compared by division, which cannot overflow. No packed
  // format takes more than twice the bytes of the file's.
  const std::size_t row_blocks = column_count / layout->block_elements;
  if (rows.size() % layout->block_bytes != 0 ||
      rows.size() / layout->block_bytes / row_blocks != row_count ||
      rows.size() / layout->block_bytes % row_blocks != 0) {
    return error{errc::invalid_argument,
                 fmt::format("{} bytes are not {} x {} elements of {}", rows.size(), row_count,
                             column_count, layout->name)};
  }
  auto packed = std::make_unique<state>();
  packed->type = type;
  packed->set = set;
  packed->quantized = is_quantized(type);
  packed->row_count = row_count;
  packed->column_count = column_count;
  packed->arena = std::move(arena);
  packing format = packing_of(type, set, false);
  if (const packing other = packing_of(type, set, true);
      other != format && !multiplies_in_bf16(set) &&
      named_minima.value_or(faster_minima(set)) == minima::zero_points &&
      fit_zero_points(*packed, rows, pool)) {
    format = other;
  }
  choose_format(format, *layout, *packed);
  const float largest = pack_rows(*packed, rows, pool);
  if (packed->quantized && multiplies_in_bf16(set)) choose_scale(largest, *packed);
  return packed_matrix(std::move(packed));
}

}  // namespace troupe::kernels
