// The Muon step for the matrices of a network: momentum whose singular values are all made about one.
//
// The problem: a gradient of a matrix is nearly of low rank; a few directions get all of the step, and rare ones, which
// are most of what a language model has to learn, hardly move. The idea: replace the momentum M = U·S·Vᵀ by U·Vᵀ,
// which five Newton-Schulz iterations approach with nothing but products: X <- a·X + (b·A + c·A²)·X with A = X·Xᵀ and X
// begun at M divided by its norm. Its coefficients are chosen for slope at zero, not for convergence: singular values
// end between 0.7 and 1.2, which is as good. The step is scaled by 0.2·sqrt(max(rows, cols)), which makes its entries
// as large as AdamW's, so that one learning rate and one decay serve both; embeddings and gains keep AdamW.
// Source: Jordan et al. 2024 (Muon); Liu et al. 2025, "Muon is scalable for LLM training", §2.2 (the scale).
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "train/backend.h"
#include "train/fused.h"

namespace sedge::train {

inline constexpr int kNewtonSchulzSteps = 5;

inline float muon_scale(std::size_t rows, std::size_t cols) {
  return 0.2F * std::sqrt(static_cast<float>(std::max(rows, cols)));
}

// Scratch of one worker, for matrices of up to `count` values whose smaller side is at most `side`.
template <class T>
class Orthogonalizer {
 public:
  Orthogonalizer(Backend& backend, std::size_t count, std::size_t side)
      : backend_(backend), x_(count), next_(count), square_(side * side), fourth_(side * side) {}

  // A place for the matrix, until the next call.
  Matrix<T> place(std::size_t rows, std::size_t cols) { return matrix(x_.data(), rows, cols); }

  // x [rows, cols], of norm at most 1, becomes what is nearest to it with singular values about 1.
  void run(const Matrix<T>& x) {
    const bool tall = x.rows > x.cols;
    const std::size_t side = std::min(x.rows, x.cols), count = x.rows * x.cols;
    const Matrix<T> square = matrix(square_.data(), side, side), fourth = matrix(fourth_.data(), side, side);
    const Matrix<T> next = matrix(next_.data(), x.rows, x.cols);
    for (int step = 0; step < kNewtonSchulzSteps; ++step) {
      tall ? backend_.product(x.t(), x, square) : backend_.product(x, x.t(), square);
      backend_.product(square, square, fourth);
      blend(square.data, kB, fourth.data, kC, side * side);
      tall ? backend_.product(x, square, next) : backend_.product(square, x, next);
      blend(x.data, kA, next.data, 1.0F, count);
    }
  }

 private:
  static constexpr float kA = 3.4445F, kB = -4.7750F, kC = 2.0315F;

  // x = a·x + b·y
  void blend(T* x, float a, const T* y, float b, std::size_t count) { fused().of<T>().blend(x, a, y, b, count); }

  Backend& backend_;
  std::vector<T> x_, next_, square_, fourth_;
};

}  // namespace sedge::train
