// Eight floats in an AVX register, for code that is written once for several widths. Include it
// from
// *_avx2.cpp only: the anonymous namespace keeps whatever is compiled with these instructions out
// of the rest of the program, which must run without them.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace troupe::kernels {
namespace {

struct simd_avx2 {
  static constexpr std::size_t width = 8;
  __m256 value;

  static simd_avx2 zero() { return {_mm256_setzero_ps()}; }
  static simd_avx2 broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static simd_avx2 load(const float* from) { return {_mm256_loadu_ps(from)}; }
  /// The first count lanes, zero in the others; reads nothing behind them.
  static simd_avx2 load_first(const float* from, std::size_t count) {
    return {_mm256_maskload_ps(from, first_lanes(count))};
  }
  /// The first count lanes of x, at most all, and those of other behind them.
  static simd_avx2 first_of(simd_avx2 x, std::size_t count, simd_avx2 other) {
    return {_mm256_blendv_ps(other.value, x.value, _mm256_castsi256_ps(first_lanes(count)))};
  }
  static simd_avx2 load_f16(const std::uint16_t* from) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
  }
  static simd_avx2 load_bf16(const std::uint16_t* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
  }
  void store(float* to) const { _mm256_storeu_ps(to, value); }
  void store_first(float* to, std::size_t count) const {
    _mm256_maskstore_ps(to, first_lanes(count), value);
  }
  void store_f16(std::uint16_t* to) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  /// Round to nearest even in integers, as float_to_bfloat does it; NaN is kept quiet.
  void store_bf16(std::uint16_t* to) const {
    const __m256i bits = _mm256_castps_si256(value);
    const __m256i top = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd), 16);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    const __m256i kept =
        _mm256_blendv_epi8(rounded, _mm256_or_si256(top, _mm256_set1_epi32(0x40)), nan);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(kept, kept), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
  }
  /// store_bf16, where it is not denormal.
  void store_normal_bf16(std::uint16_t* to) const { store_bf16(to); }

  friend simd_avx2 operator+(simd_avx2 a, simd_avx2 b) { return {_mm256_add_ps(a.value, b.value)}; }
  friend simd_avx2 operator-(simd_avx2 a, simd_avx2 b) { return {_mm256_sub_ps(a.value, b.value)}; }
  friend simd_avx2 operator*(simd_avx2 a, simd_avx2 b) { return {_mm256_mul_ps(a.value, b.value)}; }
  friend simd_avx2 operator/(simd_avx2 a, simd_avx2 b) { return {_mm256_div_ps(a.value, b.value)}; }
  /// a * b + c, rounded once.
  static simd_avx2 fma(simd_avx2 a, simd_avx2 b, simd_avx2 c) {
    return {_mm256_fmadd_ps(a.value, b.value, c.value)};
  }
  /// a * b - c, rounded once.
  static simd_avx2 fms(simd_avx2 a, simd_avx2 b, simd_avx2 c) {
    return {_mm256_fmsub_ps(a.value, b.value, c.value)};
  }
  /// a > b ? a : b, so b where either is NaN.
  static simd_avx2 max(simd_avx2 a, simd_avx2 b) { return {_mm256_max_ps(a.value, b.value)}; }
  /// a < b ? a : b, so b where either is NaN.
  static simd_avx2 min(simd_avx2 a, simd_avx2 b) { return {_mm256_min_ps(a.value, b.value)}; }
  /// p * 2^n for a result that is normal, infinite or NaN. n is integral, in [-126, 129]. In two
  /// factors, because 2^129 is no float; the first product is exact.
  static simd_avx2 scale_by_power(simd_avx2 p, simd_avx2 n) {
    const __m256i power = _mm256_cvtps_epi32(n.value);
    const __m256i half = _mm256_srai_epi32(power, 1);
    return p * power_of_two(half) * power_of_two(_mm256_sub_epi32(power, half));
  }
  /// x < bound ? 0 : result.
  static simd_avx2 zero_below(simd_avx2 x, simd_avx2 bound, simd_avx2 result) {
    return {_mm256_andnot_ps(_mm256_cmp_ps(x.value, bound.value, _CMP_LT_OQ), result.value)};
  }

  /// Lane by lane the larger of a magnitude and that of x, NaN being the largest: they compare as
  /// integers.
  static simd_avx2 larger_magnitude(simd_avx2 magnitudes, simd_avx2 x) {
    return {_mm256_castsi256_ps(
        _mm256_max_epi32(_mm256_castps_si256(magnitudes.value), magnitude_bits(x)))};
  }
  [[nodiscard]] float largest_magnitude() const {
    const __m256i eight = magnitude_bits(*this);
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1));
    return __builtin_bit_cast(float, _mm_cvtsi128_si32(four));
  }
  /// Rounds to nearest even integers, which fit 16 bits.
  void store_words(std::uint16_t* to) const {
    const __m256i rounded = _mm256_cvtps_epi32(value);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(to),
        _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1)));
  }

  /// Lanes folded by halves: (0 + 4, 1 + 5, ...), then by twos and ones.
  [[nodiscard]] float sum() const {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
  /// The largest lane. No lane is NaN.
  [[nodiscard]] float largest() const {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  }

  /// (a0, b0, a1, b1, ...) -> (b0, a0, b1, a1, ...).
  static simd_avx2 swap_pairs(simd_avx2 x) { return {_mm256_permute_ps(x.value, 0xB1)}; }
  /// width / 2 values, each twice: (c0, c0, c1, c1, ...).
  static simd_avx2 load_twice(const float* from) {
    const __m256i order = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return {_mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)), order)};
  }
  /// Even lanes a * b - c, odd lanes a * b + c, rounded once.
  static simd_avx2 fma_sub_add(simd_avx2 a, simd_avx2 b, simd_avx2 c) {
    return {_mm256_fmaddsub_ps(a.value, b.value, c.value)};
  }

  /// 8 pairs of bf16 values or of 16-bit integers: the first of a pair in the low half of a lane.
  struct pairs {
    __m256i bits;
  };
  static pairs load_pairs(const std::uint16_t* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))};
  }
  /// The first count pairs, zero in the others; reads nothing behind them.
  static pairs load_first_pairs(const std::uint16_t* from, std::size_t count) {
    return {_mm256_maskload_epi32(reinterpret_cast<const int*>(from), first_lanes(count))};
  }
  static pairs broadcast_pair(std::uint32_t pair) {
    return {_mm256_set1_epi32(static_cast<int>(pair))};
  }
  static pairs first_of_pairs(pairs x) {
    return {_mm256_and_si256(x.bits, _mm256_set1_epi32(0xFFFF))};
  }
  /// fma(first of a, first of b, fma(second of a, second of b, sum)). The caller sees to it that
  /// denormals are taken as zero (MXCSR).
  static constexpr bool has_pair_dot = false;
  static simd_avx2 add_dot(simd_avx2 sum, pairs a, pairs b) {
    return fma(first_floats(a), first_floats(b), fma(second_floats(a), second_floats(b), sum));
  }

  /// The low (high) bytes of the 16-bit halves, with their signs.
  static pairs low_bytes(pairs x) { return high_bytes({_mm256_slli_epi16(x.bits, 8)}); }
  static pairs high_bytes(pairs x) { return {_mm256_srai_epi16(x.bits, 8)}; }
  /// Lanes of 32 bits. As __m256i, the type of all integer vectors, GCC 12 would keep two copies of
  /// a sum in a loop.
  struct integers {
    std::int32_t value __attribute__((vector_size(32)));
  };
  static integers zero_integers() { return with_bits(_mm256_setzero_si256()); }
  /// sum + first of a * first of b + second of a * second of b: exact where it fits 32 bits.
  static integers add_dot(integers sum, pairs a, pairs b) {
    return with_bits(_mm256_add_epi32(bits_of(sum), _mm256_madd_epi16(a.bits, b.bits)));
  }
  static simd_avx2 to_floats(integers x) { return {_mm256_cvtepi32_ps(bits_of(x))}; }

 private:
  static __m256i bits_of(integers x) { return reinterpret_cast<__m256i>(x.value); }
  static integers with_bits(__m256i bits) {
    return {reinterpret_cast<decltype(integers::value)>(bits)};
  }
  static __m256i magnitude_bits(simd_avx2 x) {
    return _mm256_and_si256(_mm256_castps_si256(x.value), _mm256_set1_epi32(0x7FFFFFFF));
  }
  static simd_avx2 first_floats(pairs x) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(x.bits, 16))};
  }
  static simd_avx2 second_floats(pairs x) {
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xFFFF0000));
    return {_mm256_castsi256_ps(_mm256_and_si256(x.bits, upper))};
  }
  static __m256i first_lanes(std::size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static simd_avx2 power_of_two(__m256i power) {
    return {_mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(power, _mm256_set1_epi32(127)), 23))};
  }
};

}  // namespace
}  // namespace troupe::kernels
