// npm run test:arm64: compiles the engine for arm64 and runs the tests of its kernels, for every level, in an emulator.
// Needs Debian's packages g++-aarch64-linux-gnu and qemu-user.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEngine, run } from './build-engine.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const build = join(root, 'build-arm64');
const toolchain = join(root, 'native', 'toolchains', 'linux-arm64.cmake');

await buildEngine(
  build,
  [
    `-DCMAKE_TOOLCHAIN_FILE=${toolchain}`,
    // Correctness only, so little is optimised.
    '-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG',
    '-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG',
  ],
  'kernel_levels_test',
);
const tests = 'kernel_levels_test|kernel_symbols';
run('ctest', '--test-dir', build, '--output-on-failure', '--tests-regex', tests);
