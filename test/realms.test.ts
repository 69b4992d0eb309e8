// Values and copies of the library in another realm. test:hosts does the same inside Jest and vitest's vm pools.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Context, createContext, runInContext, Script } from 'node:vm';
import { expect, test } from 'vitest';
import * as gpt2 from '../dist/index.js';
import { packageEntry } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const books = join(__dirname, 'fixtures', 'gpt2-books');

/** Loads a CommonJS module of this package, and those that it requires, into a vm context. */
function requireInContext(context: Context, file: string): typeof gpt2 {
  const loaded = new Map<string, { exports: unknown }>();
  const load = (path: string): unknown => {
    const known = loaded.get(path);
    if (known) return known.exports;
    const module = { exports: {} as unknown };
    loaded.set(path, module);
    const nodeRequire = createRequire(path);
    const requireHere = (name: string) => {
      const found = nodeRequire.resolve(name);
      // Addons and modules of Node belong to the main realm, as in Jest.
      return /\.c?js$/.test(found) ? load(found) : nodeRequire(name);
    };
    const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(path, 'utf8')}\n})`;
    const run = new Script(source, { filename: path }).runInContext(context);
    run.call(module.exports, module.exports, requireHere, module, path, dirname(path));
    return module.exports;
  };
  return load(file) as typeof gpt2;
}

test('token ids, positions and options of another realm are accepted', async () => {
  const context = createContext();
  const make = (code: string) => runInContext(code, context);
  const model = await gpt2.loadModel();
  const { data } = await model.logits([464, 3290]);
  for (const code of ['[464, 3290]', 'Uint32Array.of(464, 3290)', 'Int32Array.of(464, 3290)']) {
    const again = await model.logits(make(code), make('({ positions: [1] })'));
    expect(again.data).toEqual(data);
  }
  const prompts: number[][] = make('[[464], [3290]]');
  const [one] = await model.generate(prompts, make('({ maxTokens: 1 })'));
  expect(one?.tokens.length).toBe(1);
  await expect(model.logits(make('Float64Array.of(464)'))).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
  await model.dispose();
});

test('the library works in a context that has only the globals of the language', async () => {
  const context = createContext({ require: undefined, process, Buffer });
  const other = requireInContext(context, packageEntry);
  expect(other.Gpt2Error).not.toBe(gpt2.Gpt2Error);
  const model = await other.loadModel(books, { cacheDir: folder });
  const logits = await model.logits('The dog');
  expect(Object.getPrototypeOf(logits.data)).toBe(runInContext('Float32Array.prototype', context));
  const own = await gpt2.loadModel(books, { cacheDir: folder });
  expect([...logits.data]).toEqual([...(await own.logits('The dog')).data]);
  await own.dispose();

  const cases: [string, () => Promise<unknown>][] = [
    ['FILE_NOT_FOUND', () => other.loadModel(join(folder, 'missing.gguf'))],
    ['INVALID_FILE', () => other.loadModel(__filename)],
    ['UNKNOWN_OPTION', () => other.loadModel(books, { tpye: 'f16' } as gpt2.LoadOptions)],
    ['TOKEN_OUT_OF_RANGE', () => model.logits([-1])],
  ];
  for (const [code, call] of cases) {
    const error = await call().catch((error: gpt2.Gpt2Error) => error);
    expect(error).toBeInstanceOf(other.Gpt2Error);
    expect(error).toMatchObject({ code });
  }

  const controller = new AbortController();
  const running = model.generate([464], { maxTokens: 500, signal: controller.signal });
  setTimeout(() => controller.abort(), 5);
  expect(await running.catch((error: unknown) => error)).toBe(controller.signal.reason);

  let streamed = '';
  for await (const { text } of model.stream('Once', { maxTokens: 4, seed: 1 })) streamed += text;
  expect(streamed).not.toBe('');
  await model.dispose();
  await expect(model.logits([1])).rejects.toMatchObject({ code: 'DISPOSED' });
  // Nothing that a package needed for a moment is left behind.
  expect(runInContext('Object.getOwnPropertyNames(globalThis)', context)).not.toContain(
    'TextDecoder',
  );
});

test('a signal of a polyfill without reason and throwIfAborted() aborts', async () => {
  const listeners = new Set<() => void>();
  const signal = {
    aborted: false,
    addEventListener: (_: 'abort', listener: () => void) => void listeners.add(listener),
    removeEventListener: (_: 'abort', listener: () => void) => void listeners.delete(listener),
  };
  const model = await gpt2.loadModel(undefined, { signal });
  const running = model.generate([464], { maxTokens: 500, signal });
  setTimeout(() => {
    signal.aborted = true;
    for (const listener of listeners) listener();
  }, 5);
  await expect(running).rejects.toMatchObject({ name: 'AbortError' });
  for (const call of [
    () => gpt2.loadModel(undefined, { signal }),
    () => gpt2.convert(books, join(folder, 'target.gguf'), { signal }),
    () => model.logits([464], { signal }),
    () => model.createSession().evaluate([464], { signal }),
  ]) {
    await expect(call()).rejects.toMatchObject({ name: 'AbortError' });
  }
  expect(listeners.size).toBe(0);
  await model.dispose();
});

test.each([{ aborted: false }, null, 'abort', new EventTarget()])(
  'what is not a signal is refused: %s',
  async (signal) => {
    await expect(gpt2.loadModel(undefined, { signal: signal as never })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('Expected signal to be an AbortSignal'),
    });
  },
);
