// PyTorch and TensorFlow checkpoints with damaged structure: they open or are rejected, without a crash and within
// limits on time and memory.

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PickleError, PickleObject, PickleReader } from '../dist/checkpoint/pickle.js';
import { readSortedTable } from '../dist/checkpoint/sorted-table.js';
import { convert, Gpt2Error } from '../dist/index.js';
import { writeSmallCheckpoint } from './checkpoint-folder.js';
import { byteDamage, damageBytes } from './damage.js';
import { fuzzRuns, fuzzTimeout } from './fuzz-runs.js';
import { expectBoundedMemory, peakGrowth } from './memory-peak.js';
import { readSafetensors } from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';
import { sortedTable, tensorflowName, writeTensorflow } from './tensorflow-file.js';

const root = temporaryFolder();
const pytorch = join(__dirname, 'fixtures', 'pytorch');
const rejections = ['FILE_NOT_FOUND', 'FILE_UNREADABLE', 'INVALID_FILE', 'UNSUPPORTED_MODEL'];
const maxMilliseconds = 5000;

/** A file and the range of bytes that describe its structure. */
interface Structured {
  path: string;
  bytes: Buffer;
  from: number;
  to: number;
}

/** The range from one text, which occurs once, to the next occurrence of another. */
function between(path: string, first: string, last: string): Structured {
  const bytes = readFileSync(path);
  const from = bytes.indexOf(first, 0, 'latin1');
  const to = bytes.indexOf(last, from + first.length, 'latin1');
  if (from < 0 || to < 0) throw new Error(`${path} has no ${first} before ${last}`);
  return { path, bytes, from, to };
}

/** A copy of a file of a training program, in a folder with its config. */
function trainingFile(name: string): string {
  const fixtures = join(__dirname, 'fixtures', 'training');
  const folder = freshFolder(root);
  mkdirSync(folder, { recursive: true });
  cpSync(join(fixtures, name), join(folder, name));
  cpSync(join(fixtures, 'plain', 'config.json'), join(folder, 'config.json'));
  return join(folder, name);
}

const structures: Record<string, () => Structured> = {
  'the pickle of a ZIP archive': () =>
    between(join(pytorch, 'zip', 'pytorch_model.bin'), '\x80\x02', 'PK\x03\x04'),
  "a ZIP archive's directory": () => {
    const { path, bytes } = between(join(pytorch, 'zip', 'pytorch_model.bin'), 'PK', 'PK');
    return { path, bytes, from: bytes.indexOf('PK\x01\x02', 0, 'latin1'), to: bytes.length };
  },
  'the pickle of nanoGPT': () =>
    between(join(pytorch, 'nanogpt', 'ckpt.pt'), '\x80\x02', 'PK\x03\x04'),
  'the pickle of a training program with objects of many classes': () =>
    between(trainingFile('objects.pt'), '\x80\x02', 'PK\x03\x04'),
  'the pickle of tensors laid out by strides': () =>
    between(trainingFile('strided.bin'), '\x80\x02', 'PK\x03\x04'),
  'the pickles before PyTorch 1.6': () => {
    const path = join(pytorch, 'legacy', 'pytorch_model.bin');
    const bytes = readFileSync(path);
    return { path, bytes, from: 0, to: 6000 };
  },
  "TensorFlow's index": () => {
    const source = writeSmallCheckpoint(freshFolder(root));
    const folder = freshFolder(root);
    mkdirSync(folder, { recursive: true });
    const tensors = [...readSafetensors(join(source, 'model.safetensors'))];
    writeTensorflow(
      join(folder, 'model.ckpt'),
      new Map(tensors.map(([name, tensor]) => [tensorflowName(name), tensor])),
    );
    const hparams = { n_vocab: 5, n_ctx: 8, n_embd: 8, n_head: 2, n_layer: 1 };
    writeFileSync(join(folder, 'hparams.json'), JSON.stringify(hparams));
    const path = join(folder, 'model.ckpt.index');
    const bytes = readFileSync(path);
    return { path, bytes, from: 0, to: bytes.length };
  },
};

test.runIf(process.platform === 'linux')('peakGrowth measures the memory of a call', async () => {
  const grown = await peakGrowth(async () => Buffer.alloc(40_000_000, 1));
  expect(grown).toBeGreaterThan(30_000_000);
});

describe('damaged', () => {
  test.each(Object.keys(structures))('%s', { timeout: fuzzTimeout }, async (name) => {
    const { path, bytes, from, to } = (structures[name] as () => Structured)();
    const copy = freshFolder(root);
    mkdirSync(copy, { recursive: true });
    const folder = dirname(path);
    cpSync(folder, copy, { recursive: true });
    const damaged = join(copy, path.slice(folder.length + 1));
    const target = join(copy, 'model.gguf');
    await convert(damaged, target);

    await fc.assert(
      fc.asyncProperty(
        fc.array(byteDamage, { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        async (changes, isCutOff) => {
          const structure = changes.reduce(damageBytes, bytes.subarray(from, to));
          const rest = isCutOff ? Buffer.alloc(0) : bytes.subarray(to);
          writeFileSync(damaged, Buffer.concat([bytes.subarray(0, from), structure, rest]));
          rmSync(target, { force: true });
          const start = performance.now();
          await expectBoundedMemory(bytes.length, () =>
            convert(damaged, target).catch((error) => {
              if (!(error instanceof Gpt2Error && rejections.includes(error.code))) throw error;
            }),
          );
          expect(performance.now() - start).toBeLessThan(maxMilliseconds);
        },
      ),
      fuzzRuns(100),
    );
  });
});

describe('hostile pickles are rejected within limits:', () => {
  const forbidden = {
    call: () => expect.fail('called'),
    persistent: () => expect.fail('called'),
  };

  test.each<[string, string, string]>([
    ['dicts', '', '}'],
    ['lists', '', ']'],
    ['tuples', '', 'N\x85'],
    ['marks', '', '('],
    ['entries of the memo', 'N', '\x94'],
    ['far entries of the memo', 'N', 'r\xff\xff\xff\x7f'],
    ['numbers', '', 'K\x01'],
    ['bytes', ']', 'C\0a'],
    ['classes', ']', 'ca\nb\na'],
    ['depth', ']', '\x85'],
    ['time', '', 'N0'],
  ])('%s', (_, start, step) => {
    const pickle = Buffer.from(`\x80\x02${start}${step.repeat(1_000_000)}.`, 'latin1');
    const before = process.memoryUsage();
    expect(() => new PickleReader(pickle, forbidden).next()).toThrow(PickleError);
    const { heapUsed, external } = process.memoryUsage();
    // Includes garbage that has not been collected yet.
    const grown = heapUsed + external - before.heapUsed - before.external;
    expect(grown).toBeLessThan(2 * pickle.length + 32_000_000);
  });

  test.each<[string, string]>([
    ['that are garbage', 'garbage'],
    ['without an end', '\x80\x02}'],
    ['that pop too much', '\x80\x020.'],
    ['that pop a mark', '\x80\x02(a.'],
    ['that set items of a list', '\x80\x02]K\x01K\x02s.'],
    ['that append to a dict', '\x80\x02}K\x01a.'],
    ['that read a missing memo entry', '\x80\x02h\x05.'],
    ['that call a string', '\x80\x02X\x01\0\0\0x)R.'],
    ['with a string of negative length', '\x80\x02T\xff\xff\xff\xff.'],
    ['that make an instance', '\x80\x02cos\nsystem\n)\x81.'],
    ['that make an instance of a string', '\x80\x02X\x01\0\0\0x)\x81.'],
    ['that set items of a number', '\x80\x02K\x01K\x01K\x02s.'],
    ['with a string longer than a file', `\x80\x04\x8d${'\xff'.repeat(8)}.`],
  ])('pickles %s', (_, text) => {
    const read = () => new PickleReader(Buffer.from(text, 'latin1'), forbidden).next();
    expect(read).toThrow(PickleError);
  });
});

test('pickles are decoded as by Python', () => {
  // pickletools.dis() of pickle.dumps([...], 2), in this order
  const pickle = Buffer.concat([
    Buffer.from('\x80\x02]q\0(K\x05M\x2c\x01J\xff\xff\xff\xff', 'latin1'),
    Buffer.from('\x8a\x05\0\0\0\0\x01', 'latin1'), // 2 ** 32
    Buffer.from('\x8a\x01\xff', 'latin1'), // -1
    Buffer.from('\x8a\x09\0\0\0\0\0\0\0\x80\0', 'latin1'), // 2 ** 63
    Buffer.from('\x8a\0', 'latin1'), // 0
    Buffer.from('G\x3f\xf8\0\0\0\0\0\0', 'latin1'), // 1.5
    Buffer.from('X\x04\0\0\0\xc3\xa9 \x61N\x88\x89', 'latin1'), // 'é a', None, True, False
    Buffer.from('}q\x01(X\x01\0\0\0aK\x01K\x02N\x85uh\x01e.', 'latin1'),
  ]);
  const map = new Map<unknown, unknown>([
    ['a', 1],
    [2, [null]],
  ]);
  const { call, persistent } = { call: () => null, persistent: () => null };
  expect(new PickleReader(pickle, { call, persistent }).next()).toEqual([
    5,
    300,
    -1,
    2 ** 32,
    -1,
    2n ** 63n,
    0,
    1.5,
    'é a',
    null,
    true,
    false,
    map,
    map,
  ]);
});

describe('in pickles,', () => {
  const inert = { call: () => undefined, persistent: () => null };
  const read = (text: string) => new PickleReader(Buffer.from(text, 'latin1'), inert).next();

  test('items are dropped whose keys are of other types or could be chosen to collide', () => {
    expect(
      read('\x80\x02}(NK\x01J\xff\xff\xff\x7fK\x02G\x3f\xf8\0\0\0\0\0\0K\x03K\x04K\x05u.'),
    ).toEqual(new Map([[4, 5]]));
  });

  test('objects and calls become inert objects', () => {
    const object = read('\x80\x02ca\nB\n)\x81}X\x01\0\0\0nK\x07sb.');
    expect(object).toEqual(
      Object.assign(new PickleObject('a.B', []), { state: new Map([['n', 7]]) }),
    );
    const call = read('\x80\x02ca\nf\nK\x01\x85R(K\x01K\x02e.');
    expect(call).toEqual(new PickleObject('a.f', [1]));
  });

  test.each([
    'os\nsystem',
    'posix\nsystem',
    'builtins\neval',
    '__builtin__\nexec',
    'subprocess\nPopen',
  ])('a call of %j is refused', (name) => {
    for (const opcode of ['R', '\x81']) {
      expect(() => read(`\x80\x02c${name}\n)${opcode}.`)).toThrow(/may be malicious/);
    }
  });
});

describe('hostile files of torch.save() are rejected:', () => {
  /** Returns the error of converting a modified copy of a fixture. */
  async function rejection(fixture: string, change: (bytes: Buffer) => Buffer): Promise<Gpt2Error> {
    const folder = freshFolder(root);
    cpSync(join(pytorch, fixture), folder, { recursive: true });
    const path = join(folder, 'pytorch_model.bin');
    writeFileSync(path, change(readFileSync(path)));
    return await convert(folder, join(folder, 'never.gguf')).then(
      () => expect.fail('it was converted'),
      (error) => error,
    );
  }
  const key = (text: string) => Buffer.from(`X\x01\0\0\0${text}`, 'latin1');

  test.each(['zip', 'legacy'])(
    'two tensors in a storage too small for one of them, %s',
    async (fixture) => {
      // Storage 2 has the 24 elements of a norm, storage 4 the 1,728 of a matrix.
      const error = await rejection(fixture, (bytes) => {
        if (fixture === 'legacy') {
          const count = Buffer.from('\xc0\x06\0\0\0\0\0\0', 'latin1'); // 1,728
          const at = bytes.lastIndexOf(count);
          bytes.writeUInt8(0xff, at + 1);
          return bytes;
        }
        const at = bytes.indexOf(key('4'));
        expect(at).toBeGreaterThan(0);
        bytes.set(key('2'), at);
        return bytes;
      });
      expect(error).toMatchObject({ code: 'INVALID_FILE' });
      expect(error.message).toMatch(/storage/);
    },
  );

  test('a directory as large as the file', async () => {
    const error = await rejection('zip', (bytes) => {
      const end = bytes.lastIndexOf('PK\x05\x06', bytes.length, 'latin1');
      bytes.writeUInt32LE(0xfffffff0, end + 12);
      return bytes.subarray(0, bytes.indexOf('PK\x06\x06', 0, 'latin1'));
    });
    expect(error).toMatchObject({ code: 'INVALID_FILE' });
  });

  test('a version that is a deeply nested tuple', async () => {
    const error = await rejection('legacy', (bytes) => {
      const magic = bytes.subarray(0, bytes.indexOf('.') + 1);
      const pile = Buffer.from(`\x80\x02]${'\x85'.repeat(50_000)}.`, 'latin1');
      return Buffer.concat([magic, pile]);
    });
    expect(error).toMatchObject({ code: 'INVALID_FILE' });
    expect(error.message).toMatch(/expected version 1001 but found an object of class Array/);
  });

  /** The error of a file in the older format that holds this pickle and no storages. */
  const rejectionOf = (pickle: string) =>
    rejection('legacy', (bytes) => {
      // The pickles of the magic number, the version and the system; the last ends after the size of a long.
      const start = bytes.subarray(0, bytes.indexOf('.', bytes.indexOf('long')) + 1);
      return Buffer.concat([start, Buffer.from(`${pickle}\x80\x02].`, 'latin1')]);
    });

  test('an object in place of a state dict', async () => {
    const error = await rejectionOf('\x80\x02cargparse\nNamespace\n)\x81.');
    expect(error).toMatchObject({ code: 'UNSUPPORTED_MODEL' });
    expect(error.message).toMatch(/an object of the class argparse\.Namespace/);
  });

  test.each([
    ['dicts', '}', ''],
    ['objects', 'ca\nB\n)\x81}', 'b'],
  ])('%s that refer to each other many times, in little time', async (_, start, end) => {
    // Each has 200 items, all of them the one of the level below: 200 to the fifth paths.
    let pickle = '\x80\x02';
    for (let level = 0; level < 6; level++) {
      const item = (i: number) =>
        `K${String.fromCharCode(i)}${level === 0 ? 'N' : `h${String.fromCharCode(level - 1)}`}`;
      const items = Array.from({ length: 200 }, (_, i) => item(i)).join('');
      pickle += `${start}(${items}u${end}q${String.fromCharCode(level)}0`;
    }
    const begin = performance.now();
    const error = await rejectionOf(`${pickle}h\x05.`);
    expect(performance.now() - begin).toBeLessThan(maxMilliseconds);
    expect(error.message).toMatch(/expected a dict of tensors by name/);
  });
});

test('overlapping tensors, with 60 layers in the bytes of one, are rejected', async () => {
  const error = await convert(join(pytorch, 'overlapping.pt'), join(root, 'never.gguf')).then(
    () => expect.fail('it was converted'),
    (error) => error,
  );
  expect(error).toMatchObject({ code: 'INVALID_FILE' });
  expect(error.message).toMatch(
    /its tensors claim \d+ bytes, but its files hold \d+: they overlap/,
  );
});

test('hostile sorted tables are rejected', () => {
  const long = 'k'.repeat(900);
  const entries = Array.from({ length: 2000 }, (_, i): [string, Buffer] => [
    `${long}${String(i).padStart(200, '0')}`,
    Buffer.alloc(0),
  ]);
  expect(() => readSortedTable(sortedTable(entries, 16))).toThrow(/a key is too long/);
  const footer = Buffer.alloc(48);
  footer.set(Buffer.from('57fb808b247547db', 'hex'), 40);
  const handle = Buffer.from([0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f]);
  handle.copy(footer);
  expect(() => readSortedTable(footer)).toThrow(/bytes are expected/);
  expect(() => readSortedTable(footer.subarray(1))).toThrow(/does not end/);
});
