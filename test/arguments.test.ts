// Invalid arguments, call by call. Every error has a code, and its message says what was expected and what was
// received.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { convert, createModel, loadModel, type Model, type Session } from '../dist/index.js';
import { addon } from '../dist/native/addon.js';
import { Gpt2Tokenizer } from '../dist/tokenizer/tokenizer.js';
import { failure } from './failure.js';
import { fixtureFolder } from './golden.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const loading = { cacheDir: join(root, 'cache'), threads: 1 };
const folder = fixtureFolder('odd-heads');
let model: Model;
let session: Session;

beforeAll(async () => {
  model = await loadModel(folder, loading);
  session = model.createSession();
  await session.evaluate([1, 2, 3]);
});
afterAll(() => model.dispose());

const tokenizer = new Gpt2Tokenizer();

// biome-ignore lint/suspicious/noExplicitAny: these tests pass what the types forbid
type Wrong = any;

/** Every call that takes options, with otherwise valid arguments. */
const calls: Record<string, (options: Wrong) => unknown> = {
  loadModel: (options) => loadModel(folder, options),
  createModel: (options) => createModel('124M', options),
  convert: (options) => convert(folder, join(freshFolder(root), 'model.gguf'), options),
  logits: (options) => model.logits([1], options),
  generate: (options) => model.generate([1], options),
  stream: (options) => model.stream([1], options).next(),
  createSession: (options) => model.createSession(options),
  evaluate: (options) => session.evaluate([1], options),
  'session generate': (options) => session.generate([1], options),
  'session stream': (options) => session.stream([1], options).next(),
  encode: (options) => tokenizer.encode('a', options),
};

describe.each(Object.entries(calls))('the options of %s', (_, call) => {
  test('reject unknown names', async () => {
    for (const name of ['maxtokens', 'Positions', 'toString', '__proto__x', '']) {
      const { message } = await failure('UNKNOWN_OPTION', () => call({ [name]: 1 }));
      expect(message).toMatch(/^Expected an option of .* but received "/);
      expect(message).toContain(JSON.stringify(name));
    }
  });

  test('reject anything but an object', async () => {
    for (const options of [null, 'text', 7, true, [], 1n, () => {}]) {
      const { message } = await failure('INVALID_ARGUMENT', () => call(options));
      expect(message).toMatch(/^Expected the options of .* to be an object but received /);
    }
  });
});

const signalCases: Wrong[] = [null, 1, 'now', {}, new AbortController()];
const functionCases: Wrong[] = [null, 1, 'log', {}];
const notWhole: Wrong[] = [
  Number.NaN,
  1.5,
  -1,
  Number.POSITIVE_INFINITY,
  '1',
  1n,
  null,
  true,
  [1],
  {},
];

const adapterCases: Wrong[] = [
  ...['adapter', null, 7, {}, [7], [null], [['adapter']], ['file://elsewhere/adapter']],
  ...[[{}], [{ path: 7 }], [{ path: 'a', scale: '1' }], [{ path: 'a', scale: Number.NaN }]],
];

const generation: Record<string, Wrong[]> = {
  maxTokens: [...notWhole, 2 ** 53],
  temperature: [Number.NaN, -0.1, Number.POSITIVE_INFINITY, '1', 1n, null, [1]],
  topK: [...notWhole, 2 ** 53],
  topP: [Number.NaN, 0, -0.1, 1.0001, '1', 1n, null],
  seed: [...notWhole, 2 ** 53],
  signal: signalCases,
};
const evaluation: Record<string, Wrong[]> = {
  positions: [
    'first',
    'ALL',
    null,
    0,
    {},
    new Uint32Array(1),
    [1],
    [-1],
    [0.5],
    [Number.NaN],
    ['0'],
    [0n],
    [null],
  ],
  signal: signalCases,
};
const wrongOptions: Record<string, Record<string, Wrong[]>> = {
  loadModel: {
    device: ['gpu', 'CPU', '', null, 0],
    threads: [0, 513, ...notWhole],
    contextLength: [0, 41, ...notWhole, 2 ** 53],
    type: ['f64', 'q4', 'Q4_0', 'q4_K', '', null, 0, 'constructor'],
    headCount: [0, ...notWhole, 2 ** 31],
    adapters: adapterCases,
    cacheType: ['q8_0', 'bf16', '', null, 0],
    cacheMemory: [0, ...notWhole, 2 ** 53],
    prefixCache: ['true', 0, 1, null],
    mmap: ['true', 0, 1, null],
    cacheDir: [null, 7, {}, [], 1n],
    signal: signalCases,
    onProgress: functionCases,
  },
  convert: {
    type: ['f64', 'q4', 'Q4_0', '', null, 0],
    headCount: [0, ...notWhole, 2 ** 31],
    adapters: adapterCases,
    threads: [0, 513, ...notWhole],
    signal: signalCases,
    onProgress: functionCases,
  },
  logits: evaluation,
  evaluate: evaluation,
  generate: generation,
  stream: generation,
  'session generate': generation,
  'session stream': generation,
  encode: { allowedSpecial: ['none', null, 7, {}, ['<|pad|>'], [50256], ['<|endoftext|>', 1]] },
};

describe.each(Object.entries(wrongOptions))('%s rejects an invalid value of', (name, options) => {
  test.each(Object.entries(options))('%s', async (option, values) => {
    for (const value of values) {
      const { message } = await failure('INVALID_ARGUMENT', () =>
        calls[name]?.({ [option]: value }),
      );
      expect(message).toMatch(/^Expected .+ but received .+/);
      // The message names the option. For a wrong entry of allowedSpecial it says "special tokens".
      expect(message.toLowerCase()).toContain(
        option === 'allowedSpecial' ? 'special' : option.toLowerCase(),
      );
      expect(message).not.toMatch(/\[object/);
    }
  });
});

test('an undefined option has its default', async () => {
  const unset = (names: string[]) => Object.fromEntries(names.map((name) => [name, undefined]));
  await using other = await loadModel(folder, {
    ...unset(Object.keys(wrongOptions.loadModel ?? {})),
    ...loading,
  });
  const given = await other.logits([1, 2], unset(Object.keys(evaluation)));
  expect(given).toEqual(await model.logits([1, 2]));
  const { seed: _, ...rest } = generation;
  const options = { seed: 1, maxTokens: 3 };
  expect((await other.generate([1], { ...unset(Object.keys(rest)), ...options })).tokens).toEqual(
    (await model.generate([1], options)).tokens,
  );
});

describe('input tokens', () => {
  const inputs: Record<string, (input: Wrong, session: Session) => unknown> = {
    logits: (input) => model.logits(input),
    generate: (input) => model.generate(input),
    stream: (input) => model.stream(input).next(),
    evaluate: (input, session) => session.evaluate(input),
    'session generate': (input, session) => session.generate(input),
    'session stream': (input, session) => session.stream(input).next(),
  };

  describe.each(Object.entries(inputs))('of %s', (_, callOn) => {
    const call = (input: Wrong) => callOn(input, session);

    test('must be integers below the vocabulary size', async () => {
      const wrong: [Wrong, string][] = [
        [[1, 97], '97 at index 1'],
        [[-1], '-1 at index 0'],
        [[0, 1.5], '1.5 at index 1'],
        [[0, Number.NaN], 'NaN at index 1'],
        [[0, Number.POSITIVE_INFINITY], 'Infinity at index 1'],
        [[0, 2 ** 32], '4294967296 at index 1'],
        [[0, '1'], '"1" at index 1'],
        [[0, 1n], '1n at index 1'],
        [[0, null], 'null at index 1'],
        [[0, [1]], 'an object of class Array at index 1'],
        [Uint32Array.of(97), '97 at index 0'],
        [Int32Array.of(0, -1), '-1 at index 1'],
      ];
      for (const [input, received] of wrong) {
        const { message } = await failure('TOKEN_OUT_OF_RANGE', () => call(input));
        expect(message).toBe(
          `Expected token ids to be whole numbers from 0 to 96 but received ${received}`,
        );
      }
    });

    test('must fit into the context', async () => {
      const { message } = await failure('CONTEXT_OVERFLOW', () => call(new Array(41).fill(1)));
      expect(message).toMatch(/^Expected at most 40 tokens, the context length, but received 41/);
      await failure('CONTEXT_OVERFLOW', () => call(new Uint32Array(1e6)));
    });

    test('must be a string or an array of token ids', async () => {
      const wrong: Wrong[] = [undefined, null, 7, 7n, true, {}, { length: 1, 0: 1 }, new Set([1])];
      wrong.push(new Float32Array(1), new Uint8Array(1), new BigUint64Array(1), new ArrayBuffer(4));
      wrong.push(Symbol('tokens'), () => [1]);
      for (const input of wrong) {
        const { message } = await failure('INVALID_ARGUMENT', () => call(input));
        expect(message).toMatch(/^Expected text or an array of token ids but received .+/);
      }
    });

    test('must not be empty if there is nothing to continue', async () => {
      using empty = model.createSession();
      for (const none of [[], new Uint32Array(0)]) {
        const { message } = await failure('INVALID_ARGUMENT', () => callOn(none, empty));
        expect(message).toBe('Expected at least one token but received none');
      }
    });

    test('must not be text if the model has no tokenizer', async () => {
      for (const text of ['a', ' ', 'Hello world']) {
        const { message } = await failure('TOKENIZER_MISSING', () => call(text));
        expect(message).toContain('token ids only');
      }
    });

    test('are rejected without tokenizing text that cannot fit', async () => {
      const { message } = await failure('CONTEXT_OVERFLOW', () => call('a'.repeat(1e7)));
      expect(message).toContain('10000000 characters');
    });
  });

  test('may be empty when a session continues, except for evaluate', async () => {
    using continued = model.createSession();
    await continued.evaluate([1, 2, 3]);
    for (const none of [[], new Uint32Array(0)]) {
      const before = continued.length;
      const options = { maxTokens: 1, seed: 1 };
      const { usage } = await continued.generate(none, options);
      expect(usage.promptTokens).toBe(before);
      for await (const _ of continued.stream(none, options));
      expect(continued.length).toBe(before + 2);
      await failure('INVALID_ARGUMENT', () => continued.evaluate(none));
    }
  });

  test('are checked in every prompt of a list', async () => {
    await failure('TOKEN_OUT_OF_RANGE', () => model.generate([[1], [97]]));
    await failure('TOKEN_OUT_OF_RANGE', () => model.generate([[1], ['a'] as Wrong]));
    await failure('INVALID_ARGUMENT', () => model.generate([null as Wrong]));
    await failure('TOKENIZER_MISSING', () => model.generate(['a', 'b']));
    await failure('UNKNOWN_OPTION', () => model.generate([[1], [2]], { maxToken: 1 } as Wrong));
  });

  test('leave the session unchanged when they are rejected', () => {
    expect([...session.tokens]).toEqual([1, 2, 3]);
  });
});

test.each<[Wrong]>([[Number.NaN], [-1], [4], [1.5], ['1'], [1n], [null], [undefined]])(
  'rewind(%s) is rejected',
  async (length) => {
    const { message } = await failure('INVALID_ARGUMENT', () => session.rewind(length));
    expect(message).toMatch(/^Expected length to be a whole number from 0 to 3 but received .+/);
  },
);

describe('the tokenizer', () => {
  test.each<[Wrong]>([[undefined], [null], [7], [7n], [['a']], [{}]])(
    'rejects %s as a text',
    async (text) => {
      for (const call of [() => tokenizer.encode(text), () => tokenizer.count(text)]) {
        const { message } = await failure('INVALID_ARGUMENT', call);
        expect(message).toMatch(/^Expected the text to be a string but received .+/);
      }
    },
  );

  test.each<[Wrong]>([
    [-1],
    [50257],
    [1.5],
    [Number.NaN],
    ['1'],
    ['length'],
    [1n],
    [null],
    [undefined],
  ])('rejects %s as a token', async (token) => {
    for (const call of [() => tokenizer.decodeToken(token), () => tokenizer.decode([token])]) {
      const { message } = await failure('TOKEN_OUT_OF_RANGE', call);
      expect(message).toMatch(/^Expected token ids from 0 to 50256 but received .+/);
    }
  });

  test.each<[Wrong]>([[undefined], [null], [7], [{}]])('rejects %s as tokens', async (tokens) => {
    await failure('INVALID_ARGUMENT', () => tokenizer.decode(tokens));
  });
});

describe('the path of a model', () => {
  test.each<[Wrong]>([[null], [7], [7n], [{}], [['a']], [Buffer.from('a')]])(
    'must be a string or a URL, not %s',
    async (path) => {
      const { message } = await failure('INVALID_ARGUMENT', () => loadModel(path, loading));
      expect(message).toMatch(
        /^Expected .+ to be a path, a file: URL or the name of a model on the hub( \(.+\))? but received .+/,
      );
      await failure('INVALID_ARGUMENT', () => convert(path, join(root, 'x.gguf')));
      await failure('INVALID_ARGUMENT', () => convert(folder, path));
    },
  );

  test.each(['nowhere', 'nowhere.gguf', 'nul\0byte'])('must exist: %j', async (name) => {
    const path = join(root, name);
    const { message } = await failure('FILE_NOT_FOUND', () => loadModel(path, loading));
    expect(message).toContain('Expected the path of');
  });

  test('of a missing checkpoint is named in the error of convert', async () => {
    const missing = join(root, 'nowhere');
    const { message } = await failure('FILE_NOT_FOUND', () =>
      convert(missing, join(root, 'x.gguf')),
    );
    expect(message).toContain(missing);
  });

  test('may be a GGUF file, but not another file with that extension', async () => {
    const files: [string, Buffer][] = [
      ['empty', Buffer.alloc(0)],
      ['short', Buffer.from('GGU')],
      ['text', Buffer.from('GGML is not GGUF, and this is neither')],
      ['magic', Buffer.from('GGUF')],
      ['version 1', Buffer.from('GGUF\x01\0\0\0')],
      ['big-endian', Buffer.from('GGUF\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0')],
      ['zeros', Buffer.alloc(4096)],
      ['ones', Buffer.concat([Buffer.from('GGUF\x03\0\0\0'), Buffer.alloc(4096, 0xff)])],
      ['nothing', Buffer.concat([Buffer.from('GGUF\x03\0\0\0'), Buffer.alloc(64)])],
    ];
    for (const [name, bytes] of files) {
      const path = join(root, `${name}.gguf`);
      writeFileSync(path, bytes);
      for (const mmap of [true, false]) {
        const { message } = await failure('INVALID_FILE', () => loadModel(path, { mmap }));
        expect(message).toContain(path);
      }
    }
  });

  test('must not be a folder without a checkpoint', async () => {
    const path = join(root, 'folder.gguf');
    mkdirSync(path);
    const { message } = await failure('FILE_NOT_FOUND', () => loadModel(path, loading));
    expect(message).toContain('there is no checkpoint in this folder');
    // A call that accepts only files rejects the folder itself.
    await expect(addon().inspectGguf(path)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  });

  test('of a GGUF file truncated anywhere is rejected', async () => {
    const whole = join(root, 'whole.gguf');
    await convert(folder, whole);
    const bytes = readFileSync(whole);
    const cut = join(root, 'cut.gguf');
    for (let size = 0; size < bytes.length - 32; size += size < 3000 ? 37 : 4099) {
      writeFileSync(cut, bytes.subarray(0, size));
      await failure('INVALID_FILE', () => loadModel(cut, { threads: 1 }));
    }
  });
});

describe('a device', () => {
  test('that is not part of this build is rejected by name', async () => {
    // A build for one kind of GPU has none of the others.
    await using auto = await loadModel(folder, { ...loading, device: 'auto' });
    for (const device of (['cuda', 'metal', 'vulkan'] as const).filter((n) => n !== auto.device)) {
      const { message } = await failure('DEVICE_UNAVAILABLE', () =>
        loadModel(folder, { ...loading, device }),
      );
      expect(message).toMatch(/^Expected an available device \(cpu.*\) but received "\w+"$/);
    }
  });

  test('is used as requested, with the requested number of threads', async () => {
    await using other = await loadModel(folder, { ...loading, device: 'cpu', threads: 2 });
    expect(other.device).toBe('cpu');
    expect(other.threads).toBe(2);
  });
});

test.runIf(process.platform === 'linux')(
  'a named pipe is rejected and blocks nothing',
  async () => {
    const pipe = join(root, 'pipe.gguf');
    execFileSync('mkfifo', [pipe]);
    await failure('FILE_UNREADABLE', () => loadModel(pipe));
    await expect(addon().inspectGguf(pipe)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
  },
);

describe('after dispose', () => {
  test('every call fails with DISPOSED, and properties stay readable', async () => {
    const disposed = await loadModel(folder, loading);
    const open = disposed.createSession();
    await open.evaluate([1, 2]);
    await disposed.dispose();
    await disposed.dispose();
    const afterwards: (() => unknown)[] = [
      () => disposed.logits([1]),
      () => disposed.createSession(),
      () => disposed.generate([1]),
      () => disposed.generate([[1], [2]]),
      () => disposed.stream([1]).next(),
      () => open.evaluate([1]),
      () => open.generate([1]),
      () => open.stream([1]).next(),
      () => open.rewind(0),
      () => open.fork(),
    ];
    for (const call of afterwards) await failure('DISPOSED', call);
    open.dispose();
    expect(open.length).toBe(2);
    expect(disposed.config.vocabSize).toBe(97);
    expect(disposed.tokenizer.vocabSize).toBe(97);
  });
});

describe('the config of a model', () => {
  test('matches config.json and is read-only', () => {
    expect(model.config).toEqual({
      vocabSize: 97,
      contextLength: 40,
      embeddingLength: 24,
      headCount: 8,
      layerCount: 2,
      feedForwardLength: 96,
      layerNormEpsilon: Math.fround(1e-5),
      // wte, wpe, per layer 2 norms and 4 linear layers with biases, the final norm
      parameterCount:
        97 * 24 +
        40 * 24 +
        2 * (2 * 48 + (24 * 72 + 72) + (24 * 24 + 24) + (24 * 96 + 96) + (96 * 24 + 24)) +
        48,
      fileType: 'f32',
      cacheType: 'f32',
      headIsTied: true,
    });
    expect(() => {
      (model.config as Wrong).vocabSize = 1;
    }).toThrow(TypeError);
  });
});
