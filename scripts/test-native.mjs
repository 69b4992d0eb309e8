// Builds the engine alone and runs its own tests with ctest. With --sanitize: under AddressSanitizer,
// ggml included, and UndefinedBehaviorSanitizer, ggml left out; as many programs at once as there are processors,
// for their time is of no interest then.

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEngine, run, sanitizerFlags } from './build-engine.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const sanitize = process.argv.includes('--sanitize');
const build = join(root, sanitize ? 'build-sanitize' : 'build-engine');

await buildEngine(build, [
  ...(sanitize ? sanitizerFlags : []),
  `-DGPT2_SANITIZE=${sanitize ? 'ON' : 'OFF'}`,
]);
run(
  'ctest',
  ...['--test-dir', build, '--output-on-failure'],
  ...(sanitize ? ['--parallel', String(availableParallelism())] : []),
);
