#pragma once

namespace gpt2 {

// Physical cores this process may use: those of its affinity mask, within the cgroup's CPU quota;
// at least 1. Two hardware threads of one core count once, since they share its vector units.
int physicalCpuCount();

}  // namespace gpt2
