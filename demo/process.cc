#include "process.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace sedge::demo {
namespace {

Result<pid_t> spawn(const std::vector<std::string>& command, const posix_spawn_file_actions_t& actions) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  if (const int error = posix_spawn(&pid, arguments[0], &actions, nullptr, arguments.data(), environ); error != 0) {
    return fail(Code::kUnavailable, "cannot start {}: {}", command.front(), std::strerror(error));
  }
  return pid;
}

}  // namespace

Result<Process> Process::start(const std::vector<std::string>& command, const std::string& log) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  const auto pid = spawn(command, actions);
  posix_spawn_file_actions_destroy(&actions);
  if (!pid) return std::unexpected(pid.error());
  Process process;
  process.pid_ = *pid;
  return process;
}

Result<std::string> Process::output_of(const std::vector<std::string>& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Code::kUnavailable, "cannot make a pipe: {}", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  const auto pid = spawn(command, actions);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text;
  char chunk[4096];
  for (ssize_t got = 0; pid && (got = ::read(ends[0], chunk, sizeof chunk)) > 0;) {
    text.append(chunk, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  if (!pid) return std::unexpected(pid.error());
  Process process;
  process.pid_ = *pid;
  if (process.wait() != 0) return fail(Code::kUnknown, "{}: {}", command.front(), text);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

Process::~Process() {
  if (pid_ <= 0) return;
  signal(SIGKILL);
  wait();
}

void Process::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

int Process::wait() {
  if (pid_ <= 0) return 0;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace sedge::demo
