#include "base/cpu_count.h"

#include "check.h"

#ifdef __linux__
#include <sched.h>
#endif

using gpt2::physicalCpuCount;

TEST(isAtLeastOne) { CHECK(physicalCpuCount() >= 1); }

TEST(isTheSameAgain) { CHECK_EQUAL(physicalCpuCount(), physicalCpuCount()); }

#ifdef __linux__

TEST(staysWithinTheAffinityMask) {
  cpu_set_t before;
  CHECK_EQUAL(sched_getaffinity(0, sizeof before, &before), 0);
  CHECK(physicalCpuCount() <= CPU_COUNT(&before));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &before)) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_EQUAL(sched_setaffinity(0, sizeof one, &one), 0);
    const int count = physicalCpuCount();
    CHECK_EQUAL(sched_setaffinity(0, sizeof before, &before), 0);
    CHECK_EQUAL(count, 1);
  }
}

#endif
