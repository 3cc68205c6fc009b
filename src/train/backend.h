// The two things that training wants from a numerical library: matrix products and a loop over threads. Everything
// else in this room is plain C++ over memory, so libtorch stays behind one file (backend_torch.cc), and the
// network, the optimizer and resumption are tested with a plain backend where libtorch is not installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/assert.h"
#include "train/fused.h"

namespace sedge::train {

// A matrix in somebody's memory. `t()` is the same memory read the other way.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::size_t rows = 0, cols = 0;
  std::size_t row_stride = 0, col_stride = 1;

  Matrix t() const { return {data, cols, rows, col_stride, row_stride}; }
  Matrix top(std::size_t count) const { return {data, count, cols, row_stride, col_stride}; }
};

template <class T>
Matrix<T> matrix(T* data, std::size_t rows, std::size_t cols) {
  return {data, rows, cols, cols, 1};
}

class Backend {
 public:
  virtual ~Backend() = default;

  // c = a·b. Shapes: a [m, k], b [k, n], c [m, n]; c row-major, not overlapping.
  virtual void product(const Matrix<float>& a, const Matrix<float>& b, const Matrix<float>& c) = 0;
  virtual void product(const Matrix<Bf16>& a, const Matrix<Bf16>& b, const Matrix<Bf16>& c) = 0;

  // Runs task(0..count-1), each once, on at most threads() threads at a time.
  // task's second argument is below threads() and differs between tasks that run at one time.
  virtual void parallel(std::size_t count, const std::function<void(std::size_t task, std::size_t worker)>& task) = 0;

  virtual std::size_t threads() const = 0;

  // Whether products of Bf16 are faster than of float on this processor.
  virtual bool prefers_bf16() const = 0;
};

std::unique_ptr<Backend> make_plain_backend();                     // one thread, no library: for tests
std::unique_ptr<Backend> make_torch_backend(std::size_t threads);  // libtorch: oneDNN for bf16, its BLAS for float

}  // namespace sedge::train
