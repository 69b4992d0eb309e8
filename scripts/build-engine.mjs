// Builds the engine alone: native/ is a CMake project of its own.

import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Flags for builds with sanitizers: some optimisation, and line numbers in the reports. */
export const sanitizerFlags = [
  '-DCMAKE_C_FLAGS_RELEASE=-O1 -g1 -DNDEBUG',
  '-DCMAKE_CXX_FLAGS_RELEASE=-O1 -g1 -DNDEBUG',
];

/** Runs a program in the checkout. If it fails, this process exits with its status. */
export function run(program, ...args) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

/** Builds a target, by default all, in a folder with these definitions for CMake. */
export async function buildEngine(folder, definitions, target = 'all') {
  run(
    'cmake',
    '-S',
    join(root, 'native'),
    '-B',
    folder,
    '-DCMAKE_BUILD_TYPE=Release',
    ...definitions,
    `-DGGML_SOURCE_DIR=${await vendorGgml()}`,
  );
  // The configuration matters to generators that have several, such as Visual Studio's.
  const parallel = String(availableParallelism());
  run(
    'cmake',
    ...['--build', folder, '--config', 'Release', '--target', target, '--parallel', parallel],
  );
}
