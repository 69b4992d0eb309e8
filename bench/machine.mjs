// The machine: its description and the limits of its speed.

import { execFileSync } from 'node:child_process';
import { arch, cpus, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEngine } from '../scripts/build-engine.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const build = join(root, 'build-engine');

/** The git ids of the measured source folders. */
function describeSource() {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const folders = ['lib', 'binding', 'native'];
  const trees = git('rev-parse', ...folders.map((folder) => `HEAD:${folder}`));
  const changes = git('status', '--porcelain', ...folders);
  return trees.replaceAll(/(\w{7})\w*\n?/g, '$1 ') + (changes ? 'and changes' : '');
}

/** The measured source and the machine. */
export function describeMachine() {
  return {
    source: describeSource().trim(),
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

/** Reading speed over a buffer of `bytes` bytes in GB/s; arithmetic in f32 and int8 in 10^9 operations per second. */
export function measureLimits(bytes, threads) {
  const program = join(build, 'bench', 'machine_limits');
  return JSON.parse(execFileSync(program, [String(bytes), String(threads)], { encoding: 'utf8' }));
}
