// The addon itself rejects numbers that do not fit. lib/ never passes them on.

import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { addon } from '../dist/native/addon.js';
import { fixtureFolder } from './golden.js';
import { temporaryFolder } from './temporary-folder.js';

const file = join(fixtureFolder('wide'), 'model.safetensors');
const target = join(temporaryFolder(), 'model.gguf');

const notWhole = [Number.NaN, 0.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 63];
const notUnsigned = [...notWhole, -1];
const notInt = [...notWhole, 2 ** 32, 2 ** 32 + 1, -(2 ** 32)];

describe('a number that does not fit is rejected by', () => {
  test.each(notInt)('openModel: %d threads', (threads) => {
    const options = { device: 'cpu', threads, contextLength: 0, cacheType: undefined, mmap: true };
    expect(() => addon().openModel(file, options)).toThrow(TypeError);
  });

  test.each(notUnsigned)('read: the offset %d', async (offset) => {
    const opened = await addon().openFile(file);
    expect(() => opened.read(offset, new Uint8Array(1))).toThrow(TypeError);
    opened.close();
  });

  test.each(notInt)('writeGguf: %d threads', (threads) => {
    const write = () => addon().writeGguf(target, new Uint8Array(8), [], threads, () => {});
    expect(write).toThrow(TypeError);
  });

  test.each(notUnsigned)('writeGguf: a seed and a count of %d', (number) => {
    const write = (numbers: object) => () =>
      addon().writeGguf(
        target,
        new Uint8Array(8),
        [{ name: 'a', type: 'f32', ...numbers }],
        1,
        () => {},
      );
    const drawn = { seed: 1, stream: 1, deviation: 1, rows: 1, columns: 1 };
    expect(write({ drawn: { ...drawn, seed: number } })).toThrow(TypeError);
    expect(write({ drawn: { ...drawn, stream: number } })).toThrow(TypeError);
    expect(write({ equal: { value: 0, count: number } })).toThrow(TypeError);
  });

  test.each([0, 2 ** 31])('writeGguf: a matrix of %d rows or columns', async (extent) => {
    const opened = await addon().openFile(file);
    const part = { file: opened, offset: 0, type: 'f32', rows: 1, columns: 1, transpose: false };
    const drawn = { seed: 1, stream: 1, deviation: 1, rows: 1, columns: 1 };
    for (const change of [{ rows: extent }, { columns: extent }]) {
      for (const numbers of [
        { parts: [{ ...part, ...change }] },
        { drawn: { ...drawn, ...change } },
      ]) {
        const tensors = [{ name: 'a', type: 'f32' as const, ...numbers }];
        await expect(
          addon().writeGguf(target, new Uint8Array(8), tensors, 1, () => {}),
        ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      }
    }
    opened.close();
  });
});
