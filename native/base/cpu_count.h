#pragma once

#include <string>

namespace gpt2 {

// Physical cores this process may use: those of its affinity mask, within the cgroup's CPU quota;
// at least 1. Two hardware threads of one core count once, since they share its vector units.
int physicalCpuCount();

#ifdef __linux__
// CPUs' worth of time that control groups grant: the smallest quota of the process's own group and
// the groups around it, or 0 if none sets one. `root` is the folder of control groups
// (/sys/fs/cgroup), `membershipFile` lists the process's own (/proc/self/cgroup). Reads version 2,
// then the quota of version 1's outermost group.
double cgroupCpuLimit(const std::string& root, const std::string& membershipFile);
#endif

}  // namespace gpt2
