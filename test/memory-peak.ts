import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';

/** Whether the system reports a process's peak memory. */
const isReported = existsSync('/proc/self/clear_refs');

/** The peak growth of this process's memory during a call, in bytes; 0 if the system does not report it. */
export async function peakGrowth(call: () => Promise<unknown>): Promise<number> {
  if (isReported) writeFileSync('/proc/self/clear_refs', '5'); // sets VmHWM to VmRSS; see proc(5)
  const before = residentBytes('VmRSS');
  await call();
  return residentBytes('VmHWM') - before;
}

function residentBytes(line: 'VmRSS' | 'VmHWM'): number {
  if (!isReported) return 0;
  const status = readFileSync('/proc/self/status', 'utf8');
  return 1024 * Number(new RegExp(`^${line}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1]);
}

/** Expects a call on files of this total size, however damaged, to take at most twice as much memory. */
export async function expectBoundedMemory(
  bytes: number,
  call: () => Promise<unknown>,
): Promise<void> {
  const limit = 2 * bytes + 16_000_000;
  const grown = await peakGrowth(call);
  // V8's heap sometimes grows on its own. The call runs again, since its own memory use is repeatable.
  expect(grown < limit ? grown : await peakGrowth(call)).toBeLessThan(limit);
}
