// Builds build/Release/gpt2_native.node for the machine at hand: fetches ggml if needed, then cmake-js.
//
// Options after `--` go to CMake as definitions:  npm run build:native -- GPT2_CUDA=ON GGML_CUDA_ARCHITECTURES=90

import { spawnSync } from 'node:child_process';
import { copyFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const ggml = await vendorGgml();

// SOURCE_DATE_EPOCH makes ggml drop every SIMD flag, since it then builds for no machine in particular.
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
  // npm's stdout belongs to whoever ran npm (a host's --json, say): the build talks on stderr.
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

// ggml is in the binary, so its licence goes where the binary goes. A checkout has it one folder up.
const licence = join(root, 'build', 'Release', 'LICENSE.ggml');
await copyFile(join(ggml, 'LICENSE'), licence).catch(() =>
  copyFile(join(ggml, '..', 'LICENSE'), licence),
);
