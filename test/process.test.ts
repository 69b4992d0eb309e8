// The package in child processes: how it is loaded, and that it neither crashes a process nor keeps it alive.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { convert, type ErrorCode, Gpt2Error, version } from '../dist/index.js';
import { addon } from '../dist/native/addon.js';
import { fixtureFolder } from './golden.js';
import { type ProcessResult, packageEntry, packageModule, runNode } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const cacheDir = temporaryFolder();
const loading = { cacheDir, threads: 1 };
const args = { folder: fixtureFolder('wide'), loading, entry: packageEntry, module: packageModule };
const done = { stdout: 'done\n', stderr: '', exitCode: 0, signal: null };

describe('the package', () => {
  test('is the same from require() and import()', async () => {
    const { stdout, stderr, exitCode } = await runNode(
      `const esm = await import(require('node:url').pathToFileURL(args.module));
       const names = Object.keys(gpt2);
       console.log(JSON.stringify({
         names: names.sort(),
         missing: names.filter((name) => esm[name] !== gpt2[name]),
         error: await esm.loadModel('/nowhere').catch((error) => [
           error instanceof gpt2.Gpt2Error, error instanceof esm.Gpt2Error, error.code,
         ]),
       }));`,
      args,
    );
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(JSON.parse(stdout)).toEqual({
      names: ['Gpt2Error', 'convert', 'createModel', 'crossEntropy', 'loadModel', 'version'],
      missing: [],
      error: [true, true, 'FILE_NOT_FOUND'],
    });
  });

  test('can be required by name', async () => {
    const { stdout } = await runNode(
      `const byName = require('node:module').createRequire(args.entry)('gpt2-native');
       console.log(byName === gpt2);`,
      args,
    );
    expect(stdout).toBe('true\n');
  });

  test('has the same version as its addon', () => {
    expect(version).toMatch(/^\d+\.\d+\.\d+/);
    expect(addon().version).toBe(version);
  });

  const hasEmulator =
    process.arch === 'x64' && spawnSync('qemu-x86_64', ['--version']).status === 0;
  const emulated = (processor: string, script: string) =>
    spawnSync('qemu-x86_64', ['-cpu', processor, process.execPath, '-e', script], {
      encoding: 'utf8',
    });

  test.runIf(hasEmulator)('is rejected on a processor without SSE4.2', () => {
    const script = `
      const { Gpt2Error } = require(${JSON.stringify(packageEntry.replace('index.js', 'errors.js'))});
      try {
        require(${JSON.stringify(packageEntry)});
      } catch (error) {
        console.log(error instanceof Gpt2Error, error.code, error.message);
      }`;
    const { stdout, status } = emulated('core2duo', script);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^true ADDON_MISMATCH .*built for a processor with SSE4\.2/);
  });

  test.runIf(hasEmulator).each([
    ['Nehalem', 'x86-64-v2'],
    ['Haswell', 'avx2'],
  ])('computes on an emulated %s with the kernels of %s', (processor, level) => {
    const script = `
      const { addon } = require(${JSON.stringify(packageEntry.replace('index.js', 'native/addon.js'))});
      const gpt2 = require(${JSON.stringify(packageEntry)});
      gpt2.loadModel(undefined, { threads: 1 }).then(async (model) => {
        const { level } = addon().describeSystem().kernels.find(({ isChosen }) => isChosen);
        console.log(JSON.stringify([level, ...(await model.logits('Hello')).data.slice(0, 99)]));
        process.exit();
      });`;
    const there = emulated(processor, script);
    expect(there.status).toBe(0); // the emulator warns of what it does not emulate
    const env = { ...process.env, GPT2_NATIVE_KERNELS: level };
    const here = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', env });
    expect(here.stdout).toBe(there.stdout);
    expect(JSON.parse(here.stdout)[0]).toBe(level);
  });

  test('has errors that extend Error', () => {
    const cause = new Error('cause');
    const error = new Gpt2Error('INTERNAL' satisfies ErrorCode, 'message', { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'Gpt2Error', code: 'INTERNAL', message: 'message', cause });
  });
});

describe('the first text of a process', () => {
  const script = (body: string) => `(async () => {
    const model = await gpt2.loadModel(undefined, { threads: 1 });
    const session = model.createSession();
    ${body}
  })();`;

  test('keeps its place among the calls on a session while the tokenizer loads', async () => {
    const { stdout, stderr } = await runNode(
      script(`
        await Promise.all([
          session.evaluate('Hello world'),
          session.evaluate([11]),
          session.generate(' and', { maxTokens: 0 }),
          session.evaluate([13]),
        ]);
        console.log(session.tokens.join(' '));`),
      args,
    );
    expect({ stdout, stderr }).toEqual({ stdout: '15496 995 11 290 13\n', stderr: '' });
  });

  test('may be tokenized synchronously while a call loads the tokenizer', async () => {
    const { stdout, stderr } = await runNode(
      script(`
        const evaluated = session.evaluate('Hello world');
        await new Promise((resolve) => setTimeout(resolve)); // after the first step
        console.log(model.tokenizer.encode('Hello world').join(' '));
        console.log((await evaluated).tokens.join(' '));`),
      args,
    );
    expect({ stdout, stderr }).toEqual({ stdout: '15496 995\n15496 995\n', stderr: '' });
  });

  test.each(['session', 'model'])('is cancelled when its %s is disposed', async (name) => {
    const { stdout, stderr } = await runNode(
      script(`
        const calls = [
          session.evaluate('Hello world'),
          model.createSession().generate('Hello world'),
          model.stream('Hello world').next(),
        ];
        ${name}.dispose(); // while they wait for the tokenizer
        console.log((await Promise.allSettled(calls)).map(({ reason }) => reason?.code).join(' '));
        process.exit(0);`),
      args,
    );
    const others = name === 'model' ? 'DISPOSED DISPOSED' : ' ';
    expect({ stdout, stderr }).toEqual({ stdout: `DISPOSED ${others}\n`, stderr: '' });
  });

  test('is cancelled by its signal even if the text is too long', async () => {
    const { stdout } = await runNode(
      script(`
        const controller = new AbortController();
        const { signal } = controller;
        const tooLong = ' a'.repeat(1000);
        const evaluated = session.evaluate(tooLong, { signal });
        controller.abort('enough'); // while it waits for the tokenizer
        console.log(await evaluated.catch((reason) => reason), session.length);
        await session.evaluate('Hello world');
        console.log(session.length);`),
      args,
    );
    expect(stdout).toBe('enough 0\n2\n');
  });
});

describe('a process', () => {
  test('exits at the end of its script, whatever is open', async () => {
    const result = await runNode(
      `const model = await gpt2.loadModel(args.folder, args.loading);
       const session = model.createSession();
       await session.evaluate([1, 2]);
       model.stream([1]).next();
       await model.generate([1], { maxTokens: 2, seed: 1 });
       console.log('done');`,
      args,
    );
    expect(result).toEqual(done);
  });

  test('stays alive while a call is running', async () => {
    const result = await runNode(
      `const model = await gpt2.loadModel(args.folder, args.loading);
       model.generate([1], { maxTokens: 60, temperature: 0 }).then(() => console.log('done'));`,
      args,
    );
    expect(result).toEqual(done);
  });

  test.each([0, 15])('may exit during work, %d ms after its start', async (delay) => {
    // Repeated, since the outcome may depend on the moment of the exit.
    for (let i = 0; i < 8; i++) {
      const { exitCode, signal } = await runNode(
        `const model = await gpt2.loadModel(args.folder, args.loading);
         for (let i = 0; i < 10; i++) model.generate([1], { maxTokens: 90 });
         setTimeout(() => process.exit(3), ${delay});`,
        args,
      );
      expect({ exitCode, signal }).toEqual({ exitCode: 3, signal: null });
    }
  });

  test.each<[string, string, Partial<ProcessResult>]>([
    ['an uncaught exception', "throw new Error('mine');", { exitCode: 1, signal: null }],
    ['an unhandled rejection', "Promise.reject(new Error('mine'));", { exitCode: 1, signal: null }],
    ['SIGINT', "process.kill(process.pid, 'SIGINT');", { exitCode: null, signal: 'SIGINT' }],
    ['SIGTERM', "process.kill(process.pid, 'SIGTERM');", { exitCode: null, signal: 'SIGTERM' }],
    [
      'SIGINT with a handler that exits',
      "process.on('SIGINT', () => process.exit(130)); process.kill(process.pid, 'SIGINT');",
      { exitCode: 130, signal: null },
    ],
    ['process.exit in a stream', '', { exitCode: 5, signal: null }],
  ])('ends by %s during work, with the right status', async (_, end, expected) => {
    for (const delay of [0, 10]) {
      const { exitCode, signal } = await runNode(
        `const model = await gpt2.loadModel(args.folder, args.loading);
         for (let i = 0; i < 10; i++) model.generate([1], { maxTokens: 90 }).catch(() => {});
         (async () => {
           for await (const part of model.stream([1], { maxTokens: 90 })) {
             if (args.end === '') process.exit(5);
           }
         })().catch(() => {});
         setTimeout(() => { ${end} }, ${delay});`,
        { ...args, end },
      );
      expect({ exitCode, signal }).toEqual(expected);
    }
  });

  test('may make calls while it exits, which start no work', async () => {
    const { stdout, stderr, exitCode, signal } = await runNode(
      `const model = await gpt2.loadModel(args.folder, args.loading);
       const session = model.createSession();
       process.on('exit', () => {
         const codeOf = (call) => {
           try {
             return call() && 'none';
           } catch (error) {
             return error.code;
           }
         };
         console.log(codeOf(() => model.createSession()), codeOf(() => session.fork()));
         session.evaluate([1]).catch(() => {});
         gpt2.loadModel(args.folder, args.loading).catch(() => {});
       });
       process.exit(3);`,
      args,
      { MALLOC_PERTURB_: '165' }, // glibc fills freed memory, so that reading it shows
    );
    expect({ stdout, stderr, exitCode, signal }).toEqual({
      stdout: 'DISPOSED DISPOSED\n',
      stderr: '',
      exitCode: 3,
      signal: null,
    });
  });

  test('may exit during loading or conversion and leaves no partial file', async () => {
    for (const delay of [0, 2, 5]) {
      const target = join(freshFolder(cacheDir), 'model.gguf');
      const { exitCode, signal } = await runNode(
        `for (let i = 0; i < 4; i++) {
           gpt2.convert(args.folder, args.target).catch(() => {});
           gpt2.loadModel(args.folder, { ...args.loading, mmap: false }).catch(() => {});
         }
         setTimeout(() => process.exit(3), ${delay});`,
        { ...args, target },
      );
      expect({ exitCode, signal }).toEqual({ exitCode: 3, signal: null });
      expect(readdirSync(dirname(target)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    }
  });

  test('may drop models and sessions in any order', async () => {
    const result = await runNode(
      `require('node:v8').setFlagsFromString('--expose-gc');
       const gc = require('node:vm').runInNewContext('gc');
       for (let i = 0; i < 10; i++) {
         let model = await gpt2.loadModel(args.folder, args.loading);
         let session = model.createSession();
         await session.evaluate([1, 2]);
         let fork = session.fork();
         model = session = undefined;
         gc();
         await new Promise(setImmediate);
         const running = fork.evaluate([3]);
         fork = undefined;
         gc();
         await running;
         gc();
         await new Promise(setImmediate);
       }
       console.log('done');`,
      args,
    );
    expect(result).toEqual(done);
  });

  test('survives GGUF files with wrong bytes in their headers', async () => {
    const whole = join(cacheDir, 'whole.gguf');
    await convert(fixtureFolder('own-head-no-bias'), whole);
    const { stdout, ...rest } = await runNode(
      `const fs = require('node:fs');
       const whole = fs.readFileSync(args.whole);
       let state = 1;
       const below = (limit) => {
         state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
         return Math.floor((state / 2 ** 32) * limit);
       };
       const outcomes = { ok: 0 };
       for (let i = 0; i < 600; i++) {
         const bytes = Buffer.from(whole);
         for (let n = below(3); n >= 0; n--) {
           const at = below(3500);
           const change = below(4);
           if (change === 0) bytes[at] = below(256);
           else if (change === 1) bytes[at] ^= 1 << below(8);
           else bytes.fill(change === 2 ? 255 : 0, at, at + 8);
         }
         fs.writeFileSync(args.changed, bytes);
         let outcome = 'ok';
         try {
           const model = await gpt2.loadModel(args.changed, { threads: 1, mmap: i % 2 === 0 });
           await model.generate([1, 2, 3], { maxTokens: 3 }).finally(() => model.dispose());
         } catch (error) {
           outcome = error.code ?? String(error);
         }
         outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
       }
       console.log(JSON.stringify(outcomes));`,
      { whole, changed: join(cacheDir, 'changed.gguf') },
    );
    expect(rest).toEqual({ stderr: '', exitCode: 0, signal: null });
    // Some changes have no effect, or only change weights.
    const expected = ['ok', 'INVALID_FILE', 'UNSUPPORTED_MODEL', 'NOT_FINITE'];
    const outcomes: Record<string, number> = JSON.parse(stdout);
    expect(Object.keys(outcomes).filter((outcome) => !expected.includes(outcome))).toEqual([]);
    expect(outcomes.INVALID_FILE).toBeGreaterThan(outcomes.ok ?? 600);
  });
});
