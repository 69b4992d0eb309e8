// Packs the package without its scripts, which would build everything again.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { npm } from './npm.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Packs the package into a folder. Returns npm's description: { filename, size, unpackedSize, files }. */
export function pack(folder) {
  const run = (program, ...args) =>
    execFileSync(program, args, {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 1 << 26,
    });
  run(process.execPath, fileURLToPath(new URL('prepare-package.mjs', import.meta.url)));
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  return JSON.parse(run(...npm, ...args))[0];
}
