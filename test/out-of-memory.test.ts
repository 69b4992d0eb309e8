// The addon when operator new fails: calls settle, a model can still be disposed, and the process ends. A library
// that is preloaded into Node makes allocations of the addon fail, one after the other.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const library = join(folder, 'failing-allocations.so');

// With work under way and while `act` acts on the model, `count` allocations fail after `n` others: each of the first,
// then some, until none is left to fail.
const tryAll = (act: string, count: number) => `
  const outcomes = {};
  const codeOf = (promise) => promise.then(() => 'done', (error) => error.code);
  for (let n = 0, failed = 1; failed > 0; n = n < 25 ? n + 1 : Math.ceil(n * 1.2)) {
    const model = await gpt2.loadModel();
    const session = model.createSession();
    const running = codeOf(session.generate([1, 2, 3], { maxTokens: 60, seed: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 2));
    process.env.GPT2_FAIL_NEW = n + ' ${count}';
    const acting = codeOf((async () => { ${act} })());
    const late = new Promise((resolve) => setTimeout(resolve, 30_000, 'late').unref());
    const settled = await Promise.race([Promise.all([acting, running]), late]);
    failed = Number(process.env.GPT2_FAILED_NEW);
    process.env.GPT2_FAIL_NEW = '0 0';
    await model.dispose();
    for (const outcome of [settled].flat()) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  console.log(Object.keys(outcomes).sort().join(' '));`;

async function outcomesOf(script: string): Promise<string[]> {
  const { stdout, ...rest } = await runNode(script, {}, { LD_PRELOAD: library });
  expect(rest).toEqual({ exitCode: 0, signal: null, stderr: '' });
  return stdout.trim().split(' ');
}

describe.skipIf(process.platform !== 'linux')('without memory', () => {
  beforeAll(() => {
    const source = join(__dirname, 'failing-allocations.cc');
    execFileSync('c++', ['-std=c++17', '-shared', '-fPIC', '-O1', '-o', library, source, '-ldl']);
  });

  test.each([
    ['for one allocation', 1],
    ['any more', 1e9],
  ])(
    'a model that is disposed of ends its calls and lets the process end: %s',
    async (_, count) => {
      const outcomes = await outcomesOf(tryAll('await model.dispose();', count));
      expect(outcomes).toEqual(['DISPOSED', 'OUT_OF_MEMORY', 'done']);
    },
  );

  test.each([
    ['logits', 'await model.logits([4, 5]);'],
    ['generating', 'await model.generate([4, 5], { maxTokens: 3 });'],
    ['forking', 'const fork = model.createSession().fork(); await fork.evaluate([4]);'],
    ['loading', 'await (await gpt2.loadModel()).dispose();'],
  ])('%s settles whichever allocation fails', async (_, act) => {
    const outcomes = await outcomesOf(tryAll(act, 1));
    expect(outcomes).toEqual(['OUT_OF_MEMORY', 'done']);
  });
});

const canLimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;

test.runIf(canLimit)(
  'a checkpoint whose header does not fit into memory fails with OUT_OF_MEMORY',
  async () => {
    const checkpoint = join(folder, 'large-header');
    mkdirSync(checkpoint);
    const weights = join(checkpoint, 'model.safetensors');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(99_000_000n);
    writeFileSync(weights, length);
    truncateSync(weights, 100_000_000);
    const { stdout } = await runNode(
      `const [pages] = require('node:fs').readFileSync('/proc/self/statm', 'utf8').split(' ');
     const limit = pages * 4096 + 90e6; // for V8's own needs, but not for the header
     require('node:child_process').execFileSync('prlimit', ['--pid', String(process.pid), '--as=' + limit]);
     await gpt2.loadModel(args.checkpoint).catch(({ code, message }) => console.log(code, message));`,
      { checkpoint },
    );
    expect(stdout).toBe(`OUT_OF_MEMORY Not enough memory for 99000000 bytes of ${weights}\n`);
  },
);
