#pragma once

#include <string>

namespace gpt2 {

// Physical cores this process may use: those of its affinity mask, within the cgroup's CPU quota;
// at least 1. Two hardware threads of one core count once, since they share its vector units.
int physicalCpuCount();

#ifdef __linux__
// Returns the quota of the process's control groups in CPUs: the smallest of its own group and the
// groups around it, or 0 if none sets one. root: the folder of control groups (/sys/fs/cgroup).
// membershipFile: the list of the process's groups (/proc/self/cgroup). Reads version 2, then the
// quota of version 1's outermost group.
double cgroupCpuLimit(const std::string& root, const std::string& membershipFile);
#endif

}  // namespace gpt2
