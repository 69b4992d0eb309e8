// npm run fuzz -- 60: fuzzes each of the engine's readers with libFuzzer for 60 seconds, then the library's with
// fast-check for about as long. build-fuzz/corpus keeps the new inputs for the next run, build-fuzz/findings the
// failing ones. npm run fuzz -- 0 only replays the repository's corpora and runs the properties as often as the
// tests do.

import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEngine, run, sanitizerFlags } from './build-engine.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const build = join(root, 'build-fuzz');
const findings = join(build, 'findings');
const seconds = Number(process.argv[2] ?? 60);
if (!(seconds >= 0)) {
  console.error('usage: npm run fuzz -- [seconds for each target]');
  process.exit(2);
}

// A whole model fits into a few kilobytes.
const targets = [
  { name: 'gguf_file', longest: 4096, dictionary: 'gguf.dict' },
  { name: 'model', longest: 16384, dictionary: 'gguf.dict' },
  { name: 'encode_tensor', longest: 4096 },
];
const limits = [
  // No input needs an allocation of a megabyte. One of eight comes from an unchecked number in the input.
  '-malloc_limit_mb=8',
  // AddressSanitizer keeps 256 MB of freed memory. More than that and the corpus is a leak.
  '-rss_limit_mb=1024',
  '-timeout=10',
];

function status(program, args, environment = {}) {
  const { status, error } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: 'inherit',
  });
  if (error) throw error;
  return status ?? 1;
}

/** @returns whether the target has no finding */
async function fuzz({ name, longest, dictionary }) {
  const program = join(build, 'fuzz', `${name}_fuzz`);
  const seeds = join(root, 'native', 'fuzz', 'corpus', name);
  const learnt = join(build, 'corpus', name);
  await mkdir(learnt, { recursive: true });
  console.log(`fuzz: ${name}`);
  const code = status(program, [
    ...(seconds === 0 ? ['-runs=0', seeds] : [`-max_total_time=${seconds}`, learnt, seeds]),
    ...(dictionary ? [`-dict=${join(root, 'native', 'fuzz', dictionary)}`] : []),
    ...limits,
    `-max_len=${longest}`,
    `-artifact_prefix=${join(findings, `${name}-`)}`,
    '-verbosity=0',
    '-print_final_stats=1',
  ]);
  if (code !== 0) {
    const inputs = (await readdir(findings)).filter((file) => file.startsWith(`${name}-`));
    console.error(`fuzz: a finding in ${name}. To run the failing inputs again:`);
    for (const input of inputs) console.error(`  ${program} ${join(findings, input)}`);
  }
  return code === 0;
}

/** @returns whether the properties hold */
function tryProperties() {
  const files = [
    'test/damaged-files.test.ts',
    'test/damaged-formats.test.ts',
    'test/damaged-vocabularies.test.ts',
    'test/random-arguments.test.ts',
  ];
  const seed = randomInt(2 ** 31);
  const runs = 100 * seconds;
  console.log(
    runs === 0
      ? 'fuzz: properties'
      : `fuzz: properties, GPT2_FUZZ_RUNS=${runs} GPT2_FUZZ_SEED=${seed}`,
  );
  const code = status(
    join(root, 'node_modules', '.bin', 'vitest'),
    ['run', '--no-file-parallelism', ...files],
    runs === 0 ? {} : { GPT2_FUZZ_RUNS: `${runs}`, GPT2_FUZZ_SEED: `${seed}` },
  );
  return code === 0;
}

await buildEngine(
  build,
  ['-DCMAKE_C_COMPILER=clang', '-DCMAKE_CXX_COMPILER=clang++', ...sanitizerFlags, '-DGPT2_FUZZ=ON'],
  'fuzz',
);
run('npm', 'run', 'build:lib');

await mkdir(findings, { recursive: true });
let sound = true;
for (const target of targets) sound = (await fuzz(target)) && sound;
sound = tryProperties() && sound;
process.exitCode = sound ? 0 : 1;
