// The cases, by kernel. A name is KERNEL/MODEL/... and says all that --only may want to choose by;
// one that walks enough copies of its data to find none of them in a cache ends in /cold, others in
// /hot.
#pragma once

#include <filesystem>

#include "bench/kernels/kernel_runner.hpp"
#include "kernels/attention/attention.hpp"
#include "kernels/base/result.hpp"

namespace troupe::bench {

/// matmul/MODEL/MATRIX/TYPE/m=ROWS/cold: every matrix of a layer, and the head.
void run_matmul_cases(kernel_runner& runner);
/// attention/MODEL/KV_DTYPE/decode/b=BATCH/c=CONTEXT/cold and .../prefill/c=CONTEXT/cold.
void run_attention_cases(kernel_runner& runner);
/// quantize, rms_norm, rope, silu_mul and exp: KERNEL/MODEL/hot.
void run_row_cases(kernel_runner& runner);
/// sampling/MODEL/PARAMETERS/LOGITS/hot.
void run_sampling_cases(kernel_runner& runner);
struct forward_options {
  std::filesystem::path model;
  kernels::kv_dtype kv_type = kernels::kv_dtype::f16;
};
/// forward/decode/b=BATCH/c=CONTEXT and forward/prefill512/c=0 on a real model, and /part=NAME of
/// each. Errors are those of loading it.
result<void> run_forward_cases(kernel_runner& runner, const forward_options& options);

}  // namespace troupe::bench
