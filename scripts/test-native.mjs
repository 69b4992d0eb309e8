// Builds the engine alone and runs its own tests with ctest. With --sanitize: under AddressSanitizer,
// ggml included, and UndefinedBehaviorSanitizer, ggml left out.

import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const sanitize = process.argv.includes('--sanitize');
const build = join(root, sanitize ? 'build-sanitize' : 'build-engine');
const ggml = await vendorGgml();

function run(program, ...args) {
  const { status, error } = spawnSync(program, args, {
    cwd: root,
    stdio: 'inherit',
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

run(
  'cmake',
  '-S',
  join(root, 'native'),
  '-B',
  build,
  '-DCMAKE_BUILD_TYPE=Release',
  ...(sanitize
    ? ['-DCMAKE_C_FLAGS_RELEASE=-O1 -g1 -DNDEBUG', '-DCMAKE_CXX_FLAGS_RELEASE=-O1 -g1 -DNDEBUG']
    : []),
  `-DGPT2_SANITIZE=${sanitize ? 'ON' : 'OFF'}`,
  `-DGGML_SOURCE_DIR=${ggml}`,
);
run('cmake', '--build', build, '--parallel', String(availableParallelism()));
run('ctest', '--test-dir', build, '--output-on-failure');
