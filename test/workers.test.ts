// The package in worker threads: they share the memory of a file, and terminating one does not affect the others.

import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { packageEntry, runNode } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const cacheDir = temporaryFolder();
const file = join(cacheDir, 'model.gguf');
const loading = { cacheDir, threads: 1 };
const args = { file, folder: fixtureFolder('wide'), loading, entry: packageEntry };

beforeAll(() => convert(fixtureFolder('wide'), file));

/** Defines `start(body)`, which runs a script in a worker with `gpt2`, `args` and `post(message)`. */
const startWorkers = `
  const { Worker } = require('node:worker_threads');
  const start = (body) => new Worker(\`
    const { parentPort, workerData: args } = require('node:worker_threads');
    const gpt2 = require(args.entry);
    const post = (message) => parentPort.postMessage(message);
    (async () => { \${body} })();\`, { eval: true, workerData: args });
  const nextMessage = (worker) => new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  const ended = (worker) => new Promise((resolve) => worker.once('exit', resolve));
`;

describe('workers', () => {
  test('that open one file concurrently give the same results', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `${startWorkers}
       const body = \`const model = await gpt2.loadModel(args.file, args.loading);
         const { tokens } = await model.generate([1, 2], { maxTokens: 20, temperature: 0 });
         post(tokens.join());\`;
       const model = await gpt2.loadModel(args.file, args.loading);
       const { tokens } = await model.generate([1, 2], { maxTokens: 20, temperature: 0 });
       const all = await Promise.all([1, 2, 3, 4, 5, 6].map(() => nextMessage(start(body))));
       console.log(all.length, new Set([tokens.join(), ...all]).size);`,
      args,
    );
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: '6 1\n', stderr: '', exitCode: 0 });
  });

  test('that convert one folder concurrently all succeed', async () => {
    const { stdout, stderr } = await runNode(
      `${startWorkers}
       const body = \`const model = await gpt2.loadModel(args.folder, { cacheDir: args.fresh, threads: 1 });
         post(model.config.layerCount);\`;
       const all = await Promise.all([1, 2, 3, 4].map(() => nextMessage(start(body))));
       console.log(all.join(), require('node:fs').readdirSync(args.fresh).length);`,
      { ...args, fresh: join(cacheDir, 'fresh') },
    );
    expect({ stdout, stderr }).toEqual({ stdout: '2,2,2,2 1\n', stderr: '' });
  });

  test.runIf(process.platform === 'linux')('share the pages of the file', async () => {
    const { stdout, stderr } = await runNode(
      `${startWorkers}
       const body = \`const model = await gpt2.loadModel(args.file, args.loading);
         await model.logits([1, 2, 3]);
         post('loaded');
         setInterval(() => model, 1000);\`;
       await Promise.all([1, 2, 3].map(() => nextMessage(start(body))));
       const maps = require('node:fs').readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
       const ours = maps.filter((map) => map.includes('model.gguf'));
       const sum = (key) => ours.reduce((total, map) => total + Number(new RegExp(key + ':\\\\s+(\\\\d+)').exec(map)[1]), 0);
       console.log(JSON.stringify({ maps: ours.length, rss: sum('Rss') > 0, anonymous: sum('Anonymous') }));
       process.exit();`,
      args,
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({ maps: 3, rss: true, anonymous: 0 });
  });

  test('that are terminated during work do not affect the others', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `${startWorkers}
       const forever = \`const model = await gpt2.loadModel(args.file, args.loading);
         post('at work');
         for (;;) await Promise.all([model.generate([1], { maxTokens: 80 }), model.logits([1, 2])]);\`;
       const steady = start(\`const model = await gpt2.loadModel(args.file, args.loading);
         const texts = new Set();
         let stop = false;
         parentPort.once('message', () => { stop = true; });
         post('at work');
         while (!stop) texts.add((await model.generate([1], { maxTokens: 20, seed: 1 })).tokens.join());
         post(texts.size);\`);
       await nextMessage(steady);
       const times = [];
       for (const delay of [0, 0, 1, 2, 3, 5, 7, 11, 20, 50]) {
         const worker = start(forever);
         await nextMessage(worker);
         await new Promise((resolve) => setTimeout(resolve, delay));
         const before = performance.now();
         await worker.terminate();
         times.push(performance.now() - before);
       }
       // The median, since a busy machine may delay single calls.
       if (times.sort((a, b) => a - b)[5] > 200) console.log('terminate took', times);
       const texts = nextMessage(steady);
       steady.postMessage('stop');
       console.log('texts', await texts);`,
      args,
    );
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'texts 1\n', stderr: '', exitCode: 0 });
  });

  test('that are terminated during loading or conversion leave no partial files', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `${startWorkers}
       const { readdirSync } = require('node:fs');
       const body = \`post('at work');
         for (let i = 0; ; i++) {
           await gpt2.convert(args.folder, args.target + i);
           await (await gpt2.loadModel(args.target + i, { threads: 1, mmap: false })).dispose();
           post('done');
         }\`;
       for (const delay of [0, 1, 2, 4, 8, 16, 32, 64]) {
         const worker = start(body);
         await nextMessage(worker);
         await new Promise((resolve) => setTimeout(resolve, delay));
         await worker.terminate();
       }
       const last = start(body);
       console.log(await nextMessage(last), await nextMessage(last));
       await last.terminate();
       const { dirname } = require('node:path');
       console.log(readdirSync(dirname(args.target)).filter((name) => name.endsWith('.tmp')));`,
      { ...args, target: join(freshFolder(cacheDir), 'model.gguf') },
    );
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: 'at work done\n[]\n',
      stderr: '',
      exitCode: 0,
    });
  });

  test('that exit during work end with their own status', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `${startWorkers}
       const begin = \`const model = await gpt2.loadModel(args.file, args.loading);
         for (let i = 0; i < 10; i++) model.generate([1], { maxTokens: 90 }).catch(() => {});\`;
       const exits = start(begin + 'process.exit(7);');
       const throws = start(begin + \`setTimeout(() => { throw new Error('mine'); }, 5);\`);
       const error = new Promise((resolve) => throws.once('error', resolve));
       const [first, { message }, second] = await Promise.all([ended(exits), error, ended(throws)]);
       console.log(first, message, second);`,
      args,
    );
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: '7 mine 1\n',
      stderr: '',
      exitCode: 0,
    });
  });
});
