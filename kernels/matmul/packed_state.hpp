// What a packed_matrix holds. Private to packing and dispatch.
#pragma once

#include "kernels/matmul/matmul.hpp"
#include "kernels/matmul/packed_layout.hpp"

namespace troupe::kernels {

struct packed_matrix::state {
  dtype type = dtype::f32;
  isa set = isa::reference;
  packing format = packing::f32;
  bool quantized = false;
  int offset_shift = 0;
  int scale_shift = 0;         // of bf16
  float output_factor = 1.0f;  // of bf16
  std::size_t row_count = 0;
  std::size_t column_count = 0;
  std::size_t panel_bytes = 0;
  std::uint8_t* panels = nullptr;  // panel_count() * panel_bytes, in one of:
  aligned_buffer<std::uint8_t> own_memory;
  std::shared_ptr<page_arena> arena;

  [[nodiscard]] std::size_t panel_count() const noexcept {
    return (row_count + panel_outputs - 1) / panel_outputs;
  }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return panel_count() * panel_bytes; }
  [[nodiscard]] const quantized_packing& parts() const noexcept {
    return quantized_packings[static_cast<std::size_t>(format)];
  }
  [[nodiscard]] std::size_t group_count() const noexcept {
    return (column_count + activation_group_size - 1) / activation_group_size;
  }
};

}  // namespace troupe::kernels
