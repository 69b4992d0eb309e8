#include "base/cpu_count.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#endif

namespace gpt2 {

namespace {

#if defined(__linux__)

// Counts the cores of the affinity mask. The list of its hardware threads identifies a core.
int coreCount() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

// The quota of a version 2 control group in CPUs; 0 if it sets none.
double quotaOf(const std::string& group) {
  std::string quota;
  double period = 0;
  std::ifstream file(group + "/cpu.max");
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::strtod(quota.c_str(), nullptr) / period;
}

double cgroupLimit() { return cgroupCpuLimit("/sys/fs/cgroup", "/proc/self/cgroup"); }

#elif defined(__APPLE__)

// Performance cores only: efficiency cores would delay the end of every step.
int coreCount() {
  int count = 0;
  size_t size = sizeof count;
  if (sysctlbyname("hw.perflevel0.physicalcpu", &count, &size, nullptr, 0) == 0) return count;
  if (sysctlbyname("hw.physicalcpu", &count, &size, nullptr, 0) == 0) return count;
  return 0;
}

double cgroupLimit() { return 0; }

#elif defined(_WIN32)

int coreCount() {
  DWORD size = 0;
  GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &size);
  std::vector<char> buffer(size);
  if (!GetLogicalProcessorInformationEx(
          RelationProcessorCore,
          reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(buffer.data()), &size)) {
    return 0;
  }
  int count = 0;
  for (DWORD offset = 0; offset < size; ++count) {
    offset +=
        reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(buffer.data() + offset)->Size;
  }
  return count;
}

double cgroupLimit() { return 0; }

#else

int coreCount() { return 0; }
double cgroupLimit() { return 0; }

#endif

}  // namespace

#if defined(__linux__)

double cgroupCpuLimit(const std::string& root, const std::string& membershipFile) {
  double limit = 0;
  std::string group;
  std::ifstream membership(membershipFile);
  for (std::string line; std::getline(membership, line);) {
    if (line.compare(0, 3, "0::") == 0) group = line.substr(3);
  }
  for (;;) {
    if (const double quota = quotaOf(root + group); quota > 0) {
      limit = limit > 0 ? std::min(limit, quota) : quota;
    }
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) break;
    group.resize(slash);
  }
  if (limit > 0) return limit;

  double quotaMicroseconds = 0;
  double period = 0;
  std::ifstream quotaFile(root + "/cpu/cpu.cfs_quota_us");
  std::ifstream periodFile(root + "/cpu/cpu.cfs_period_us");
  if (quotaFile >> quotaMicroseconds && periodFile >> period && quotaMicroseconds > 0 &&
      period > 0) {
    return quotaMicroseconds / period;
  }
  return 0;
}

#endif

int physicalCpuCount() {
  int count = coreCount();
  if (count == 0) count = static_cast<int>(std::thread::hardware_concurrency());
  // Compared first, since a quota may exceed an int.
  if (const double limit = cgroupLimit(); limit > 0 && limit < count) {
    count = static_cast<int>(std::ceil(limit));
  }
  return std::max(count, 1);
}

}  // namespace gpt2
