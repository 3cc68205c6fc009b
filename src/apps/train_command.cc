// sedge train: hands over to sedge-train, which stands beside this program. Training links libtorch (400 ms and
// 161 MB to start); a node must never pay for that, so the two are separate programs and this is all they share.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

#include "apps/command.h"

namespace sedge::apps {
namespace {

Status exec_trainer(const std::vector<std::string>& arguments) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path trainer = self.parent_path() / "sedge-train";
  if (error || access(trainer.c_str(), X_OK) != 0) {
    return fail(Code::kFailedPrecondition,
                "{} is not there: training is an optional part. Install it with\n"
                "  apt-get install libtorch-dev libopenblas0-openmp\nand build again: ./dev build --train",
                trainer.string());
  }
  std::string name = trainer.string();
  std::vector<std::string> words = arguments;
  std::vector<char*> argv{name.data()};
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(name.c_str(), argv.data());
  return fail(Code::kUnknown, "{}: {}", name, std::strerror(errno));
}

}  // namespace

void add_train(Commands& commands) {
  CLI::App* train = commands.add(commands.root(), "train", "Trains a model from a recipe, text or JSONL (--help: all)",
                                 "sedge train models/heron/heron.toml");
  train->prefix_command();  // every word after it is the trainer's
  train->set_help_flag();   // --help too: the trainer knows its options
  commands.on(train, [train] { return exec_trainer(train->remaining()); });
}

}  // namespace sedge::apps
