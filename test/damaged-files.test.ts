// Randomly damaged files. Either the model opens and computes, or the call fails with an error about the file and
// leaves nothing behind.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { convert, Gpt2Error, loadModel } from '../dist/index.js';
import { addon } from '../dist/native/addon.js';
import { splitWeights, writeSmallCheckpoint } from './checkpoint-folder.js';
import {
  type ByteDamage,
  byteDamage,
  damageBytes,
  damageJson,
  type JsonDamage,
  jsonDamage,
} from './damage.js';
import { fuzzRuns, fuzzTimeout } from './fuzz-runs.js';
import { expectBoundedMemory } from './memory-peak.js';
import { splitGguf } from './split-gguf.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();

const rejections = ['FILE_NOT_FOUND', 'FILE_UNREADABLE', 'INVALID_FILE', 'UNSUPPORTED_MODEL'];
// It usually takes a few milliseconds.
const maxMilliseconds = 5000;

/**
 * Runs a call on files of this total size. Returns its result, or undefined if it rejects a file; rethrows all other
 * errors.
 */
async function unlessRejected<T>(bytes: number, call: () => Promise<T>): Promise<T | undefined> {
  const start = performance.now();
  let result: T | undefined;
  await expectBoundedMemory(bytes, async () => {
    try {
      result = await call();
    } catch (error) {
      if (!(error instanceof Gpt2Error && rejections.includes(error.code))) throw error;
    }
  });
  expect(performance.now() - start).toBeLessThan(maxMilliseconds);
  return result;
}

/** Expects a model to open and to compute. */
async function expectToCompute(path: string, options = {}): Promise<void> {
  await using model = await loadModel(path, { threads: 1, ...options });
  const { data, shape } = await model.logits([0]);
  expect(data.length).toBe(shape[0] * shape[1]);
  const generation = model.generate([0], { maxTokens: 2 });
  // The damage may have made weights huge or NaN.
  await generation.catch((error) => expect(error).toMatchObject({ code: 'NOT_FINITE' }));
}

type Files = ReadonlyMap<string, Buffer>;

function readFolder(folder: string): Files {
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

function writeFolder(folder: string, files: Files): string {
  mkdirSync(folder);
  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
  return folder;
}

let whole: Files;
let sharded: Files;
let gguf: Buffer;
let parts: [path: string, bytes: Buffer][];

beforeAll(async () => {
  whole = readFolder(writeSmallCheckpoint(freshFolder(root)));
  const folder = splitWeights(writeSmallCheckpoint(freshFolder(root)));
  rmSync(join(folder, 'vocab.json'));
  sharded = readFolder(folder);
  const path = join(root, 'model.gguf');
  await convert(folder, path, { type: 'q8_0' });
  gguf = readFileSync(path);
  parts = splitGguf(path, freshFolder(root), 3).map((part) => [part, readFileSync(part)]);
});

type Damage =
  | { kind: 'bytes'; changes: ByteDamage[] }
  | ({ kind: 'json' } & JsonDamage)
  | { kind: 'absent' }
  | { kind: 'other'; index: number };

const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({
    kind: fc.constant('bytes' as const),
    changes: fc.array(byteDamage, { minLength: 1, maxLength: 4 }),
  }),
  { weight: 3, arbitrary: jsonDamage.map((change) => ({ kind: 'json' as const, ...change })) },
  fc.constant({ kind: 'absent' as const }),
  fc.record({ kind: fc.constant('other' as const), index: fc.nat(7) }),
);

/** Changes the JSON header of a safetensors file, and its length accordingly. */
function changeHeader(file: Buffer, change: (json: string) => string): Buffer {
  const length = Number(file.readBigUInt64LE(0));
  const header = Buffer.from(change(file.toString('utf8', 8, 8 + length)));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([start, header, file.subarray(8 + length)]);
}

function damageFile(files: Files, index: number, harm: Damage): Files {
  const damaged = new Map(files);
  const names = [...files.keys()];
  const name = names[index % names.length] as string;
  const file = files.get(name) as Buffer;
  switch (harm.kind) {
    case 'bytes':
      return damaged.set(name, harm.changes.reduce(damageBytes, file));
    case 'json':
      if (name.endsWith('.json')) {
        return damaged.set(name, Buffer.from(damageJson(file.toString(), harm)));
      }
      if (name.endsWith('.safetensors')) {
        return damaged.set(
          name,
          changeHeader(file, (json) => damageJson(json, harm)),
        );
      }
      return damaged.set(name, Buffer.from(harm.text));
    case 'absent':
      damaged.delete(name);
      return damaged;
    case 'other':
      return damaged.set(name, files.get(names[harm.index % names.length] as string) as Buffer);
  }
}

const damagedFolder = fc.record({
  isSharded: fc.boolean(),
  index: fc.nat(63),
  damage,
  type: fc.constantFrom(undefined, 'f16' as const, 'q8_0' as const),
});

test('a checkpoint folder', { timeout: fuzzTimeout }, () =>
  fc.assert(
    fc.asyncProperty(damagedFolder, async ({ isSharded, index, damage: harm, type }) => {
      const run = freshFolder(root);
      const files = damageFile(isSharded ? sharded : whole, index, harm);
      const folder = writeFolder(join(run, 'checkpoint'), files);
      const target = join(run, 'converted', 'model.gguf');
      const cacheDir = join(run, 'cache');

      const size = [...files.values()].reduce((sum, { length }) => sum + length, 0);
      const isConverted = await unlessRejected(size, async () => {
        await convert(folder, target, { type });
        return true;
      });
      if (isConverted) {
        await expectToCompute(target);
        await expectToCompute(folder, { cacheDir, type });
        expect(readdirSync(join(run, 'converted'))).toEqual(['model.gguf']);
        expect(readdirSync(cacheDir)).toHaveLength(1);
      } else {
        expect(await unlessRejected(size, () => loadModel(folder, { cacheDir, type }))).toBe(
          undefined,
        );
        for (const written of [join(run, 'converted'), cacheDir]) {
          expect(existsSync(written) ? readdirSync(written) : []).toEqual([]);
        }
      }
      expect(readdirSync(folder).sort()).toEqual([...files.keys()].sort());
      rmSync(run, { recursive: true });
    }),
    fuzzRuns(100),
  ),
);

const adapters = join(__dirname, 'fixtures', 'adapters');
const damagedAdapter = fc.record({
  name: fc.constantFrom('lora', 'rslora', 'head', 'tokens', 'whole'),
  index: fc.nat(2),
  damage,
});

test('an adapter, or a PEFT model', { timeout: fuzzTimeout }, () =>
  fc.assert(
    fc.asyncProperty(damagedAdapter, async ({ name, index, damage: harm }) => {
      const run = freshFolder(root);
      const files = damageFile(readFolder(join(adapters, name)), index, harm);
      const folder = writeFolder(join(run, 'adapter'), files);
      const target = join(run, 'model.gguf');
      const size = 40_000; // of the base and the adapter
      const isConverted = await unlessRejected(size, async () => {
        if (name === 'whole') await convert(folder, target);
        else await convert(join(adapters, 'base'), target, { adapters: [folder] });
        return true;
      });
      if (isConverted) await expectToCompute(target);
      expect(existsSync(target)).toBe(isConverted === true);
      rmSync(run, { recursive: true });
    }),
    fuzzRuns(100),
  ),
);

test('a GGUF file', { timeout: fuzzTimeout }, () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(byteDamage, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (changes, mmap) => {
        const path = join(root, 'damaged.gguf');
        const bytes = changes.reduce(damageBytes, gguf);
        writeFileSync(path, bytes);
        const opened = await unlessRejected(bytes.length, () =>
          loadModel(path, { mmap, threads: 1 }),
        );
        await opened?.dispose();
        if (opened) await expectToCompute(path, { mmap });
        await addon()
          .inspectGguf(path)
          .catch((error) => {
            expect(error).toMatchObject({ code: 'INVALID_FILE' });
          });
      },
    ),
    fuzzRuns(200),
  ),
);

test('a part of a split GGUF file', { timeout: fuzzTimeout }, () =>
  fc.assert(
    fc.asyncProperty(
      fc.nat(2),
      fc.array(byteDamage, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (index, changes, mmap) => {
        const [path, bytes] = parts[index] as [string, Buffer];
        const [first] = parts[0] as [string, Buffer];
        const damaged = changes.reduce(damageBytes, bytes);
        const size = damaged.length + 2 * bytes.length;
        writeFileSync(path, damaged);
        const target = join(root, 'from-damaged-parts.gguf');
        const opened = await unlessRejected(size, () => loadModel(first, { mmap, threads: 1 }));
        await opened?.dispose();
        if (opened) await expectToCompute(first, { mmap });
        await addon()
          .inspectGguf(first)
          .catch(({ code }) => expect(rejections).toContain(code));
        const converted = await unlessRejected(size, async () => {
          await convert(first, target, { type: 'f16' });
          return true;
        });
        if (converted && opened) await expectToCompute(target);
        rmSync(target, { force: true });
        writeFileSync(path, bytes);
      },
    ),
    fuzzRuns(300),
  ),
);
