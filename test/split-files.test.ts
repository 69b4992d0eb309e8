// Models split into several GGUF files give the same results as the whole file and are converted to one file.

import { copyFileSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, type ErrorCode, type LoadProgress, loadModel } from '../dist/index.js';
import { addon } from '../dist/native/addon.js';
import { failure } from './failure.js';
import { readGguf } from './gguf-reader.js';
import { fixtureFolder, readGolden } from './golden.js';
import { runProcess } from './node-process.js';
import { splitGguf } from './split-gguf.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
const root = temporaryFolder();
const whole = join(root, 'whole.gguf');
const small = join(root, 'small.gguf');
beforeAll(async () => {
  await convert(fixtureFolder('wide'), whole);
  await convert(fixtureFolder('wide'), small, { type: 'q8_0' });
});

/** Splits a file into a new folder and returns the paths of its parts. */
function split(path: string, count = 3, firstIsEmpty = false): [string, ...string[]] {
  const [first, ...others] = splitGguf(path, freshFolder(root), count, firstIsEmpty);
  return [first as string, ...others];
}

function sizeOf(paths: string[]): number {
  return paths.reduce((sum, path) => sum + statSync(path).size, 0);
}

describe('a split model', () => {
  test.each([
    ['of two parts', 2, false],
    ['of three parts', 3, false],
    ['of three parts, the first without tensors', 3, true],
    ['of as many parts as tensors', 28, false],
  ] as const)('%s gives the logits of the whole', async (_, count, firstIsEmpty) => {
    const { tokens } = readGolden('wide');
    for (const path of [whole, small]) {
      await using one = await loadModel(path);
      const expected = await one.logits(tokens);
      const [first] = split(path, count, firstIsEmpty);
      for (const mmap of [true, false]) {
        await using model = await loadModel(first, { mmap });
        const { data } = await model.logits(tokens);
        expect(Buffer.from(data.buffer).equals(Buffer.from(expected.data.buffer))).toBe(true);
        expect(model.config).toEqual(one.config);
      }
    }
  });

  test('reports the total size of its parts while loading', async () => {
    const paths = split(whole);
    const reports: LoadProgress[] = [];
    const model = await loadModel(paths[0], { onProgress: (progress) => reports.push(progress) });
    await model.dispose();
    const total = sizeOf(paths);
    expect(reports).toEqual([
      { stage: 'load', done: 0, total },
      { stage: 'load', done: total, total },
    ]);
  });

  test.each(['q4_k', 'f16'] as const)('is converted to one file in %s', async (type) => {
    const target = join(root, 'from-parts.gguf');
    const expected = join(root, 'from-whole.gguf');
    for (const firstIsEmpty of [false, true]) {
      const [first] = split(whole, 3, firstIsEmpty);
      await convert(first, target, { type });
      await convert(whole, expected, { type });
      expect(readFileSync(target).equals(readFileSync(expected))).toBe(true);
    }
  });

  test('is described as a whole', async () => {
    const paths = split(small);
    const description = await addon().inspectGguf(paths[0]);
    expect(description.parts).toEqual(paths);
    expect(description.byteSize).toBe(sizeOf(paths));
    const { tensors } = readGguf(small);
    expect(description.tensors.map(({ name }) => name)).toEqual([...tensors.keys()]);
    for (const { name, part, offset, byteSize } of description.tensors) {
      const file = readFileSync(paths[part] as string);
      const bytes = file.subarray(offset, offset + byteSize);
      expect(bytes.equals(tensors.get(name)?.bytes as Buffer)).toBe(true);
    }
    expect(new Set(description.tensors.map(({ part }) => part))).toEqual(new Set([0, 1, 2]));

    const { stdout, exitCode } = await runProcess([command, 'inspect', paths[0]]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/model-00001-of-00003\.gguf: GGUF version 3, [\d.]+ [kM]B in 3 files\n/);
    expect(stdout).toMatch(/^split\.count +3$/m);
    expect(stdout).toMatch(/^28 tensors, /m);
  });
});

describe('names the invalid file when it rejects', () => {
  const target = join(root, 'never.gguf');

  /** Expects every way of opening a file to fail with the same message, and returns it. */
  async function rejection(path: string, code: ErrorCode): Promise<string> {
    const { message } = await failure(code, () => loadModel(path));
    const ways = [
      () => loadModel(path, { mmap: false }),
      () => addon().inspectGguf(path),
      () => convert(path, target, { type: 'q8_0' }),
    ];
    for (const way of ways) await expect(way()).rejects.toMatchObject({ code, message });
    return message;
  }

  test('a part other than the first, and names the first', async () => {
    const [first, second] = split(small) as [string, string];
    expect(await rejection(second, 'INVALID_FILE')).toBe(
      `${second}: expected the first part of the model, ${first}, but found part 2 of 3`,
    );
  });

  test('a missing part', async () => {
    const [first, second] = split(small) as [string, string];
    rmSync(second);
    expect(await rejection(first, 'FILE_NOT_FOUND')).toContain(second);
  });

  test('a file under another name', async () => {
    const [first] = split(small);
    const other = join(root, 'renamed.gguf');
    renameSync(first, other);
    expect(await rejection(other, 'INVALID_FILE')).toBe(
      `${other}: expected a name that ends with "-00001-of-00003.gguf", since the file is part 1 of 3 of a model`,
    );
  });

  test('a part of another model', async () => {
    const [first, second] = split(small, 3) as [string, string];
    const [, stranger] = split(small, 4) as [string, string];
    copyFileSync(stranger, second);
    expect(await rejection(first, 'INVALID_FILE')).toBe(
      `${second}: expected split.count to be 3, as in ${first}, but found 4`,
    );
  });
});
