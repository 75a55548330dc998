// AMX's eight tile registers, for *_amx.cpp only: their shapes while something uses them, and the
// few instructions on them. GCC 12's intrinsics do not tell the compiler that they read and write
// memory; these do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::kernels {

namespace {

/// What LDTILECFG reads (palette 1): up to 16 rows of up to 64 bytes each.
class tile_shapes {
 public:
  void set(std::size_t tile, std::size_t rows, std::size_t row_bytes) {
    row_bytes_[tile] = static_cast<std::uint16_t>(row_bytes);
    rows_[tile] = static_cast<std::uint8_t>(rows);
  }

 private:
  friend class tile_registers;
  std::uint8_t palette_ = 1;
  std::uint8_t start_row_ = 0;
  std::uint8_t reserved_[14] = {};
  std::uint16_t row_bytes_[16] = {};
  std::uint8_t rows_[16] = {};
};
static_assert(sizeof(tile_shapes) == 64);

/// While it lives, the thread's tile registers have these shapes. Afterwards they hold nothing, so
/// that the operating system need not save them.
class tile_registers {
 public:
  explicit tile_registers(const tile_shapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes)); }
  ~tile_registers() { asm volatile("tilerelease" ::: "memory"); }
  tile_registers(const tile_registers&) = delete;
  tile_registers& operator=(const tile_registers&) = delete;
};

template <int Tile>
inline __attribute__((always_inline)) void load_tile(const void* from, std::size_t row_stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(Tile), "r"(from), "r"(row_stride) : "memory");
}

/// The same for what goes by: it does not push out of L1 what is read again.
template <int Tile>
inline __attribute__((always_inline)) void load_passing_tile(const void* from,
                                                             std::size_t row_stride) {
  asm volatile("tileloaddt1 (%1,%2,1), %%tmm%c0" ::"i"(Tile), "r"(from), "r"(row_stride)
               : "memory");
}

template <int Tile>
inline __attribute__((always_inline)) void store_tile(void* to, std::size_t row_stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(Tile), "r"(to), "r"(row_stride) : "memory");
}

template <int Tile>
inline __attribute__((always_inline)) void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
}

/// Sum[m][n] += (sum over k of Left[m][2 k] * Right[k][2 n]) + (the same of 2 k + 1 and 2 n + 1),
/// bf16 products in floats, k ascending by fused multiply-adds from zero; denormal inputs and
/// results count as zero.
template <int Sum, int Left, int Right>
inline __attribute__((always_inline)) void multiply_bf16_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Left), "i"(Right));
}

/// Sum[m][n] += sum over k and e of Left[m][4 k + e] * Right[k][4 n + e], bytes with signs in
/// 32-bit integers.
template <int Sum, int Left, int Right>
inline __attribute__((always_inline)) void multiply_byte_tiles() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Left), "i"(Right));
}

/// The same where the bytes of Right have no signs.
template <int Sum, int Left, int Right>
inline __attribute__((always_inline)) void multiply_signed_by_unsigned_byte_tiles() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Left), "i"(Right));
}

/// The same where the bytes of Left have no signs.
template <int Sum, int Left, int Right>
inline __attribute__((always_inline)) void multiply_unsigned_byte_tiles() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Left), "i"(Right));
}

}  // namespace

}  // namespace troupe::kernels
