// torch.profiler's view of the device: the executor's time of each op.
#pragma once

namespace genie {

void register_profiler();

}  // namespace genie
