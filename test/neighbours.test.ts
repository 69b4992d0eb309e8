// Neighbours in the same process: other models, another version of the package, the host's own work.

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, loadModel, version } from '../dist/index.js';
import { fixtureFolder, type Golden, logitsError, readGolden } from './golden.js';
import { packageEntry, runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const cacheDir = temporaryFolder();
const loading = { cacheDir, threads: 1 };

function expectGoldenRow({ logits, vocabSize, tokens }: Golden, data: Float32Array): void {
  const last = logits.subarray((tokens.length - 1) * vocabSize);
  expect(logitsError(data, last, vocabSize).max).toBeLessThan(1e-5);
}

describe('concurrent calls', () => {
  test('on two models and their sessions give the same results as alone', async () => {
    const names = ['odd-heads', 'head-size-5'] as const;
    const models = await Promise.all(names.map((name) => loadModel(fixtureFolder(name), loading)));
    const goldens = names.map(readGolden);
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const model = models[i % 2] as (typeof models)[number];
        const golden = goldens[i % 2] as Golden;
        using session = model.createSession();
        const cut = 1 + (i % (golden.tokens.length - 1));
        // Not awaited one by one, since calls on one session queue up.
        const [, { data }] = await Promise.all([
          session.evaluate(golden.tokens.slice(0, cut)),
          session.evaluate(golden.tokens.slice(cut)),
          model.generate([1], { maxTokens: 3 }),
        ]);
        expectGoldenRow(golden, data);
      }),
    );
    await Promise.all(models.map((model) => model.dispose()));
  });

  test('continue on other models when one is disposed', async () => {
    const golden = readGolden('odd-heads');
    await using steady = await loadModel(fixtureFolder('odd-heads'), loading);
    for (let i = 0; i < 10; i++) {
      const passing = await loadModel(fixtureFolder('head-size-5'), loading);
      const results = Promise.allSettled(
        Array.from({ length: 5 }, () => passing.generate([1], { maxTokens: 50 })),
      );
      const rows = Promise.all(Array.from({ length: 3 }, () => steady.logits(golden.tokens)));
      await passing.dispose();
      await results;
      for (const { data } of await rows) expectGoldenRow(golden, data);
    }
  });
});

describe('another version of the package', () => {
  // A copy of the package with another version in JavaScript and in the addon: two copies of ggml, of the
  // registry of worker threads, and of the cleanup hook.
  const other = join(cacheDir, 'other');
  const otherVersion = version.replace(/\d+$/, (patch) => String((Number(patch) + 1) % 10));
  beforeAll(() => {
    const root = join(packageEntry, '..', '..');
    for (const part of ['dist', 'build/Release/gpt2_native.node', 'package.json']) {
      cpSync(join(root, part), join(other, part), { recursive: true });
    }
    for (const file of ['package.json', 'build/Release/gpt2_native.node']) {
      const text = readFileSync(join(other, file), 'latin1');
      writeFileSync(join(other, file), text.replaceAll(version, otherVersion), 'latin1');
    }
  });

  test('gives the same results beside this one, in the main thread and in workers', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `const other = require(args.other);
       const { Worker } = require('node:worker_threads');
       const inWorker = (entry) => new Promise((resolve, reject) => {
         new Worker(\`const { parentPort, workerData: args } = require('node:worker_threads');
           require(args.entry).loadModel(args.file, { threads: 1 })
             .then((model) => model.generate([1, 2], { maxTokens: 20, temperature: 0 }))
             .then(({ tokens }) => parentPort.postMessage(tokens.join()));\`,
           { eval: true, workerData: { ...args, entry } }).once('message', resolve).once('error', reject);
       });
       const generate = async (version) => {
         const model = await version.loadModel(args.file, { threads: 2 });
         const { tokens } = await model.generate([1, 2], { maxTokens: 20, temperature: 0 });
         return tokens.join();
       };
       const texts = await Promise.all([
         generate(gpt2), generate(other), generate(gpt2), generate(other),
         inWorker(args.entry), inWorker(args.other),
       ]);
       const error = await other.loadModel('/nowhere').catch((error) => error);
       console.log(JSON.stringify({
         versions: [gpt2.version, other.version],
         texts: new Set(texts).size,
         errors: [error instanceof other.Gpt2Error, error instanceof gpt2.Gpt2Error, error.code],
       }));`,
      { file: await modelFile(), other: join(other, 'dist', 'index.js'), entry: packageEntry },
    );
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(JSON.parse(stdout)).toEqual({
      versions: [version, otherVersion],
      texts: 1,
      errors: [true, false, 'FILE_NOT_FOUND'],
    });
  });

  test('lets the process exit while both are working', async () => {
    const { exitCode, signal } = await runNode(
      `for (const version of [gpt2, require(args.other)]) {
         const model = await version.loadModel(args.file, { threads: 1 });
         for (let i = 0; i < 10; i++) model.generate([1], { maxTokens: 90 }).catch(() => {});
       }
       setTimeout(() => process.exit(4), 5);`,
      { file: await modelFile(), other: join(other, 'dist', 'index.js') },
    );
    expect({ exitCode, signal }).toEqual({ exitCode: 4, signal: null });
  });
});

describe.runIf(process.platform !== 'win32')(
  'a host that keeps all of libuv’s threads busy',
  () => {
    // Each open() blocks until another process writes. Only a signal ends such a process.
    const holdThreads = `
    const pipe = args.cacheDir + '/pipe';
    require('node:child_process').spawnSync('mkfifo', [pipe]);
    for (let i = 0; i < 64; i++) require('node:fs').open(pipe, 'r', () => {});`;
    const end = `process.kill(process.pid, 'SIGKILL');`;

    test('does not block a model', async () => {
      const { stdout, stderr } = await runNode(
        `const model = await gpt2.loadModel(args.file, { threads: 1 });
       ${holdThreads}
       await model.generate([1], { maxTokens: 20 });
       await model.logits([1, 2], { positions: 'all' });
       await model.dispose();
       console.log('done');
       ${end}`,
        { file: await modelFile(), cacheDir },
      );
      expect({ stdout, stderr }).toEqual({ stdout: 'done\n', stderr: '' });
    });

    test('does not block a conversion', async () => {
      const { stdout, stderr } = await runNode(
        `const { addon } = require(args.addon);
       ${holdThreads}
       const { readText } = require(args.files);
       const file = await addon().openFile(args.folder + '/model.safetensors');
       const bytes = new Uint8Array(8);
       await file.read(0, bytes);
       console.log(JSON.parse(await readText(args.folder + '/config.json')).n_layer, bytes[0] > 0);
       ${end}`,
        {
          addon: packageEntry.replace('index.js', 'native/addon.js'),
          files: packageEntry.replace('index.js', 'files.js'),
          folder: fixtureFolder('wide'),
          cacheDir,
        },
      );
      expect({ stdout, stderr }).toEqual({ stdout: '2 true\n', stderr: '' });
    });

    test('does not block an abort', async () => {
      const { stdout, stderr } = await runNode(
        `${holdThreads}
       const outcomes = await Promise.all([
         (signal) => gpt2.loadModel(args.file, { signal }),
         (signal) => gpt2.loadModel(args.folder, { signal, cacheDir: args.cacheDir }),
         (signal) => gpt2.convert(args.folder, args.file + '2', { signal }),
       ].map(async (call) => {
         const controller = new AbortController();
         setTimeout(() => controller.abort('mine'), 50);
         return await call(controller.signal).then(() => 'done', (reason) => reason);
       }));
       console.log(outcomes.join());
       ${end}`,
        { file: await modelFile(), folder: fixtureFolder('wide'), cacheDir },
      );
      expect({ stdout, stderr }).toEqual({ stdout: 'mine,mine,mine\n', stderr: '' });
    });
  },
);

async function modelFile(): Promise<string> {
  const path = join(cacheDir, 'model.gguf');
  await convert(fixtureFolder('wide'), path);
  return path;
}
