// Aborting conversion and loading. Aborting evaluation and generation is tested in session.test.ts and
// generation.test.ts.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, loadModel } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { packageEntry, runNode } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const file = join(root, 'model.gguf');
const folder = fixtureFolder('wide');
beforeAll(() => convert(folder, file));

const reason = new Error('enough');

/** A signal that is aborted after a number of event loop turns. */
function abortAfter(turns: number): AbortSignal {
  const controller = new AbortController();
  const wait = (left: number) => {
    if (left === 0) controller.abort(reason);
    else setImmediate(wait, left - 1);
  };
  wait(turns);
  return controller.signal;
}

describe('aborting at any moment', () => {
  test.each([true, false])('a load rejects it with the reason (mmap %s)', async (mmap) => {
    let aborted = 0;
    for (let turns = 0; turns < 60; turns++) {
      try {
        const model = await loadModel(file, { threads: 1, mmap, signal: abortAfter(turns) });
        await model.dispose();
      } catch (error) {
        expect(error).toBe(reason);
        aborted++;
      }
    }
    expect(aborted).toBeGreaterThan(3);
  });

  test('a conversion rejects it with the reason and leaves no file', async () => {
    let aborted = 0;
    for (let turns = 0; turns < 40; turns++) {
      const targetFolder = freshFolder(root);
      const target = join(targetFolder, 'model.gguf');
      const left = () => readdirSync(targetFolder).length;
      try {
        await convert(folder, target, { type: 'q8_0', signal: abortAfter(turns) });
        expect(left()).toBe(1);
      } catch (error) {
        expect(error).toBe(reason);
        expect(left()).toBe(0);
        aborted++;
      }
    }
    expect(aborted).toBeGreaterThan(3);
  });

  test('the load of a folder stops its conversion, and the next load succeeds', async () => {
    const cacheDir = join(freshFolder(root), 'cache');
    let aborted = 0;
    for (let turns = 1; turns < 20; turns++) {
      await loadModel(folder, { cacheDir, threads: 1, signal: abortAfter(turns) }).then(
        (model) => model.dispose(),
        (error) => {
          expect(error).toBe(reason);
          aborted++;
        },
      );
    }
    expect(aborted).toBeGreaterThan(3);
    await using model = await loadModel(folder, { cacheDir, threads: 1 });
    expect(model.config.layerCount).toBe(2);
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });
});

test.runIf(process.platform === 'linux')(
  'an abort while files are being opened leaves none of them open',
  async () => {
    const { stdout, stderr } = await runNode(
      `const { InputFile } = require(args.inputFile);
       const openFiles = () => require('node:fs').readdirSync('/proc/self/fd').length;
       const before = openFiles();
       for (let i = 0; i < 50; i++) {
         const controller = new AbortController();
         const opening = InputFile.open(args.file, controller.signal);
         controller.abort('mine');
         await opening.catch(() => {});
       }
       await new Promise((resolve) => setTimeout(resolve, 200));
       console.log(openFiles() - before);`,
      { file, inputFile: packageEntry.replace('index.js', 'input-file.js') },
    );
    expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' });
  },
);

test('an already aborted signal takes precedence over other errors and leaves no unhandled rejection', async () => {
  const { stdout, stderr, exitCode } = await runNode(
    `const signal = AbortSignal.abort('mine');
     const calls = [
       () => gpt2.convert('/nowhere', '/nowhere/model.gguf', { signal }),
       () => gpt2.loadModel('/nowhere', { signal }),
     ];
     for (const call of calls) console.log(await call().catch((reason) => reason));
     await new Promise((resolve) => setTimeout(resolve, 50));`,
  );
  expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'mine\nmine\n', stderr: '', exitCode: 0 });
});

test('a conversion rejects with the error that onProgress throws, at any call', async () => {
  const mine = new Error('mine');
  let thrown = 0;
  for (let stop = 1; stop < 40; stop++) {
    let calls = 0;
    const onProgress = () => {
      if (++calls === stop) throw mine;
    };
    const result = convert(folder, join(freshFolder(root), 'model.gguf'), { onProgress });
    const outcome = await result.then(
      () => 'done',
      (error) => error,
    );
    if (calls < stop) {
      expect(outcome).toBe('done');
      break;
    }
    expect(outcome).toBe(mine);
    thrown++;
  }
  // At least at the start and at the end of the conversion.
  expect(thrown).toBeGreaterThan(1);
});

test('a load rejects with the error that onProgress throws', async () => {
  const mine = new Error('mine');
  for (const stop of [1, 2]) {
    let calls = 0;
    const onProgress = () => {
      if (++calls === stop) throw mine;
    };
    await expect(loadModel(file, { threads: 1, onProgress })).rejects.toBe(mine);
  }
});
