// npm run test:node-versions [-- 22 24 process workers]: the library's tests under other versions of Node, which the npm
// package "node" installs into build-node/. Default: every supported version except the current one, and all tests; words
// select the test files that contain them.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npm } from './npm.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const [own] = process.versions.node.split('.');
const isVersion = (argument) => /^\d+$/.test(argument);
const requested = process.argv.slice(2).filter(isVersion);
const tests = process.argv.slice(2).filter((argument) => !isVersion(argument));
const versions =
  requested.length > 0 ? requested : ['20', '22', '24', '26'].filter((version) => version !== own);

function run(program, args, cwd = root) {
  const { status, error } = spawnSync(program, args, { cwd, stdio: 'inherit' });
  if (error) throw error;
  return status;
}

/** Installs a version of Node. Returns the path of its binary. */
function installNode(version) {
  const folder = join(root, 'build-node', version);
  const binary = join(folder, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(binary)) return binary;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  const [program, ...first] = npm;
  const install = ['install', '--no-audit', '--no-fund', '--silent', `node@${version}`];
  if (run(program, [...first, ...install], folder) !== 0) {
    throw new Error(`node@${version} cannot be installed`);
  }
  return binary;
}

const failed = versions.filter((version) => {
  const node = installNode(version);
  console.log(`\nNode ${version}: ${node}`);
  run(node, ['--version']);
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  return run(node, [vitest, 'run', ...tests]) !== 0;
});
if (failed.length > 0) {
  console.error(`The tests fail under Node ${failed.join(', ')}`);
  process.exitCode = 1;
}
