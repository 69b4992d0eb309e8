// Memory, file descriptors and threads are released, both by dispose() and by garbage collection.

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

// V8's heap grows by up to 30 MB before it stabilises. A leak in these tests would be hundreds of megabytes.
const maxGrowth = 50e6;

/** Defines `measure()`, which returns the process's resources after garbage collection, with the worker threads idle. */
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

interface Resources {
  rss: number;
  heapUsed: number;
  files: number;
  threads: number;
}

/** Runs a script that prints the resources before and after its work. */
async function resourcesBeforeAndAfter(script: string): Promise<[Resources, Resources]> {
  const { stdout, stderr, exitCode } = await runNode(`${measuring}${script}`, { file });
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return JSON.parse(stdout);
}

function expectFlat([before, after]: [Resources, Resources]): void {
  expect(after.files).toBe(before.files);
  // The last model's thread may still exist: it is joined when the next one starts.
  expect(after.threads).toBeLessThanOrEqual(before.threads + 1);
  expect(after.rss - before.rss).toBeLessThan(maxGrowth);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(1e6);
}

describe('memory stays flat', () => {
  test.each([true, false])('when 200 models are opened and closed, mmap %s', async (mmap) => {
    const resources = await resourcesBeforeAndAfter(
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
    expectFlat(resources);
  });

  test('when thousands of calls share one signal', async () => {
    const resources = await resourcesBeforeAndAfter(
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
    expectFlat(resources);
  });

  test('when calls are aborted, fail or are left early', async () => {
    const resources = await resourcesBeforeAndAfter(
      `const model = await gpt2.loadModel(args.file, { threads: 1 });
       const counts = { aborted: 0, failed: 0, left: 0 };
       const once = async () => {
         const controller = new AbortController();
         const running = model.generate([1], { maxTokens: 50, seed: 1, signal: controller.signal });
         setImmediate(() => controller.abort());
         await running.catch(() => counts.aborted++);
         await model.logits([1e9]).catch(() => counts.failed++);
         for await (const part of model.stream([1], { maxTokens: 50, seed: 1 })) {
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
    expectFlat(resources);
  });
});

// Nothing calls gc() during the work in these tests. The collector runs because it is informed of the native memory
// (AdjustExternalMemory). Without that, all of it would remain allocated.
describe('garbage collection frees', () => {
  test('200 models whose files were read into memory and whose loggers refer to them', async () => {
    const [before, after] = await resourcesBeforeAndAfter(
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
    const positions = 64; // of a block
    await using model = await loadModel(file);
    const { layerCount, embeddingLength, cacheType } = model.config;
    const numberBytes = cacheType === 'f32' ? 4 : 2;
    const cacheBytes = 2 * layerCount * positions * embeddingLength * numberBytes;

    const [before, after] = await resourcesBeforeAndAfter(
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
