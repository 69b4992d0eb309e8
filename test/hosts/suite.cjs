// The library's tests in a realm that is not Node's own: Error, Uint32Array and AbortSignal are then other classes than
// those of the addon and of Node's modules. Each host calls this function with its test() and expect() as globals.

const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { runInThisContext } = require('node:vm');

const books = join(__dirname, '..', 'fixtures', 'gpt2-books');

module.exports = ({ loadModel, createModel, convert, Gpt2Error }) => {
  const { Error: OtherError, Uint32Array: OtherArray } = runInThisContext('globalThis');
  const OtherController = runInThisContext('AbortController');
  const folder = mkdtempSync(join(tmpdir(), 'gpt2-native-hosts-'));
  let model;

  beforeAll(async () => {
    model = await loadModel();
  });

  afterAll(async () => {
    await model.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const failureOf = async (call) => {
    try {
      await call();
    } catch (error) {
      return error;
    }
    throw new Error('Expected an error');
  };

  test('the realm is not that of Node', () => {
    expect(Error).not.toBe(OtherError);
    expect(Uint32Array).not.toBe(OtherArray);
  });

  test('token ids of all realms are accepted', async () => {
    const { data, shape, tokens } = await model.logits([464, 3290]);
    expect(shape).toEqual([1, 50257]);
    expect(data).toBeInstanceOf(Float32Array);
    expect(tokens).toBeInstanceOf(Uint32Array);
    const other = runInThisContext('Array');
    for (const input of [
      Uint32Array.of(464, 3290),
      OtherArray.of(464, 3290),
      Int32Array.of(464, 3290),
      runInThisContext('Int32Array').of(464, 3290),
      other.of(464, 3290),
      'The dog',
    ]) {
      const again = await model.logits(input, { positions: other.of(1) });
      expect(Buffer.compare(Buffer.from(again.data.buffer), Buffer.from(data.buffer))).toBe(0);
    }
  });

  test.each([
    ['TOKEN_OUT_OF_RANGE', () => model.logits([-1])],
    ['INVALID_ARGUMENT', () => model.logits(Float32Array.of(1))],
    ['FILE_NOT_FOUND', () => loadModel(join(folder, 'missing.gguf'))],
    ['INVALID_FILE', () => loadModel(join(folder, 'damaged.gguf'))],
    ['FILE_UNWRITABLE', () => convert(books, join(folder, 'damaged.gguf', 'target.gguf'))],
    ['FILE_NOT_FOUND', () => convert(join(folder, 'empty'), join(folder, 'target.gguf'))],
  ])('errors of the addon and of Node have the code %s', async (code, call) => {
    writeFileSync(join(folder, 'damaged.gguf'), 'GGUF and no more');
    const error = await failureOf(call);
    expect(error).toBeInstanceOf(Gpt2Error);
    expect(error).toBeInstanceOf(Error);
    expect(error.code).toBe(code);
  });

  test('a checkpoint is converted and loaded', async () => {
    const opened = await loadModel(books, { cacheDir: folder });
    const own = await opened.logits('The dog');
    const packaged = await model.logits('The dog');
    expect(own.shape).toEqual(packaged.shape);
    await opened.dispose();
  });

  test('signals of all realms and of polyfills abort', async () => {
    for (const Controller of [AbortController, OtherController]) {
      const controller = new Controller();
      const running = model.generate([464], { maxTokens: 500, signal: controller.signal });
      setTimeout(() => controller.abort(), 5);
      expect(await failureOf(() => running)).toBe(controller.signal.reason);
    }
    // As abort-controller on npm: no reason, no throwIfAborted().
    const listeners = new Set();
    const signal = {
      aborted: false,
      addEventListener: (_, listener) => listeners.add(listener),
      removeEventListener: (_, listener) => listeners.delete(listener),
    };
    const running = model.generate([464], { maxTokens: 500, signal });
    setTimeout(() => {
      signal.aborted = true;
      for (const listener of listeners) listener();
    }, 5);
    expect((await failureOf(() => running)).name).toBe('AbortError');
    expect((await failureOf(() => model.logits([464], { signal }))).name).toBe('AbortError');
    expect(listeners.size).toBe(0);
  });

  test('sessions, streams and disposal', async () => {
    const session = model.createSession();
    const { text } = await session.generate('Once', { maxTokens: 8, temperature: 0 });
    let streamed = '';
    for await (const part of model.stream('Once', { maxTokens: 8, temperature: 0 })) {
      streamed += part.text;
    }
    expect(streamed).toBe(text);
    for await (const _ of session.stream('', { maxTokens: 8 })) break;
    const fork = session.fork();
    // The symbols that programs with `using` look up, compiled by Babel or esbuild.
    fork[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
    expect((await failureOf(() => fork.evaluate([464]))).code).toBe('DISPOSED');
    const made = await createModel(
      { vocab_size: 64, context_length: 8, emb_dim: 8, n_heads: 2, n_layers: 1, drop_rate: 0, qkv_bias: true },
      { cacheDir: folder, seed: 1 },
    );
    expect((await made.logits([1, 2])).shape).toEqual([1, 64]);
    await made[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
    expect((await failureOf(() => made.logits([1]))).code).toBe('DISPOSED');
  });
};
