#include "base/cpu_count.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "temporary_folder.h"

#ifdef __linux__

#include <sched.h>

using gpt2::cgroupCpuLimit;
using gpt2::physicalCpuCount;
using gpt2::test::TemporaryFolder;

namespace {

std::vector<int> allowedCpus() {
  cpu_set_t mask;
  CHECK_EQUAL(sched_getaffinity(0, sizeof mask, &mask), 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  }
  return cpus;
}

void setAffinity(const std::vector<int>& cpus) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (const int cpu : cpus) CPU_SET(cpu, &mask);
  CHECK_EQUAL(sched_setaffinity(0, sizeof mask, &mask), 0);
}

// The count while this thread may run on these CPUs only.
int countOn(const std::vector<int>& cpus) {
  const std::vector<int> before = allowedCpus();
  setAffinity(cpus);
  const int count = physicalCpuCount();
  setAffinity(before);
  return count;
}

// The package, die and number of a CPU's core, where physicalCpuCount reads lists of siblings.
std::string coreOf(int cpu) {
  std::string core;
  for (const char* part : {"physical_package_id", "die_id", "core_id"}) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + part);
    std::string id;
    if (!std::getline(file, id) && part != std::string("die_id")) {
      SKIP("the system does not say which CPUs are hardware threads of one core");
    }
    core += id + "/";
  }
  return core;
}

int coresOf(const std::vector<int>& cpus) {
  std::set<std::string> cores;
  for (const int cpu : cpus) cores.insert(coreOf(cpu));
  return static_cast<int>(cores.size());
}

// What the control groups leave of so many cores.
int withinQuota(int cores) {
  const double limit = cgroupCpuLimit("/sys/fs/cgroup", "/proc/self/cgroup");
  return limit > 0 ? std::min(cores, static_cast<int>(std::ceil(limit))) : cores;
}

// Files as they lie under /sys/fs/cgroup, with /proc/self/cgroup beside them.
class ControlGroups {
 public:
  explicit ControlGroups(const std::string& membership) { write("self", membership); }

  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = std::filesystem::u8path(folder_.path(path));
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  double limit() const { return cgroupCpuLimit(folder_.path("root"), folder_.path("self")); }

 private:
  TemporaryFolder folder_;
};

}  // namespace

TEST(countsTheCoresOfTheAffinityMask) {
  const std::vector<int> cpus = allowedCpus();
  for (size_t first = 0; first < cpus.size(); ++first) {
    CHECK_EQUAL(countOn({cpus[first]}), 1);
    for (size_t second = first + 1; second < cpus.size() && second <= first + 8; ++second) {
      const std::vector<int> pair{cpus[first], cpus[second]};
      CHECK_EQUAL(countOn(pair), withinQuota(coresOf(pair)));
    }
  }
  CHECK_EQUAL(physicalCpuCount(), withinQuota(coresOf(cpus)));
}

TEST(withoutControlGroupsThereIsNoLimit) {
  CHECK_EQUAL(ControlGroups("").limit(), 0.0);
  CHECK_EQUAL(ControlGroups("0::/\n").limit(), 0.0);
}

TEST(theSmallestQuotaOfTheGroupsAroundTheProcessCounts) {
  const ControlGroups groups("1:name=systemd:/other\n0::/outer/inner\n");
  groups.write("root/cpu.max", "max 100000");
  groups.write("root/other/cpu.max", "1000 100000");
  groups.write("root/outer/inner/cpu.max", "max 100000");
  CHECK_EQUAL(groups.limit(), 0.0);
  groups.write("root/outer/inner/cpu.max", "250000 100000");
  CHECK_EQUAL(groups.limit(), 2.5);
  groups.write("root/outer/cpu.max", "300000 200000");
  CHECK_EQUAL(groups.limit(), 1.5);
  groups.write("root/cpu.max", "50000 100000");
  CHECK_EQUAL(groups.limit(), 0.5);
}

TEST(theQuotaOfVersion1Counts) {
  const ControlGroups groups("3:cpu,cpuacct:/\n");
  groups.write("root/cpu/cpu.cfs_period_us", "100000");
  groups.write("root/cpu/cpu.cfs_quota_us", "-1");
  CHECK_EQUAL(groups.limit(), 0.0);
  groups.write("root/cpu/cpu.cfs_quota_us", "350000");
  CHECK_EQUAL(groups.limit(), 3.5);
}

#else

TEST(countsTheCoresOfTheAffinityMask) { SKIP("needs Linux's affinity masks"); }
TEST(theSmallestQuotaOfTheGroupsAroundTheProcessCounts) { SKIP("needs Linux's control groups"); }

TEST(isAtLeastOne) { CHECK(gpt2::physicalCpuCount() >= 1); }

#endif
