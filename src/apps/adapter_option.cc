#include "apps/adapter_option.h"

#include <algorithm>
#include <cstdlib>

namespace sedge::apps {

AdapterFile parse_adapter_file(const std::string& text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals + 1 == text.size()) return {text};
  char* end = nullptr;
  const double scale = std::strtod(text.c_str() + equals + 1, &end);
  return *end == 0 ? AdapterFile{text.substr(0, equals), scale} : AdapterFile{text};
}

Result<std::vector<engine::AdapterUse>> load_adapters(const std::shared_ptr<const engine::Model>& model,
                                                      std::span<const std::string> options) {
  std::vector<engine::AdapterUse> uses;
  for (const std::string& option : options) {
    const AdapterFile file = parse_adapter_file(option);
    SEDGE_TRY(auto adapter, engine::Adapter::load(file.path, model));
    uses.push_back({std::move(adapter), static_cast<float>(file.scale)});
  }
  SEDGE_CHECK(engine::check_adapters(*model, uses));
  return uses;
}

Result<std::vector<platform::AdapterOptions>> parse_offered_adapters(std::span<const std::string> options) {
  std::vector<platform::AdapterOptions> all;
  for (const std::string& option : options) {
    const std::size_t equals = option.find('=');
    const std::string named = option.substr(0, equals);
    const std::size_t at = std::min(named.find('@'), named.size());
    const std::string name = named.substr(0, at), base = named.substr(std::min(at + 1, named.size()));
    if (equals == std::string::npos || equals + 1 == option.size() || name.empty()) {
      return fail(Code::kInvalidArgument, "--lora '{}': write it as NAME=FILE, NAME=FILE=SCALE or NAME@BASE=FILE",
                  option);
    }
    auto found = std::ranges::find(all, name, &platform::AdapterOptions::name);
    if (found == all.end()) found = all.insert(all.end(), {.name = name, .base = base, .files = {}});
    if (found->base != base) {
      return fail(Code::kInvalidArgument, "--lora '{}': adapters that are stacked have one base, '{}' has '{}'", option,
                  name, found->base);
    }
    const AdapterFile file = parse_adapter_file(option.substr(equals + 1));
    found->files.push_back({file.path, static_cast<float>(file.scale)});
  }
  return all;
}

}  // namespace sedge::apps
