// Sixteen floats in an AVX-512 register, for code that is written once for several widths. Include
// it from *_avx512.cpp and *_amx.cpp only: the anonymous namespace keeps whatever is compiled with
// these instructions out of the rest of the program, which must run without them.
#pragma once

// GCC 12 takes the undefined merge operands in its own header for uses of uninitialized variables
// (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstddef>
#include <cstdint>

namespace troupe::kernels {
namespace {

struct simd_avx512 {
  static constexpr std::size_t width = 16;
  __m512 value;

  static simd_avx512 zero() { return {_mm512_setzero_ps()}; }
  static simd_avx512 broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static simd_avx512 load(const float* from) { return {_mm512_loadu_ps(from)}; }
  /// The first count lanes, zero in the others; reads nothing behind them.
  static simd_avx512 load_first(const float* from, std::size_t count) {
    return {_mm512_maskz_loadu_ps(first_lanes(count), from)};
  }
  /// The first count lanes of x, at most all, and those of other behind them.
  static simd_avx512 first_of(simd_avx512 x, std::size_t count, simd_avx512 other) {
    return {_mm512_mask_mov_ps(other.value, first_lanes(count), x.value)};
  }
  static simd_avx512 load_f16(const std::uint16_t* from) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
  }
  static simd_avx512 load_bf16(const std::uint16_t* from) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
  void store(float* to) const { _mm512_storeu_ps(to, value); }
  void store_first(float* to, std::size_t count) const {
    _mm512_mask_storeu_ps(to, first_lanes(count), value);
  }
  void store_f16(std::uint16_t* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  /// Round to nearest even in integers, as float_to_bfloat does it; NaN is kept quiet.
  void store_bf16(std::uint16_t* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(bf16_lanes()));
  }
  /// The same to the first (0) or the second (1) of each of 16 pairs; leaves the others alone.
  void store_bf16_in_pairs(std::uint16_t* pairs, std::size_t which) const {
    const __mmask32 firsts = 0x55555555;
    const __m512i lanes = bf16_lanes();
    if (which == 0) {
      _mm512_mask_storeu_epi16(pairs, firsts, lanes);
    } else {
      _mm512_mask_storeu_epi16(pairs, ~firsts, _mm512_slli_epi32(lanes, 16));
    }
  }

  friend simd_avx512 operator+(simd_avx512 a, simd_avx512 b) {
    return {_mm512_add_ps(a.value, b.value)};
  }
  friend simd_avx512 operator-(simd_avx512 a, simd_avx512 b) {
    return {_mm512_sub_ps(a.value, b.value)};
  }
  friend simd_avx512 operator*(simd_avx512 a, simd_avx512 b) {
    return {_mm512_mul_ps(a.value, b.value)};
  }
  friend simd_avx512 operator/(simd_avx512 a, simd_avx512 b) {
    return {_mm512_div_ps(a.value, b.value)};
  }
  /// a * b + c, rounded once.
  static simd_avx512 fma(simd_avx512 a, simd_avx512 b, simd_avx512 c) {
    return {_mm512_fmadd_ps(a.value, b.value, c.value)};
  }
  /// a * b - c, rounded once.
  static simd_avx512 fms(simd_avx512 a, simd_avx512 b, simd_avx512 c) {
    return {_mm512_fmsub_ps(a.value, b.value, c.value)};
  }
  /// a > b ? a : b, so b where either is NaN.
  static simd_avx512 max(simd_avx512 a, simd_avx512 b) { return {_mm512_max_ps(a.value, b.value)}; }
  /// a < b ? a : b, so b where either is NaN.
  static simd_avx512 min(simd_avx512 a, simd_avx512 b) { return {_mm512_min_ps(a.value, b.value)}; }
  /// p * 2^n for a result that is normal, infinite or NaN. n is integral, in [-126, 129].
  static simd_avx512 scale_by_power(simd_avx512 p, simd_avx512 n) {
    return {_mm512_scalef_ps(p.value, n.value)};
  }
  /// x < bound ? 0 : result.
  static simd_avx512 zero_below(simd_avx512 x, simd_avx512 bound, simd_avx512 result) {
    return {
        _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.value, bound.value, _CMP_NLT_UQ), result.value)};
  }

  /// Lane by lane the larger of a magnitude and that of x, NaN being the largest: they compare as
  /// integers.
  static simd_avx512 larger_magnitude(simd_avx512 magnitudes, simd_avx512 x) {
    return {_mm512_castsi512_ps(
        _mm512_max_epi32(_mm512_castps_si512(magnitudes.value), magnitude_bits(x)))};
  }
  [[nodiscard]] float largest_magnitude() const {
    return __builtin_bit_cast(float, _mm512_reduce_max_epi32(magnitude_bits(*this)));
  }
  /// Rounds to nearest even integers, which fit 16 bits.
  void store_words(std::uint16_t* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(value)));
  }

  /// Lanes folded by halves: (0 + 8, 1 + 9, ...), then by fours, twos and ones.
  [[nodiscard]] float sum() const {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps(value, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
  /// The largest lane. No lane is NaN.
  [[nodiscard]] float largest() const {
    __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps(value, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  }

  /// Lane i: the sum() of vectors[i].
  static simd_avx512 sums_of(const simd_avx512 (&vectors)[width]) {
    return folded(vectors, [](simd_avx512 a, simd_avx512 b) { return a + b; });
  }
  /// Lane i: the largest() of vectors[i]. No lane is NaN.
  static simd_avx512 largest_of(const simd_avx512 (&vectors)[width]) {
    return folded(vectors, [](simd_avx512 a, simd_avx512 b) { return max(a, b); });
  }

  /// (a0, b0, a1, b1, ...) -> (b0, a0, b1, a1, ...).
  static simd_avx512 swap_pairs(simd_avx512 x) { return {_mm512_permute_ps(x.value, 0xB1)}; }
  /// width / 2 values, each twice: (c0, c0, c1, c1, ...).
  static simd_avx512 load_twice(const float* from) {
    const __m512i order = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return {_mm512_permutexvar_ps(order, _mm512_castps256_ps512(_mm256_loadu_ps(from)))};
  }
  /// Even lanes a * b - c, odd lanes a * b + c, rounded once.
  static simd_avx512 fma_sub_add(simd_avx512 a, simd_avx512 b, simd_avx512 c) {
    return {_mm512_fmaddsub_ps(a.value, b.value, c.value)};
  }

  /// 16 pairs of bf16 values or of 16-bit integers: the first of a pair in the low half of a lane.
  struct pairs {
    __m512i bits;
  };
  static pairs load_pairs(const std::uint16_t* from) {
    __m512i bits = _mm512_loadu_si512(from);
    // Once: GCC 12 would load it again for each of the products that it is in.
    asm("" : "+v"(bits));
    return {bits};
  }
  /// The first count pairs, zero in the others; reads nothing behind them.
  static pairs load_first_pairs(const std::uint16_t* from, std::size_t count) {
    return {_mm512_maskz_loadu_epi32(first_lanes(count), from)};
  }
  static pairs broadcast_pair(std::uint32_t pair) {
    return {_mm512_set1_epi32(static_cast<int>(pair))};
  }
  static pairs first_of_pairs(pairs x) {
    return {_mm512_and_si512(x.bits, _mm512_set1_epi32(0xFFFF))};
  }
  /// The first (second) of each pair of bf16 values.
  static simd_avx512 first_floats(pairs x) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(x.bits, 16))};
  }
  static simd_avx512 second_floats(pairs x) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000));
    return {_mm512_castsi512_ps(_mm512_and_si512(x.bits, upper))};
  }
  /// fma(first of a, first of b, fma(second of a, second of b, sum)), with denormals taken as zero.
  /// Without the instruction the caller sees to the latter (MXCSR).
#ifdef __AVX512BF16__
  static constexpr bool has_pair_dot = true;
  /// As bf16 would hold it, where it is not denormal.
  [[nodiscard]] simd_avx512 rounded_to_bf16() const {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16_bits()), 16))};
  }
  /// As tiles take it: what is denormal becomes zero before it is rounded.
  void store_flushed_bf16(std::uint16_t* to) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bf16_bits());
  }
  [[nodiscard]] __m256i bf16_bits() const {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
  }
  /// store_bf16, where it is not denormal.
  void store_normal_bf16(std::uint16_t* to) const {
    store_flushed_bf16(to);
  }
  static simd_avx512 add_dot(simd_avx512 sum, pairs a, pairs b) {
    return {_mm512_dpbf16_ps(sum.value, reinterpret_cast<__m512bh>(a.bits),
                             reinterpret_cast<__m512bh>(b.bits))};
  }
#else
  static constexpr bool has_pair_dot = false;
  void store_normal_bf16(std::uint16_t* to) const {
    store_bf16(to);
  }
  static simd_avx512 add_dot(simd_avx512 sum, pairs a, pairs b) {
    return fma(first_floats(a), first_floats(b), fma(second_floats(a), second_floats(b), sum));
  }
#endif

  /// The low (high) bytes of the 16-bit halves, with their signs.
  static pairs low_bytes(pairs x) {
    return high_bytes({_mm512_slli_epi16(x.bits, 8)});
  }
  static pairs high_bytes(pairs x) {
    return {_mm512_srai_epi16(x.bits, 8)};
  }
  /// Lanes of 32 bits. As __m512i, the type of all integer vectors, GCC 12 would keep two copies of
  /// a sum in a loop.
  struct integers {
    std::int32_t value __attribute__((vector_size(64)));
  };
  static integers zero_integers() {
    return with_bits(_mm512_setzero_si512());
  }
  /// sum + first of a * first of b + second of a * second of b: exact where it fits 32 bits.
  static integers add_dot(integers sum, pairs a, pairs b) {
    return with_bits(_mm512_dpwssd_epi32(bits_of(sum), a.bits, b.bits));
  }
  static simd_avx512 to_floats(integers x) {
    return {_mm512_cvtepi32_ps(bits_of(x))};
  }

 private:
  /// All lanes of vectors[i] folded into lane i, in the order of sum(). Each step folds two
  /// vectors' halves into one vector: i, i + 4, i + 8 and i + 12 first, so that the lanes come out
  /// in order.
  template <class Fold>
  static simd_avx512 folded(const simd_avx512 (&vectors)[width], const Fold& fold) {
    const auto ps = [](simd_avx512 x) { return x.value; };
    const auto eights = [&](simd_avx512 a, simd_avx512 b) {
      return fold(simd_avx512{_mm512_shuffle_f32x4(ps(a), ps(b), 0x44)},
                  simd_avx512{_mm512_shuffle_f32x4(ps(a), ps(b), 0xEE)});
    };
    const auto fours = [&](simd_avx512 a, simd_avx512 b) {
      return fold(simd_avx512{_mm512_shuffle_f32x4(ps(a), ps(b), 0x88)},
                  simd_avx512{_mm512_shuffle_f32x4(ps(a), ps(b), 0xDD)});
    };
    const auto twos = [&](simd_avx512 a, simd_avx512 b) {
      const __m512d x = _mm512_castps_pd(ps(a)), y = _mm512_castps_pd(ps(b));
      return fold(simd_avx512{_mm512_castpd_ps(_mm512_unpacklo_pd(x, y))},
                  simd_avx512{_mm512_castpd_ps(_mm512_unpackhi_pd(x, y))});
    };
    simd_avx512 left[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      left[i] = fours(eights(vectors[i], vectors[i + 4]), eights(vectors[i + 8], vectors[i + 12]));
    }
    const simd_avx512 a = twos(left[0], left[1]), b = twos(left[2], left[3]);
    return fold(simd_avx512{_mm512_shuffle_ps(ps(a), ps(b), 0x88)},
                simd_avx512{_mm512_shuffle_ps(ps(a), ps(b), 0xDD)});
  }
  static __m512i bits_of(integers x) {
    return reinterpret_cast<__m512i>(x.value);
  }
  static integers with_bits(__m512i bits) {
    return {reinterpret_cast<decltype(integers::value)>(bits)};
  }
  /// The bf16 bits in the low half of each lane.
  [[nodiscard]] __m512i bf16_lanes() const {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i top = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(rounded, nan, top, _mm512_set1_epi32(0x40));
  }
  static __m512i magnitude_bits(simd_avx512 x) {
    return _mm512_and_si512(_mm512_castps_si512(x.value), _mm512_set1_epi32(0x7FFFFFFF));
  }
  static __mmask16 first_lanes(std::size_t count) {
    return static_cast<__mmask16>((1u << count) - 1u);
  }
};

}  // namespace
}  // namespace troupe::kernels
