// What steps of each model were measured to take, for all workers of a process: what one learns, all know.
#pragma once

#include <map>
#include <mutex>

#include "engine/model.h"
#include "engine/pacer.h"

namespace sedge::platform {

// Any thread calls it.
class Pacers {
 public:
  engine::Pacer of(const engine::Model& model) {
    const std::lock_guard lock(mutex_);
    return pacers_[&model];
  }
  void took(const engine::Model& model, std::size_t token_rows, std::size_t prompt_rows, Duration time) {
    const std::lock_guard lock(mutex_);
    pacers_[&model].took(token_rows, prompt_rows, time);
  }

 private:
  std::mutex mutex_;
  std::map<const engine::Model*, engine::Pacer> pacers_;
};

}  // namespace sedge::platform
