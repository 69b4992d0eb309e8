// The machine: what it is, and what it can do at most.

import { execFileSync } from 'node:child_process';
import { arch, cpus, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEngine } from '../scripts/build-engine.mjs';

const build = fileURLToPath(new URL('../build-engine', import.meta.url));

export function describeMachine() {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    processors: cpus().length,
    memoryGB: Math.round(totalmem() / 1e9),
    platform: `${platform()} ${arch()}`,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
  };
}

export async function buildLimits() {
  await buildEngine(build, [], 'machine_limits');
}

/** GB/s over a buffer of so many bytes, 10^9 operations per second in f32 and int8. */
export function measureLimits(bytes, threads) {
  const program = join(build, 'bench', 'machine_limits');
  return JSON.parse(execFileSync(program, [String(bytes), String(threads)], { encoding: 'utf8' }));
}
