import { existsSync, readFileSync, writeFileSync } from 'node:fs';

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

/** What reading files of so many bytes may take, however damaged they are. */
export function mostGrowth(bytes: number): number {
  return 2 * bytes + 16_000_000;
}
