#include "host.h"

namespace genie {
namespace {

std::unique_ptr<Host>& slot() {
  static auto* host = new std::unique_ptr<Host>();
  return *host;
}

}  // namespace

Host& host() {
  TORCH_CHECK(has_host(), "remote_accelerator is not initialised: import genie_core");
  return *slot();
}
bool has_host() { return slot() != nullptr; }
void set_host(std::unique_ptr<Host> host) { slot() = std::move(host); }

}  // namespace genie
