// ggml's log messages go to the logger, never to the host's stdout or stderr.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, loadModel } from '../dist/index.js';
import { changedFixture } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { packageEntry, runNode } from './node-process.js';
import type { StoredTensor } from './safetensors-file.js';
import { temporaryFolder } from './temporary-folder.js';

// A feed-forward layer so wide that the activations of 256 tokens take 1 GB.
const inner = 1_000_000;
const context = 512;
const folder = temporaryFolder();
const file = join(folder, 'model.gguf');
beforeAll(async () => {
  const checkpoint = changedFixture(join(folder, 'wide'), 'odd-heads', {
    config: { n_positions: context, n_inner: inner },
    change: (tensors) => {
      const [, width] = (tensors.get('wte.weight') as StoredTensor).shape as [number, number];
      const zeros = (name: string, shape: number[]) => {
        const count = shape.reduce((product, size) => product * size);
        tensors.set(name, { dtype: 'F16', shape, bytes: Buffer.alloc(2 * count) });
      };
      zeros('wpe.weight', [context, width]);
      for (const layer of [0, 1]) {
        zeros(`h.${layer}.mlp.c_fc.weight`, [width, inner]);
        zeros(`h.${layer}.mlp.c_fc.bias`, [inner]);
        zeros(`h.${layer}.mlp.c_proj.weight`, [inner, width]);
      }
    },
  });
  await convert(checkpoint, file);
});

// On the CPU ggml logs a failed allocation. The limit is set after the model was loaded and leaves enough memory for
// Node.
const canLimit = process.platform === 'linux' && spawnSync('prlimit', ['--version']).status === 0;
const exhaustMemory = `
  const { execFileSync } = require('node:child_process');
  const [pages] = require('node:fs').readFileSync('/proc/self/statm', 'utf8').split(' ');
  execFileSync('prlimit', ['--pid', String(process.pid), '--as=' + (pages * 4096 + 600e6)]);
  const tokens = new Uint32Array(model.config.contextLength).fill(1);
  const error = await model.logits(tokens).catch((error) => error);
`;

describe.runIf(canLimit)('log messages about failed allocations', () => {
  test('go to the logger of the model, with their level', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `const lines = [];
       const others = [];
       const other = await gpt2.loadModel(args.file, { threads: 1, cacheType: 'f32', logger: (...line) => others.push(line) });
       const model = await gpt2.loadModel(args.file, { threads: 1, cacheType: 'f32', logger: (...line) => lines.push(line) });
       ${exhaustMemory}
       console.log(JSON.stringify({ code: error.code, line: lines[0], others }));`,
      { file },
    );
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    const { code, line, others } = JSON.parse(stdout);
    expect(code).toBe('OUT_OF_MEMORY');
    expect(line[0]).toMatch(/^\S.*(insufficient memory|failed to allocate).*\S$/);
    expect(line[1]).toBe('error');
    expect(others).toEqual([]);
  });

  test('end the process only if the logger throws and the exception is not caught', async () => {
    for (const catching of [true, false]) {
      const { stdout, exitCode } = await runNode(
        `if (args.catching) process.on('uncaughtException', ({ message }) => console.log(message));
         const logger = () => { throw new Error('mine'); };
         const model = await gpt2.loadModel(args.file, { threads: 1, cacheType: 'f32', logger });
         ${exhaustMemory}
         const { tokens: more } = await model.generate([1], { maxTokens: 3, ignoreEndOfText: true });
         console.log(error.code, more.length);`,
        { file, catching },
      );
      expect(exitCode).toBe(catching ? 0 : 1);
      if (catching) expect(stdout).toMatch(/^(mine\n)+OUT_OF_MEMORY 3\n$/);
    }
  });

  test('go to the logger of a worker’s model, in the worker', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `const { Worker } = require('node:worker_threads');
       new Worker(\`const { parentPort, workerData: args } = require('node:worker_threads');
         const gpt2 = require(args.entry);
         (async () => {
           const logger = (line) => parentPort.postMessage(line.includes('memory'));
           const model = await gpt2.loadModel(args.file, { threads: 1, cacheType: 'f32', logger });
           ${exhaustMemory}
         })();\`, { eval: true, workerData: args }).once('message', console.log);`,
      { file, entry: packageEntry },
    );
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'true\n', stderr: '', exitCode: 0 });
  });

  test('are dropped without a logger, and the model keeps working', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `const model = await gpt2.loadModel(args.file, { threads: 1, cacheType: 'f32' });
       ${exhaustMemory}
       const generation = await model.generate([1], { maxTokens: 3, ignoreEndOfText: true });
       console.log(error.code, error instanceof gpt2.Gpt2Error, generation.tokens.length);`,
      { file },
    );
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: 'OUT_OF_MEMORY true 3\n',
      stderr: '',
      exitCode: 0,
    });
  });
});

test('a logger must be a function', async () => {
  for (const logger of [null, 'console', {}, 1]) {
    const error = await failure('INVALID_ARGUMENT', () =>
      loadModel(file, { logger: logger as never }),
    );
    expect(error.message).toContain('logger to be a function');
  }
});
