// One tensor of random values, made row by row so that a large one passes through in pieces. Internal to random*.cc.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/prng.h"
#include "kernels/formats/formats.h"
#include "model/gguf.h"

namespace sedge::model {

enum class RandomKind { kMatrix, kNormVector, kBiasVector };

// A matrix's rows are uniform within ±sqrt(3 / cols), so that a product keeps the size of its input; a norm is near 1,
// a bias within ±1/4.
class RandomTensor {
 public:
  // Shapes: GGUF order.   `coarse`: norms in steps of 1/1024, which can be taken from 1 and added to it exactly.
  RandomTensor(const std::vector<std::uint64_t>& shape, DType type, RandomKind kind, bool coarse, std::uint64_t seed)
      : cols_(static_cast<std::size_t>(shape[0])),
        kind_(kind),
        coarse_(coarse),
        format_(kernels::format_of(type)),
        prng_(seed) {
    for (std::size_t i = 1; i < shape.size(); ++i) rows_ *= static_cast<std::size_t>(shape[i]);
  }

  std::uint64_t bytes() const { return rows_ * row_bytes(); }

  Status run(const ByteSink& sink) {
    std::vector<float> values(cols_);
    Buffer piece(std::clamp((std::size_t{1} << 20) / row_bytes(), std::size_t{1}, rows_) * row_bytes());
    for (std::size_t row = 0, at = 0; row < rows_; ++row) {
      for (float& v : values) v = next();
      format_.quantize(values.data(), piece.data() + at, cols_);
      at += row_bytes();
      if (at < piece.size() && row + 1 < rows_) continue;
      SEDGE_CHECK(sink(Bytes(piece).first(at)));
      at = 0;
    }
    return {};
  }

 private:
  std::size_t row_bytes() const { return cols_ / format_.block_values * format_.block_bytes; }

  float next() {
    const double u = prng_.uniform();
    if (kind_ == RandomKind::kMatrix)
      return static_cast<float>(std::sqrt(3.0 / static_cast<double>(cols_)) * (2 * u - 1));
    if (kind_ == RandomKind::kBiasVector) return static_cast<float>(0.5 * u - 0.25);
    const double norm = 0.9 + 0.2 * u;
    return static_cast<float>(coarse_ ? std::nearbyint(norm * 1024) / 1024 : norm);
  }

  std::size_t cols_, rows_ = 1;
  RandomKind kind_;
  bool coarse_;
  const kernels::Format& format_;
  Prng prng_;
};

}  // namespace sedge::model
