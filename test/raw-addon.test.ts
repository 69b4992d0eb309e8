// The compiled addon without lib/ in front of it. lib/ validates arguments; the addon itself must survive objects of
// the wrong class, calls in the wrong state and values of the wrong type. Each script runs in a child process.

import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { stageNames } from '../dist/generation/option-table.js';
import { convert } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { packageEntry, runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const file = join(folder, 'model.gguf');
beforeAll(() => convert(fixtureFolder('wide'), file));

const addonModule = packageEntry.replace('index.js', 'native/addon.js');

// Defines for every script an open model, a session, a file, and errorOf(), which returns the code of an error.
const prelude = `
  process.chdir(args.folder); // some garbage is a valid name for a file to write
  const addon = require(args.addon).addon();
  const options = { device: 'cpu', threads: 1, contextLength: 0, cacheType: undefined, mmap: true, machineBytes: 2 ** 30, prefixCache: true };
  const model = await addon.openModel(args.file, options, undefined, undefined);
  const session = model.createSession();
  const file = await addon.openFile(args.weights);
  const vocabSize = model.describe().vocabSize;
  const packed = (Values, ...lists) =>
    ({ values: Values.from(lists.flat()), lengths: Uint32Array.from(lists, (list) => list.length) });
  const stage = { name: 'topK', numbers: { k: 5 }, sequences: packed(Uint32Array), values: new Float64Array(0), texts: packed(Uint8Array) };
  const sampling = {
    maxTokens: 1, minTokens: 0, seed: 1, stages: [stage], stopStrings: packed(Uint8Array), stopTokens: Uint32Array.of(3),
    ignoreEndOfText: false, timeBudgetMs: undefined, overflow: 'stop', topLogprobs: 2, logprobsOfSampler: false,
    hostStep: 'none',
  };
  const errorOf = async (call) => {
    try {
      await call();
      return 'none';
    } catch (error) {
      return error.code ?? error.name;
    }
  };
  const evaluate = (tokens, cancellation) =>
    session.evaluate(0, Uint32Array.from(tokens), new Uint32Array(1), new Float32Array(vocabSize), cancellation);
`;

async function runRaw(script: string): Promise<unknown> {
  const { stdout, ...rest } = await runNode(
    `${prelude} console.log(JSON.stringify(await (async () => { ${script} })()));`,
    {
      addon: addonModule,
      folder,
      file,
      weights: join(fixtureFolder('wide'), 'model.safetensors'),
    },
    { MALLOC_PERTURB_: '165' }, // glibc fills freed memory, so that reading it shows
  );
  expect(rest).toEqual({ exitCode: 0, signal: null, stderr: '' });
  return JSON.parse(stdout);
}

describe('the state of a raw object', () => {
  test('calls on a disposed model fail with DISPOSED', async () => {
    const errors = await runRaw(`
      const disposing = model.dispose();
      const during = [await errorOf(() => model.describe()), await errorOf(() => model.createSession())];
      await disposing;
      return [...during, await errorOf(() => model.describe()), await errorOf(() => model.createSession())];`);
    expect(errors).toEqual(['DISPOSED', 'DISPOSED', 'DISPOSED', 'DISPOSED']);
  });

  test('a model can be disposed again, during and after the first time', async () => {
    const outcomes = await runRaw(`
      return [...await Promise.all([model.dispose(), model.dispose()]), await model.dispose()].map(String);`);
    expect(outcomes).toEqual(['undefined', 'undefined', 'undefined']);
  });

  test('calls on a session fail with DISPOSED once it or its model is disposed', async () => {
    const errors = await runRaw(`
      const other = model.createSession();
      other.dispose();
      other.dispose();
      const own = await errorOf(() => other.fork());
      await model.dispose();
      return [own, await errorOf(() => session.fork()), await errorOf(() => evaluate([1]))];`);
    expect(errors).toEqual(['DISPOSED', 'DISPOSED', 'DISPOSED']);
  });

  test('a model that is disposed while a call reads its options fails the call with DISPOSED', async () => {
    const errors = await runRaw(`
      let disposing;
      const options = {
        ...sampling,
        get maxTokens() {
          disposing = model.dispose();
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200); // until the model's memory is free
          return 1;
        },
      };
      return [await errorOf(() => session.generate(0, Uint32Array.of(1), options, () => {}, () => {})), await disposing ?? 'none'];`);
    expect(errors).toEqual(['DISPOSED', 'none']);
  });

  test('once the workers are stopped, calls fail with DISPOSED and a model can be disposed', async () => {
    const errors = await runRaw(`
      process.emit('exit'); // stops the workers
      process.emit('exit'); // stops the workers
      return [
        await errorOf(() => model.describe()),
        await errorOf(() => model.createSession()),
        await errorOf(() => session.fork()),
        await errorOf(() => evaluate([1])),
        await errorOf(() => session.generate(0, Uint32Array.of(1), sampling, () => {}, () => {})),
        await errorOf(() => file.read(0, new Uint8Array(1))),
        await errorOf(() => addon.openFile(args.file)),
        await errorOf(() => addon.openModel(args.file, options)),
        await errorOf(() => model.dispose()),
        await errorOf(() => session.dispose()),
      ];`);
    expect(errors).toEqual([...Array(8).fill('DISPOSED'), 'none', 'none']);
  });

  test('stopping the workers rejects the calls under way', async () => {
    const errors = await runRaw(`
      const codes = [];
      for (const wait of [0, 0, 1, 2, 5, 20]) {
        codes.push(
          errorOf(() => addon.openModel(args.file, options)),
          errorOf(() => model.createSession().generate(0, Uint32Array.of(1), { ...sampling, maxTokens: 90 }, () => {}, () => {})),
        );
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
      codes.push(errorOf(() => addon.openModel(args.file, options)));
      process.emit('exit'); // stops the workers
      return [...new Set(await Promise.all(codes))].filter((code) => !['none', 'ABORTED', 'DISPOSED'].includes(code));`);
    expect(errors).toEqual([]);
  });

  test('calls on a closed file fail', async () => {
    const errors = await runRaw(`
      file.close();
      file.close();
      return [await errorOf(() => file.size), await errorOf(() => file.read(0, new Uint8Array(1)))];`);
    expect(errors).toEqual(['INTERNAL', 'INTERNAL']);
  });
});

describe('the class of a raw object', () => {
  test('an object of another class is not accepted as a cancellation', async () => {
    const errors = await runRaw(`
      const others = [model, session, file, {}, [], 1, 'x', null, () => {}, new Proxy(new addon.Cancellation(), {})];
      const errors = [];
      for (const other of others) {
        errors.push(await errorOf(() => evaluate([1], other)));
        errors.push(await errorOf(() => file.read(0, new Uint8Array(1), other)));
        errors.push(await errorOf(() => addon.openModel(args.file, options, undefined, other)));
      }
      errors.push(await errorOf(() => evaluate([1], new addon.Cancellation())));
      return errors;`);
    expect(errors).toEqual([...Array(30).fill('TypeError'), 'none']);
  });

  test('an object of another class is not accepted as a file to convert', async () => {
    const errors = await runRaw(`
      const errors = [];
      for (const other of [model, session, new addon.Cancellation(), {}, null, undefined]) {
        const part = { file: other, offset: 0, type: 'f32', rows: 1, columns: 1, transpose: false };
        const tensor = { name: 'x', type: 'f32', parts: [part] };
        errors.push(await errorOf(() => addon.writeGguf(args.file + '.new', new Uint8Array(0), [tensor], 1, () => {})));
      }
      return errors;`);
    expect(errors).toEqual(Array(6).fill('TypeError'));
  });

  test('constructors and methods of native classes reject foreign arguments and receivers', async () => {
    const errors = await runRaw(`
      const errors = [];
      for (const one of [model, session, file]) {
        for (const given of [[], [1], [{}], [model], [session, session]]) {
          errors.push(await errorOf(() => new one.constructor(...given)));
        }
      }
      const { describe } = Object.getPrototypeOf(model);
      const { fork } = Object.getPrototypeOf(session);
      for (const other of [model, session, file, {}, undefined]) {
        if (other !== model) errors.push(await errorOf(() => describe.call(other)));
        if (other !== session) errors.push(await errorOf(() => fork.call(other)));
      }
      return errors;`);
    expect(errors).toEqual(Array(15 + 8).fill('TypeError'));
  });
});

describe('the arguments of a raw call', () => {
  test('a number out of range is rejected', async () => {
    const errors = await runRaw(`
      const notWhole = [NaN, 0.5, Infinity, -Infinity, 2 ** 63];
      const notUnsigned = [...notWhole, -1];
      const notThreads = [...notWhole, 2 ** 32, 2 ** 32 + 1, -(2 ** 32)];
      const target = args.file + '.rejected';
      const write = (numbers, threads = 1) =>
        addon.writeGguf(target, new Uint8Array(8), [{ name: 'a', type: 'f32', ...numbers }], threads, () => {});
      const drawn = { seed: 1, stream: 1, deviation: 1, rows: 1, columns: 1 };
      const errors = [];
      for (const threads of notThreads) {
        errors.push(await errorOf(() => addon.openModel(args.file, { ...options, threads })));
        errors.push(await errorOf(() => write({ drawn }, threads)));
      }
      for (const number of notUnsigned) {
        errors.push(await errorOf(() => file.read(number, new Uint8Array(1))));
        errors.push(await errorOf(() => write({ drawn: { ...drawn, seed: number } })));
        errors.push(await errorOf(() => write({ drawn: { ...drawn, stream: number } })));
        errors.push(await errorOf(() => write({ equal: { value: 0, count: number } })));
      }
      return errors;`);
    expect(errors).toEqual(Array(2 * 8 + 4 * 6).fill('TypeError'));
  });

  test('a matrix of 0 or 2^31 rows or columns is rejected', async () => {
    const errors = await runRaw(`
      const part = { file, offset: 0, type: 'f32', rows: 1, columns: 1, transpose: false };
      const drawn = { seed: 1, stream: 1, deviation: 1, rows: 1, columns: 1 };
      const errors = [];
      for (const extent of [0, 2 ** 31]) {
        for (const change of [{ rows: extent }, { columns: extent }]) {
          for (const numbers of [{ parts: [{ ...part, ...change }] }, { drawn: { ...drawn, ...change } }]) {
            const tensors = [{ name: 'a', type: 'f32', ...numbers }];
            errors.push(await errorOf(() =>
              addon.writeGguf(args.file + '.rejected', new Uint8Array(8), tensors, 1, () => {})));
          }
        }
      }
      return errors;`);
    expect(errors).toEqual(Array(8).fill('INVALID_ARGUMENT'));
  });

  test('a type that tensors cannot be encoded in is rejected', async () => {
    const errors = await runRaw(`
      const drawn = { seed: 1, stream: 1, deviation: 1, rows: 1, columns: 256 };
      const errors = [];
      for (const type of ['iq2_xxs', 'iq1_s', 'q8_k', 'q8_1', 'i8', 'i32', 'f64']) {
        errors.push(await errorOf(() =>
          addon.writeGguf(args.file + '.rejected', new Uint8Array(8), [{ name: 'a', type, drawn }], 1, () => {})));
      }
      return errors;`);
    expect(errors).toEqual(Array(7).fill('INVALID_ARGUMENT'));
  });

  test('a cache of a type other than f32 and f16 is rejected', async () => {
    const errors = await runRaw(`
      const errors = [];
      for (const cacheType of ['q4_0', 'q8_0', 'bf16', 'i8', 'f64']) {
        errors.push(await errorOf(() => addon.openModel(args.file, { ...options, cacheType })));
      }
      return errors;`);
    expect(errors).toEqual(Array(5).fill('INVALID_ARGUMENT'));
  });

  test('a logits array of the wrong length or type is rejected', async () => {
    const errors = await runRaw(`
      const errors = [];
      const arrays = [0, 1, vocabSize - 1, vocabSize + 1].map((length) => new Float32Array(length));
      for (const out of [...arrays, new Uint8Array(vocabSize), new Float64Array(vocabSize), [], undefined]) {
        errors.push(await errorOf(() => session.evaluate(0, Uint32Array.of(1), new Uint32Array(1), out)));
      }
      return errors;`);
    expect(errors).toEqual(Array(8).fill('TypeError'));
  });

  test('garbage in any argument of any call causes an error, not a crash', async () => {
    const tried = await runRaw(`
      const garbage = [
        undefined, null, true, 0, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 63), 2 ** 64, 1n,
        '', 'x', '\\0', 'f32', Symbol('x'), {}, [], [1], () => {}, new Uint8Array(3), new Uint32Array(2),
        new Float32Array(vocabSize), model, session, file, new addon.Cancellation(),
      ];
      const part = { file, offset: 0, type: 'f32', rows: 1, columns: 1, transpose: false };
      const target = args.file + '.garbage';
      const calls = [
        [addon, 'openModel', [args.file, options, undefined, undefined]],
        [addon, 'inspectGguf', [args.file]],
        [addon, 'openFile', [args.file]],
        [addon, 'lockFile', [args.file + '.lock']],
        [addon, 'blockSize', ['f32']],
        [addon, 'writeGguf', [target, new Uint8Array(8), [{ name: 'x', type: 'f32', parts: [part] }], 1, () => {}, undefined]],
        [file, 'read', [0, new Uint8Array(4), undefined]],
        [session, 'evaluate', [0, Uint32Array.of(1), new Uint32Array(1), new Float32Array(vocabSize), undefined]],
        [session, 'generate', [0, Uint32Array.of(1), sampling, () => {}, () => {}, undefined]],
        [session, 'resume', [false, undefined]],
        [session, 'wake', []],
        [session, 'score', [0, Uint32Array.of(1, 2), 0, Uint32Array.of(2, 3), 1, undefined]],
        [session, 'save', [0, Uint32Array.of(1), target + '.session', undefined]],
        [session, 'restore', [target + '.session', undefined]],
      ];
      const nested = [
        ...Object.keys(options).map((key) => ['openModel', (value) => [args.file, { ...options, [key]: value }]]),
        ...Object.keys(part).map((key) => ['writeGguf', (value) =>
          [target, new Uint8Array(8), [{ name: 'x', type: 'f32', parts: [{ ...part, [key]: value }] }], 1, () => {}]]),
        ...['seed', 'stream', 'deviation', 'rows', 'columns'].map((key) => ['writeGguf', (value) =>
          [target, new Uint8Array(8), [{ name: 'x', type: 'f32', drawn:
            { seed: 1, stream: 1, deviation: 1, rows: 1, columns: 1, [key]: value } }], 1, () => {}]]),
        ...['value', 'count'].map((key) => ['writeGguf', (value) =>
          [target, new Uint8Array(8), [{ name: 'x', type: 'f32', equal: { value: 1, count: 1, [key]: value } }], 1, () => {}]]),
        ...['f32', 'q8_0', 'q4_k'].map((type) => ['writeGguf', (value) =>
          [target, new Uint8Array(8), [{ name: 'x', type, parts: [{ ...part, columns: value }] }], 1, () => {}]]),
      ];
      let tried = 0;
      const attempt = async (receiver, name, values) => {
        tried++;
        const outcome = await Promise.race([
          (async () => await receiver[name](...values))().catch(() => {}),
          new Promise((resolve) => setTimeout(resolve, 60_000, 'late').unref()),
        ]);
        if (outcome === 'late') throw new Error(name + ' does not end');
        if (typeof outcome === 'function') outcome(); // a lock
        await outcome?.dispose?.();
        outcome?.close?.();
      };
      for (const [receiver, name, values] of calls) {
        await attempt(receiver, name, []);
        for (const value of garbage) {
          for (let i = 0; i < values.length; i++) {
            await attempt(receiver, name, values.with?.(i, value) ?? Object.assign([...values], { [i]: value }));
          }
        }
      }
      for (const [name, values] of nested) {
        for (const value of garbage) await attempt(addon, name, values(value));
      }
      for (const key of Object.keys(sampling)) {
        for (const value of garbage) {
          if (key === 'maxTokens' && typeof value === 'number' && value > 100) continue; // valid, and long
          await attempt(session, 'generate', [0, Uint32Array.of(1), { ...sampling, [key]: value }, () => {}, () => {}]);
        }
      }
      for (const key of Object.keys(stage)) {
        for (const value of garbage) {
          for (const stages of [[{ ...stage, [key]: value }], [{ ...stage, [key]: [value] }], [value],
            [{ ...stage, [key]: { values: value, lengths: Uint32Array.of(1) } }], [{ ...stage, [key]: { values: Uint32Array.of(1), lengths: value } }],
            [{ ...stage, [key]: { values: Uint32Array.of(1), lengths: Uint32Array.of(2 ** 32 - 1) } }]]) {
            await attempt(session, 'generate', [0, Uint32Array.of(1), { ...sampling, stages }, () => {}, () => {}]);
          }
        }
      }
      const names = ${JSON.stringify(stageNames)};
      for (const name of names) {
        for (const value of [NaN, Infinity, -Infinity, -1, 1e300, 0.5]) {
          const keys = ['k', 'p', 'n', 'penalty', 'window', 'size', 'count', 'temperature', 'multiplier', 'base',
            'allowedLength', 'probability', 'threshold', 'tau', 'eta'];
          const numbers = Object.fromEntries(keys.map((key) => [key, value]));
          for (const sequences of [[], [[1]], [[2 ** 32 - 1]], [[1, 2, 3]]].map((lists) => packed(Uint32Array, ...lists))) {
            for (const texts of [[], [[97]], [[200, 0]]].map((lists) => packed(Uint8Array, ...lists))) {
              const stages = [{ name, numbers, sequences, values: Float64Array.of(value), texts }];
              await attempt(session, 'generate', [0, Uint32Array.of(1), { ...sampling, stages }, () => {}, () => {}]);
            }
          }
        }
      }
      require('node:fs').rmSync(target, { force: true });
      return tried;`);
    expect(tried).toBeGreaterThan(1000);
  }, 600_000);
});

test.runIf(process.platform === 'linux')('small file operations share one thread', async () => {
  const threads = await runRaw(`
    const { readdirSync } = require('node:fs');
    const seen = new Set();
    for (let i = 0; i < 300; i++) {
      const reading = i % 3 === 0 ? addon.openFile(args.file) : file.read(i, new Uint8Array(8));
      for (const thread of readdirSync('/proc/self/task')) seen.add(thread);
      (await reading)?.close?.();
    }
    return seen.size - readdirSync('/proc/self/task').length;`);
  expect(threads).toBeLessThanOrEqual(1);
});
