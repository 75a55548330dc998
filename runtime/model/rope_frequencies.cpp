#include "runtime/model/rope_frequencies.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "config/limits.hpp"
#include "runtime/model/gguf_parser.hpp"

namespace troupe {

namespace {

// Which pairs YaRN interpolates, as it stands in the metadata.
struct yarn_parameters {
  double base = 0.0;
  double factor = 1.0;
  double original_context = 0.0;  // tokens
  double beta_fast = 32.0;        // rotations over the original context: more are left alone
  double beta_slow = 1.0;         // fewer are interpolated fully
};

// The pair that turns `rotations` times over the original context (YaRN paper, section 3.2), a real
// number.
double yarn_pair_of(const yarn_parameters& yarn, double rotations, double dimension_count) {
  return dimension_count * std::log(yarn.original_context / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(yarn.base));
}

// Peng et al. 2023, "YaRN", NTK-by-parts: pairs below `low` keep their frequency, pairs above
// `high` are divided by the factor, and between them the two are mixed linearly. The rounding of
// the bounds is that of transformers and llama.cpp.
void apply_yarn(const yarn_parameters& yarn, std::vector<double>& frequencies) {
  const double dimension_count = 2.0 * static_cast<double>(frequencies.size());
  const double low = std::max(0.0, std::floor(yarn_pair_of(yarn, yarn.beta_fast, dimension_count)));
  const double high = std::min(dimension_count - 1.0,
                               std::ceil(yarn_pair_of(yarn, yarn.beta_slow, dimension_count)));
  const double width = std::max(0.001, high - low);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / width, 0.0, 1.0);
    frequencies[i] = frequencies[i] * (1.0 - ramp) + frequencies[i] / yarn.factor * ramp;
  }
}

// Llama 3 scaling comes as divisors, one a pair, that the converter computed.
result<> divide_by_file_factors(const gguf_file& file, std::vector<double>& frequencies) {
  const gguf_tensor* factors = file.find_tensor(rope_factors_tensor);
  if (factors == nullptr) return {};
  if (factors->type != dtype::f32 || factors->row_count() != 1 ||
      factors->column_count() != frequencies.size()) {
    return error{
        errc::corrupt,
        fmt::format(
            "{}: tensor {} has the shape [{}]; expected F32 [{}], half the rotated elements",
            file.name(), rope_factors_tensor, fmt::join(factors->dimensions, ", "),
            frequencies.size())};
  }
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    float factor = 0.0f;
    std::memcpy(&factor, factors->data.data() + i * sizeof factor, sizeof factor);
    if (!(factor > 0.0f && static_cast<double>(factor) <= limits::model_rope_factor_max)) {
      return error{
          errc::corrupt,
          fmt::format("{}: tensor {} holds {} at {}; expected more than 0 and at most {}",
                      file.name(), rope_factors_tensor, factor, i, limits::model_rope_factor_max)};
    }
    frequencies[i] /= static_cast<double>(factor);
  }
  return {};
}

// What `factor` interpolates takes sharper attention to stay as peaked (YaRN paper, equation 22):
// sqrt(1/t) = 0.1 ln(factor) + 1, here on cos and sin of both Q and K.
double yarn_attention_factor(double factor) {
  return factor <= 1.0 ? 1.0 : 0.1 * std::log(factor) + 1.0;
}

// Multiplies frequencies, sets the attention factor; returns the extended context length.
result<std::size_t> scale_by_yarn(const metadata_reader& metadata, yarn_parameters yarn,
                                  std::size_t context_length, rope_description& rope) {
  for (const char* suffix : {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_log_multiplier"}) {
    // 1 is the plain method; a multiplier of 0 means none. No model of these architectures has
    // others.
    if (!metadata.has(suffix)) continue;
    TROUPE_TRY(const double value, metadata.file().get_double(metadata.key(suffix)));
    const double plain = std::string_view(suffix).ends_with("ext_factor") ? 1.0 : 0.0;
    if (value != plain) {
      return error{errc::unsupported,
                   fmt::format("{}: {} is {}; only {} is supported", metadata.file().name(),
                               metadata.key(suffix), value, plain)};
    }
  }
  if (yarn.base <= 1.0) {
    return error{errc::corrupt,
                 fmt::format("{}: YaRN needs {} above 1, it is {}", metadata.file().name(),
                             metadata.key("rope.freq_base"), yarn.base)};
  }
  TROUPE_TRY(const std::size_t original,
             metadata.get_size("rope.scaling.original_context_length",
                               limits::model_context_tokens_max, context_length));
  yarn.original_context = static_cast<double>(original);
  TROUPE_TRY(yarn.beta_fast, metadata.get_positive("rope.scaling.yarn_beta_fast",
                                                   limits::model_yarn_beta_max, yarn.beta_fast));
  TROUPE_TRY(yarn.beta_slow, metadata.get_positive("rope.scaling.yarn_beta_slow",
                                                   limits::model_yarn_beta_max, yarn.beta_slow));
  // The converter writes transformers' attention_factor here, which replaces the formula.
  TROUPE_TRY(const double attention,
             metadata.get_positive("rope.scaling.yarn_attn_factor", limits::model_rope_factor_max,
                                   yarn_attention_factor(yarn.factor)));
  apply_yarn(yarn, rope.frequencies);
  rope.attention_factor = static_cast<float>(attention);
  const double extended = std::floor(yarn.original_context * yarn.factor);
  return static_cast<std::size_t>(
      std::min(extended, static_cast<double>(limits::model_context_tokens_max)));
}

// The factor under either of its names; 1 when absent or 0, which older writers used for "none".
result<double> read_factor(const metadata_reader& metadata) {
  for (const char* suffix : {"rope.scaling.factor", "rope.scale_linear"}) {
    if (!metadata.has(suffix)) continue;
    TROUPE_TRY(const double value, metadata.file().get_double(metadata.key(suffix)));
    if (value == 0.0) return 1.0;
    return metadata.get_positive(suffix, limits::model_rope_factor_max);
  }
  return 1.0;
}

}  // namespace

result<rope_result> read_rope(const metadata_reader& metadata, rope_pairing pairing,
                              std::size_t head_dim, std::size_t context_length) {
  rope_result out;
  rope_description& rope = out.rope;
  rope.pairing = pairing;
  TROUPE_TRY(rope.dimension_count, metadata.get_size("rope.dimension_count", head_dim, head_dim));
  if (rope.dimension_count % 2 != 0) {
    return error{errc::corrupt,
                 fmt::format("{}: {} rotated elements a head ({}); expected an even number",
                             metadata.file().name(), rope.dimension_count,
                             metadata.key("rope.dimension_count"))};
  }
  TROUPE_TRY(const double base,
             metadata.get_positive("rope.freq_base", limits::model_rope_base_max, 10'000.0));
  rope.frequencies.resize(rope.dimension_count / 2);
  for (std::size_t i = 0; i < rope.frequencies.size(); ++i) {
    rope.frequencies[i] =
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dimension_count));
  }
  TROUPE_TRY_VOID(divide_by_file_factors(metadata.file(), rope.frequencies));

  std::string type = "linear";  // what a factor without a type means
  if (metadata.has("rope.scaling.type")) {
    TROUPE_TRY(type, metadata.file().get_string(metadata.key("rope.scaling.type")));
  }
  TROUPE_TRY(const double factor, read_factor(metadata));
  if (type == "linear") {
    for (double& frequency : rope.frequencies) frequency /= factor;
  } else if (type == "yarn") {
    TROUPE_TRY(out.extended_context_length,
               scale_by_yarn(metadata, {.base = base, .factor = factor}, context_length, rope));
  } else if (type != "none") {
    return error{
        errc::unsupported,
        fmt::format("{}: {} is {}; this build knows none, linear and yarn (and Llama 3's, by {})",
                    metadata.file().name(), metadata.key("rope.scaling.type"), printable(type),
                    rope_factors_tensor)};
  }
  // A factor on top of any kind of scaling.
  TROUPE_TRY(const double extra,
             metadata.get_positive("rope.scaling.attn_factor", limits::model_rope_factor_max, 1.0));
  rope.attention_factor *= static_cast<float>(extra);
  return out;
}

}  // namespace troupe
