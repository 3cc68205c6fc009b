// The definition of a backend: loops in the order of the formula.
#include <vector>

#include "train/backend.h"

namespace sedge::train {
namespace {

template <class T>
void multiply(const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& c) {
  SEDGE_ASSERT(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols && c.col_stride == 1);
  std::vector<float> row(c.cols);
  for (std::size_t i = 0; i < c.rows; ++i) {
    row.assign(c.cols, 0.0F);
    for (std::size_t k = 0; k < a.cols; ++k) {
      const float left = to_float(a.data[i * a.row_stride + k * a.col_stride]);
      const T* right = b.data + k * b.row_stride;
      for (std::size_t j = 0; j < c.cols; ++j) row[j] += left * to_float(right[j * b.col_stride]);
    }
    for (std::size_t j = 0; j < c.cols; ++j) c.data[i * c.row_stride + j] = from_float<T>(row[j]);
  }
}

class PlainBackend final : public Backend {
 public:
  void product(const Matrix<float>& a, const Matrix<float>& b, const Matrix<float>& c) override { multiply(a, b, c); }
  void product(const Matrix<Bf16>& a, const Matrix<Bf16>& b, const Matrix<Bf16>& c) override { multiply(a, b, c); }
  void parallel(std::size_t count, const std::function<void(std::size_t, std::size_t)>& task) override {
    for (std::size_t i = 0; i < count; ++i) task(i, 0);
  }
  std::size_t threads() const override { return 1; }
  bool prefers_bf16() const override { return false; }
};

}  // namespace

std::unique_ptr<Backend> make_plain_backend() { return std::make_unique<PlainBackend>(); }

}  // namespace sedge::train
