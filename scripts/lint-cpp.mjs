// Runs clang-format and clang-tidy over the C++ of this repository. With --fix, clang-format rewrites the files.
// clang's static analyzer takes as long as everything else: --analyze runs it, and nothing else.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const fix = process.argv.includes('--fix');
const analyze = process.argv.includes('--analyze');
const files = execFileSync(
  'git',
  [
    'ls-files',
    '--cached',
    '--others',
    '--exclude-standard',
    'native/*.h',
    'native/*.cc',
    'binding/*.h',
    'binding/*.cc',
  ],
  { cwd: root, encoding: 'utf8' },
)
  .trim()
  .split('\n')
  .filter((file) => existsSync(`${root}/${file}`));

function run(program, args) {
  const { status, error } = spawnSync(program, args, {
    cwd: root,
    stdio: 'inherit',
  });
  if (error)
    throw new Error(
      `${program} is needed (Debian: apt install clang clang-format clang-tidy cmake)`,
    );
  if (status !== 0) process.exit(1);
}

if (!analyze) run('clang-format', fix ? ['-i', ...files] : ['--dry-run', '--Werror', ...files]);
if (!fix) {
  // clang-tidy needs the compile commands, with clang's flags instead of g++'s.
  run('cmake', [
    '-S',
    '.',
    '-B',
    'build-lint',
    '-DCMAKE_C_COMPILER=clang',
    '-DCMAKE_CXX_COMPILER=clang++',
    '-DCMAKE_BUILD_TYPE=Release',
    `-DGGML_SOURCE_DIR=${await vendorGgml()}`,
    `-DCMAKE_JS_INC=${root}/node_modules/node-api-headers/include`,
    '--log-level=WARNING',
  ]);
  // Without the tests and benchmarks, which would triple the time: compiler warnings and sanitizers cover them.
  // Without what needs the headers of Windows.
  const skipped = /^native\/(test|fuzz|bench)\/|^binding\/host_functions\.cc$/;
  const sources = files.filter((file) => file.endsWith('.cc') && !skipped.test(file));
  const { status, error } = spawnSync(
    'xargs',
    [
      ...['-n', '3', '-P', String(availableParallelism())],
      ...['clang-tidy', '-p', 'build-lint', '--quiet'],
      `--checks=${analyze ? '-*,clang-analyzer-*' : '-clang-analyzer-*'}`,
    ],
    {
      cwd: root,
      input: sources.join('\n'),
      stdio: ['pipe', 'inherit', 'inherit'],
    },
  );
  if (error || status !== 0) process.exit(1);
}
