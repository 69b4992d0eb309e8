// What PyTorch and TensorFlow write, damaged where it says how to read the rest: it opens or is refused, in
// time, within memory, and never by a crash.

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PickleError, PickleReader } from '../dist/checkpoint/pickle.js';
import { readSortedTable } from '../dist/checkpoint/sorted-table.js';
import { convert, Gpt2Error } from '../dist/index.js';
import { writeSmallCheckpoint } from './checkpoint-folder.js';
import { byteDamage, damageBytes } from './damage.js';
import { fuzzRuns, fuzzTimeout } from './fuzz-runs.js';
import { expectLittleMemory, peakGrowth } from './memory-peak.js';
import { readSafetensors } from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';
import { sortedTable, tensorflowName, writeTensorflow } from './tensorflow-file.js';

const root = temporaryFolder();
const pytorch = join(__dirname, 'fixtures', 'pytorch');
const refusals = ['FILE_NOT_FOUND', 'FILE_UNREADABLE', 'INVALID_FILE', 'UNSUPPORTED_MODEL'];
const mostMilliseconds = 5000;

/** A file, and which bytes of it say how to read the rest. */
interface Structured {
  path: string;
  bytes: Buffer;
  from: number;
  to: number;
}

/** From a text that occurs once to another one. */
function between(path: string, first: string, last: string): Structured {
  const bytes = readFileSync(path);
  const from = bytes.indexOf(first, 0, 'latin1');
  const to = bytes.indexOf(last, from + first.length, 'latin1');
  if (from < 0 || to < 0) throw new Error(`${path} has no ${first} before ${last}`);
  return { path, bytes, from, to };
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

test.runIf(process.platform === 'linux')('how much memory a call takes is seen', async () => {
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
          await expectLittleMemory(bytes.length, () =>
            convert(damaged, target).catch((error) => {
              if (!(error instanceof Gpt2Error && refusals.includes(error.code))) throw error;
            }),
          );
          expect(performance.now() - start).toBeLessThan(mostMilliseconds);
        },
      ),
      fuzzRuns(100),
    );
  });
});

describe('pickles that want much', () => {
  const forbidden = {
    call: () => expect.fail('called'),
    persistent: () => expect.fail('asked for'),
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
    // With what the collector has not taken away yet.
    const grown = heapUsed + external - before.heapUsed - before.external;
    expect(grown).toBeLessThan(2 * pickle.length + 32_000_000);
  });

  test.each<[string, string]>([
    ['of another kind', 'garbage'],
    ['without an end', '\x80\x02}'],
    ['that pop too much', '\x80\x020.'],
    ['that pop a mark', '\x80\x02(a.'],
    ['that set items of a list', '\x80\x02]K\x01K\x02s.'],
    ['that append to a dict', '\x80\x02}K\x01a.'],
    ['that recall nothing', '\x80\x02h\x05.'],
    ['that call a text', '\x80\x02X\x01\0\0\0x)R.'],
    ['that take a number of bytes below 0', '\x80\x02T\xff\xff\xff\xff.'],
    ['that make an instance', '\x80\x02cos\nsystem\n)\x81.'],
    ['whose dicts have keys of any kind', '\x80\x02}NNs.'],
    ['whose dicts have keys that collide', '\x80\x02}J\xff\xff\xff\x7fNs.'],
  ])('%s are refused', (_, text) => {
    const read = () => new PickleReader(Buffer.from(text, 'latin1'), forbidden).next();
    expect(read).toThrow(PickleError);
  });
});

test('pickles mean what Python means', () => {
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

describe('files of torch.save() that are not what they seem', () => {
  /** A changed copy of a fixture's weights, and how it is refused. */
  async function refusal(fixture: string, change: (bytes: Buffer) => Buffer): Promise<Gpt2Error> {
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

  test.each(['zip', 'legacy'])('two tensors in the smaller storage of one, %s', async (fixture) => {
    // Storage 2 has the 24 numbers of a norm, storage 4 the 1,728 of a matrix.
    const error = await refusal(fixture, (bytes) => {
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
  });

  test('a directory as large as the file', async () => {
    const error = await refusal('zip', (bytes) => {
      const end = bytes.lastIndexOf('PK\x05\x06', bytes.length, 'latin1');
      bytes.writeUInt32LE(0xfffffff0, end + 12);
      return bytes.subarray(0, bytes.indexOf('PK\x06\x06', 0, 'latin1'));
    });
    expect(error).toMatchObject({ code: 'INVALID_FILE' });
  });

  test('a version that is a deep pile of tuples', async () => {
    const error = await refusal('legacy', (bytes) => {
      const magic = bytes.subarray(0, bytes.indexOf('.') + 1);
      const pile = Buffer.from(`\x80\x02]${'\x85'.repeat(50_000)}.`, 'latin1');
      return Buffer.concat([magic, pile]);
    });
    expect(error).toMatchObject({ code: 'INVALID_FILE' });
    expect(error.message).toMatch(/expected version 1001 but found an object of class Array/);
  });

  test('an object of a class', async () => {
    const error = await refusal('legacy', (bytes) => {
      const start = bytes.subarray(0, bytes.indexOf('.') + 1);
      const object = Buffer.from('\x80\x02cargparse\nNamespace\n)\x81.', 'latin1');
      return Buffer.concat([start, object]);
    });
    expect(error).toMatchObject({ code: 'UNSUPPORTED_MODEL' });
    expect(error.message).toMatch(/an object of the class argparse\.Namespace/);
  });
});

test('tensors that overlap, of 60 layers in one, are refused', async () => {
  const error = await convert(join(pytorch, 'overlapping.pt'), join(root, 'never.gguf')).then(
    () => expect.fail('it was converted'),
    (error) => error,
  );
  expect(error).toMatchObject({ code: 'INVALID_FILE' });
  expect(error.message).toMatch(
    /its tensors claim \d+ bytes, but its files hold \d+: they overlap/,
  );
});

test('tables that want much are refused', () => {
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
