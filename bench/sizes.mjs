// npm run bench:sizes: the disk space of an installation of each package in an empty folder, without the install
// scripts, which would download binaries for GPUs. Writes bench/results/sizes.json.

import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pack } from '../scripts/pack.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const npm = (args, cwd) => execFileSync('npm', args, { cwd, encoding: 'utf8' });

const folder = mkdtempSync(join(tmpdir(), 'gpt2-native-sizes-'));
try {
  const { filename } = pack(folder);
  const { dependencies } = JSON.parse(readFileSync(here('peers/package.json'), 'utf8'));
  const specifications = {
    'gpt2-native': join(folder, filename),
    ...Object.fromEntries(
      Object.entries(dependencies).map(([name, version]) => [name, `${name}@${version}`]),
    ),
  };
  const sizes = {};
  for (const [name, specification] of Object.entries(specifications)) {
    const target = join(folder, name);
    mkdirSync(target);
    writeFileSync(join(target, 'package.json'), '{}');
    npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', specification], target);
    sizes[name] = Math.round(bytesUnder(join(target, 'node_modules')) / 1e5) / 10;
    console.log(`${name.padEnd(16)} ${sizes[name]} MB`);
  }
  mkdirSync(here('results'), { recursive: true });
  writeFileSync(here('results/sizes.json'), `${JSON.stringify({ unit: 'MB', sizes }, null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function bytesUnder(path) {
  const status = lstatSync(path);
  if (!status.isDirectory()) return status.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesUnder(join(path, name)), 0);
}
