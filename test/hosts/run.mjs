// npm run test:hosts: the library inside Jest (node and jsdom) and in the vm pools of vitest.
// Jest is installed into this folder on the first run.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const root = join(folder, '..', '..');
const require = createRequire(import.meta.url);

function run(what, program, args, cwd = folder) {
  console.log(`\n== ${what}`);
  const { status, signal } = spawnSync(program, args, {
    cwd,
    stdio: 'inherit',
    shell: program === 'npm' && process.platform === 'win32',
  });
  if (status !== 0) throw new Error(`${what}: ended with ${signal ?? status}`);
}

if (!existsSync(join(folder, 'node_modules', 'jest'))) {
  run('install', 'npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts']);
}
const jest = require.resolve('jest/bin/jest');
for (const environment of ['node', 'jsdom']) {
  const at = ['--rootDir', folder, '--testEnvironment', environment, '--testMatch'];
  run(`Jest, ${environment}`, process.execPath, [jest, ...at, '**/suite.test.cjs']);
  run(`Jest, ${environment}, ended at work`, process.execPath, [
    jest,
    ...at,
    '**/unfinished.test.cjs',
    '--forceExit',
  ]);
}
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
for (const pool of ['vmThreads', 'vmForks']) {
  run(`vitest, ${pool}`, process.execPath, [
    vitest,
    'run',
    '--config',
    join(folder, 'vitest.config.mts'),
    '--pool',
    pool,
  ]);
}
