// One row of GGUF elements to floats, in plain code: embedding lookups, norms and tests. Bit for
// bit what the `gguf` Python package's quants.dequantize gives: each product and each sum rounds
// once to float.
//   with a minimum:  w = scale * q + minimum        without:  w = scale * (q - offset)
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/dtype.hpp"
#include "kernels/base/result.hpp"

namespace troupe::kernels {

/// bytes: out.size() elements of `type`. Any alignment. Errors: invalid_argument when out.size() is
/// not whole blocks or bytes has another length than that many elements take; unsupported for a
/// type outside dtype.
result<void> dequantize_row(dtype type, std::span<const std::byte> bytes, std::span<float> out);

}  // namespace troupe::kernels
