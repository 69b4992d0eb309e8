// Builds build/Release/gpt2_native.node for this machine: fetches ggml if necessary, then runs cmake-js.
//
// Arguments after `--` are definitions for CMake:  npm run build:native -- GPT2_CUDA=ON GGML_CUDA_ARCHITECTURES=90

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const ggml = await vendorGgml();

// With SOURCE_DATE_EPOCH, ggml aims at reproducible builds and drops all SIMD flags.
const { SOURCE_DATE_EPOCH: _, ...environment } = process.env;
const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
const definitions = [`GGML_SOURCE_DIR=${ggml}`, ...process.argv.slice(2)];
const { status, error } = spawnSync(
  process.execPath,
  [
    cmakeJs,
    'compile',
    '--log-level=warn',
    `--parallel=${availableParallelism()}`,
    ...definitions.map((definition) => `--CD${definition}`),
  ],
  // The build writes to stderr: npm's stdout may carry results, such as those of --json.
  { cwd: root, env: environment, stdio: ['ignore', 2, 2] },
);
if (error) throw error;
if (status !== 0) {
  console.error(
    '\ngpt2-native: the build failed. It needs a C++17 compiler (g++ 12 or clang 14, or newer) and cmake 3.25; ' +
      'see docs/building.md.',
  );
  process.exit(status ?? 1);
}
