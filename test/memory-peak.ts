import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';

/** Whether the system tells how much memory a process had at most. */
const tells = existsSync('/proc/self/clear_refs');

/** By how many bytes this process's memory grew at most during a call; 0 where the system does not tell. */
export async function peakGrowth(call: () => Promise<unknown>): Promise<number> {
  if (tells) writeFileSync('/proc/self/clear_refs', '5'); // sets VmHWM to VmRSS; see proc(5)
  const before = residentBytes('VmRSS');
  await call();
  return residentBytes('VmHWM') - before;
}

function residentBytes(line: 'VmRSS' | 'VmHWM'): number {
  if (!tells) return 0;
  const status = readFileSync('/proc/self/status', 'utf8');
  return 1024 * Number(new RegExp(`^${line}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1]);
}

/** Expects of a call on files of so many bytes, however damaged, that it takes little more memory than they do. */
export async function expectLittleMemory(
  bytes: number,
  call: () => Promise<unknown>,
): Promise<void> {
  const most = 2 * bytes + 16_000_000;
  const grown = await peakGrowth(call);
  // V8's heap grows by steps of its own now and then; what a call takes, it takes again.
  expect(grown < most ? grown : await peakGrowth(call)).toBeLessThan(most);
}
