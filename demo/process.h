// Child processes of the demo: started, killed and waited for by their own id only.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "base/result.h"

namespace sedge::demo {

class Process {
 public:
  // Standard output and error go to `log`. Errors: Unavailable with the system's reason.
  static Result<Process> start(const std::vector<std::string>& command, const std::string& log);
  // Runs to its end and returns its output. Errors: Unknown with what it said, when it exits other than 0.
  static Result<std::string> output_of(const std::vector<std::string>& command);

  Process() = default;
  Process(Process&& other) noexcept : pid_(other.pid_) { other.pid_ = -1; }
  Process& operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Process();  // SIGKILL, if it still runs

  void signal(int number) const;
  int wait();  // its exit status, or 128 + the signal that ended it
  bool running() const { return pid_ > 0; }

 private:
  pid_t pid_ = -1;
};

}  // namespace sedge::demo
