// Models whose file is changed while they are open.

import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { packageEntry, runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const file = join(folder, 'model.gguf');
beforeAll(() => convert(fixtureFolder('wide'), file));

/** Runs `change` on the file of an open model and returns the outcome of each kind of call. */
async function outcomes(change: string, mmap: boolean): Promise<Record<string, string>> {
  const { stdout, stderr, exitCode, signal } = await runNode(
    `const fs = require('node:fs');
     const path = args.path;
     fs.copyFileSync(args.file, path);
     const model = await gpt2.loadModel(path, { threads: 1, mmap: args.mmap });
     const session = model.createSession();
     const { data: before } = await session.evaluate([1, 2]);
     ${change}
     const read = async () => { for await (const part of model.stream([1], { maxTokens: 2 })); };
     const calls = {
       logits: async () => {
         const { data } = await model.logits([1, 2]);
         if (data.some((value, i) => value !== before[i])) throw { code: 'OTHER_NUMBERS' };
       },
       generate: () => model.generate([1], { maxTokens: 2 }),
       'generate nothing': () => model.generate([1], { maxTokens: 0 }),
       stream: read,
       evaluate: () => session.evaluate([3]),
       fork: () => session.fork().evaluate([3]),
     };
     const outcomes = {};
     for (const [name, call] of Object.entries(calls)) {
       outcomes[name] = await Promise.resolve().then(call).then(() => 'ok', ({ code }) => code);
     }
     await model.dispose();
     console.log(JSON.stringify(outcomes));`,
    { file, path: join(folder, 'changed.gguf'), mmap },
  );
  expect({ stderr, exitCode, signal }).toEqual({ stderr: '', exitCode: 0, signal: null });
  return JSON.parse(stdout);
}

const fine = {
  logits: 'ok',
  generate: 'ok',
  'generate nothing': 'ok',
  stream: 'ok',
  evaluate: 'ok',
  fork: 'ok',
};
const refused = Object.fromEntries(
  Object.keys(fine).map((name) => [name, name === 'generate nothing' ? 'ok' : 'FILE_UNREADABLE']),
);

const inPlace: [what: string, change: string][] = [
  ['made empty', 'fs.truncateSync(path, 0);'],
  ['truncated', 'fs.truncateSync(path, 5000);'],
  ['made longer', "fs.appendFileSync(path, 'more');"],
  ['overwritten', 'fs.writeFileSync(path, fs.readFileSync(args.file).fill(7, 4000));'],
  [
    'truncated and filled with zeros',
    'fs.truncateSync(path, 0); fs.truncateSync(path, fs.statSync(args.file).size);',
  ],
];

describe('a mapped file', () => {
  test.each(inPlace)('that was %s fails every call that needs it', async (_, change) => {
    expect(await outcomes(change, true)).toEqual(refused);
  });

  test.each([
    ['deleted', 'fs.rmSync(path);'],
    [
      'replaced by renaming',
      "fs.writeFileSync(path + '2', 'other'); fs.renameSync(path + '2', path);",
    ],
    ['made unreadable', 'fs.chmodSync(path, 0);'],
  ])('that was %s is still usable', async (_, change) => {
    expect(await outcomes(change, true)).toEqual(fine);
  });
});

test.skipIf(process.platform === 'win32')(
  'a file that is truncated between its inspection and the result is described all the same',
  async () => {
    const { stdout, stderr, exitCode, signal } = await runNode(
      `const fs = require('node:fs');
       const { addon } = require(args.addon);
       const expected = await addon().inspectGguf(args.file);
       fs.copyFileSync(args.file, args.path);
       const inspection = addon().inspectGguf(args.path);
       // The event loop gets the result only after the file is empty.
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
       fs.truncateSync(args.path, 0);
       const found = await inspection;
       require('node:assert').deepStrictEqual({ ...found, parts: [] }, { ...expected, parts: [] });
       console.log('described', found.metadata.length > 0);`,
      {
        file,
        path: join(folder, 'inspected.gguf'),
        addon: join(dirname(packageEntry), 'native', 'addon.js'),
      },
    );
    expect({ stdout, stderr, exitCode, signal }).toEqual({
      stdout: 'described true\n',
      stderr: '',
      exitCode: 0,
      signal: null,
    });
  },
);

test.each(inPlace)('a file in memory that was %s does not affect the model', async (_, change) => {
  expect(await outcomes(change, false)).toEqual(fine);
});
