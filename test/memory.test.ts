// Memory, file descriptors and threads come back: from what is disposed, and from what is only dropped.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, loadModel } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const file = join(folder, 'model.gguf');
beforeAll(() => convert(fixtureFolder('wide'), file));

// V8's own heap grows by up to 30 MB until it has found its size; what leaks in these tests would be hundreds.
const flat = 50e6;

/** `measure()`: what the process holds once the garbage is collected and the engines are at rest. */
const measuring = `
  require('node:v8').setFlagsFromString('--expose-gc');
  const gc = require('node:vm').runInNewContext('gc');
  const { readdirSync } = require('node:fs');
  const count = (path) => process.platform === 'linux' ? readdirSync(path).length : 0;
  const measure = async () => {
    for (let i = 0; i < 5; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const { rss, heapUsed } = process.memoryUsage();
    return { rss, heapUsed, files: count('/proc/self/fd'), threads: count('/proc/self/task') };
  };
`;

interface Held {
  rss: number;
  heapUsed: number;
  files: number;
  threads: number;
}

/** Runs a script that prints what is held before and after. */
async function heldBeforeAndAfter(script: string): Promise<[Held, Held]> {
  const { stdout, stderr, exitCode } = await runNode(`${measuring}${script}`, { file });
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return JSON.parse(stdout);
}

function expectFlat([before, after]: [Held, Held]): void {
  expect(after.files).toBe(before.files);
  // The last engine's thread may still be there; it is waited for when the next one starts.
  expect(after.threads).toBeLessThanOrEqual(before.threads + 1);
  expect(after.rss - before.rss).toBeLessThan(flat);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(1e6);
}

describe('memory stays flat', () => {
  test.each([true, false])('when 200 models are opened and closed, mmap %s', async (mmap) => {
    const held = await heldBeforeAndAfter(
      `const once = async (i) => {
         const model = await gpt2.loadModel(args.file, { threads: 2, mmap: ${mmap} });
         if (i % 10 === 0) await model.logits([1, 2, 3]);
         await model.dispose();
       };
       for (let i = 0; i < 40; i++) await once(i);
       const before = await measure();
       for (let i = 0; i < 200; i++) await once(i);
       console.log(JSON.stringify([before, await measure()]));`,
    );
    expectFlat(held);
  });

  test('when thousands of calls share a signal that is never aborted', async () => {
    const held = await heldBeforeAndAfter(
      `const model = await gpt2.loadModel(args.file, { threads: 1 });
       const session = model.createSession();
       const { signal } = new AbortController();
       const once = async () => {
         await session.evaluate([1], { signal });
         session.rewind(0);
         await model.generate([1], { maxTokens: 1, signal });
         for await (const part of model.stream([1], { maxTokens: 1, signal }));
       };
       for (let i = 0; i < 1000; i++) await once();
       const before = await measure();
       for (let i = 0; i < 2000; i++) await once();
       console.log(JSON.stringify([before, await measure()]));`,
    );
    expectFlat(held);
  });

  test('when calls are aborted, fail or are left', async () => {
    const held = await heldBeforeAndAfter(
      `const model = await gpt2.loadModel(args.file, { threads: 1 });
       const counts = { aborted: 0, failed: 0, left: 0 };
       const once = async () => {
         const controller = new AbortController();
         const running = model.generate([1], { maxTokens: 50, signal: controller.signal });
         setImmediate(() => controller.abort());
         await running.catch(() => counts.aborted++);
         await model.logits([1e9]).catch(() => counts.failed++);
         for await (const part of model.stream([1], { maxTokens: 50 })) {
           counts.left++;
           break;
         }
       };
       for (let i = 0; i < 2500; i++) await once();
       const before = await measure();
       for (let i = 0; i < 3000; i++) await once();
       // Only an abort may come too late.
       const { aborted, failed, left } = counts;
       if (aborted < 2750 || failed !== 5500 || left !== 5500) throw new Error(JSON.stringify(counts));
       console.log(JSON.stringify([before, await measure()]));`,
    );
    expectFlat(held);
  });
});

// Nothing calls gc() while these run. The collector comes by itself, since it has been told of the native
// memory; else all of it would still be there.
describe('what is dropped is collected', () => {
  test('200 models whose files were read into memory, and whose loggers know them', async () => {
    const [before, after] = await heldBeforeAndAfter(
      `const once = async () => {
         let model;
         const logger = () => model;
         model = await gpt2.loadModel(args.file, { threads: 1, mmap: false, logger });
         await model.logits([1]);
       };
       for (let i = 0; i < 5; i++) await once();
       const before = await measure();
       for (let i = 0; i < 200; i++) await once();
       const { rss } = process.memoryUsage();
       console.log(JSON.stringify([before, { ...(await measure()), rss }]));`,
    );
    expect(after.files).toBe(before.files);
    expect(after.threads).toBeLessThanOrEqual(before.threads + 1);
    expect(after.rss - before.rss).toBeLessThan((200 * statSync(file).size) / 3);
  });

  test.each([
    ['sessions', 'model.createSession().evaluate([1])'],
    ['forks', 'first.fork().evaluate([1])'],
  ])('10,000 %s', async (_, make) => {
    const positions = 64; // the least that a session has room for
    await using model = await loadModel(file);
    const { layerCount, embeddingLength, cacheType } = model.config;
    const numberBytes = cacheType === 'f32' ? 4 : 2;
    const cacheBytes = 2 * layerCount * positions * embeddingLength * numberBytes;

    const [before, after] = await heldBeforeAndAfter(
      `const model = await gpt2.loadModel(args.file, { threads: 1 });
       const first = model.createSession();
       await first.evaluate([1]);
       for (let i = 0; i < 100; i++) await ${make};
       const before = await measure();
       for (let i = 0; i < 10_000; i++) await ${make};
       console.log(JSON.stringify([before, { ...before, rss: process.memoryUsage().rss }]));`,
    );
    expect(after.rss - before.rss).toBeLessThan((10_000 * cacheBytes) / 3);
  });
});
