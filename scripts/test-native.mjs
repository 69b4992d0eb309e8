// Builds the engine alone and runs its own tests with ctest, then counts them and lists those that were skipped.
//
// --sanitize=address: under AddressSanitizer, ggml included, and UndefinedBehaviorSanitizer, ggml left out.
// --sanitize=thread: under ThreadSanitizer, ggml included.
// With a sanitizer, times do not matter, so as many programs run at once as there are processors.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildEngine, sanitizerFlags } from './build-engine.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { sanitize } = parseArgs({ options: { sanitize: { type: 'string' } } }).values;
const build = join(root, sanitize ? `build-sanitize-${sanitize}` : 'build-engine');

await buildEngine(build, [
  ...(sanitize ? sanitizerFlags : []),
  `-DGPT2_SANITIZE=${sanitize ?? ''}`,
]);
const { status, error } = spawnSync(
  'ctest',
  [
    ...['--test-dir', build, '--build-config', 'Release', '--output-on-failure'],
    ...(sanitize ? ['--parallel', String(availableParallelism())] : []),
  ],
  { stdio: 'inherit' },
);
if (error) throw error;

// ctest counts programs; native/test/check.h prints a line for each test in them.
const log = readFileSync(join(build, 'Testing', 'Temporary', 'LastTest.log'), 'utf8');
const results = [...log.matchAll(/^(ok|FAIL|skip) {2,4}\w.*$/gm)];
const count = (result) => results.filter(([, kind]) => kind === result).length;
for (const [line, kind] of results) if (kind === 'skip') console.log(line);
console.log(`${count('ok')} passed, ${count('FAIL')} failed, ${count('skip')} skipped`);
process.exitCode = status ?? 1;
