// A full disk, in a mount namespace. The tests are skipped if the system does not permit one.

import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeTextCheckpoint } from './checkpoint-folder.js';
import { HubStandIn } from './hub-stand-in.js';
import { packageEntry } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const mount = (megabytes: number) => `mount -t tmpfs -o size=${megabytes}m none "$DISK"`;
const folder = temporaryFolder();
const disk = join(folder, 'disk');
mkdirSync(disk);
const environment = { ...process.env, DISK: disk };
const hasDisk =
  spawnSync('unshare', ['-rm', 'sh', '-c', mount(1)], { env: environment }).status === 0;

let checkpoint: string; // 1.6 MB of weights
let hub: HubStandIn;

beforeAll(async () => {
  checkpoint = writeTextCheckpoint(join(folder, 'model'));
  hub = await HubStandIn.start();
  hub.push('some/model', checkpoint);
});
afterAll(() => hub.stop());

/** Runs a call on a small disk. Returns its error and the files left on the disk. */
function onSmallDisk(megabytes: number, call: string): Promise<{ error: string; files: string[] }> {
  const script = `
    const { readdirSync, statSync } = require('node:fs');
    const { loadModel, createModel, convert } = require(${JSON.stringify(packageEntry)});
    const [disk, checkpoint] = [process.env.DISK, ${JSON.stringify(checkpoint)}];
    (async () => {
      const error = await (async () => ${call})().then(
        () => 'none',
        ({ code, message }) => code + ' ' + message,
      );
      const files = readdirSync(disk, { recursive: true })
        .filter((name) => statSync(disk + '/' + name).isFile());
      console.log(JSON.stringify({ error, files }));
    })();`;
  return new Promise((resolve, reject) => {
    execFile(
      'unshare',
      ['-rm', 'sh', '-c', `${mount(megabytes)} && exec "$0" -e "$1"`, process.execPath, script],
      {
        env: {
          ...environment,
          GPT2_NATIVE_CACHE: disk,
          HF_HUB_CACHE: disk,
          HF_ENDPOINT: hub.url,
        },
      },
      (error, stdout) => (error ? reject(error) : resolve(JSON.parse(stdout))),
    );
  });
}

test.skipIf(!hasDisk).each([
  ['a conversion', 'convert(checkpoint, disk + "/model.gguf")', /the disk is full/],
  ['a conversion into the cache', 'loadModel(checkpoint)', /the disk is full/],
  ['quantising', 'convert(checkpoint, disk + "/q.gguf", { type: "q8_0" })', /the disk is full/],
  ['createModel', 'createModel("124M")', /bytes are needed, but only \d+ are free/],
  ['a download', 'loadModel("some/model")', /bytes are needed, but only \d+ are free/],
])('%s fails with the reason and leaves nothing under a final name', async (_, call, message) => {
  const { error, files } = await onSmallDisk(1, call);
  expect(error).toMatch(/^FILE_UNWRITABLE /);
  expect(error).toMatch(message);
  expect(files.filter((name) => /\.gguf$|safetensors$|refs/.test(name))).toEqual([]);
  expect(files.filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test.skipIf(!hasDisk)('a download fails if the disk fills up meanwhile', async () => {
  const call = `loadModel('some/model', {
    onProgress: ({ done }) => {
      if (done > 1_500_000) {
        try { require('node:fs').writeFileSync(disk + '/filler', Buffer.alloc(8_000_000)); } catch {}
      }
    },
  })`;
  const { error, files } = await onSmallDisk(7, call);
  expect(error).toMatch(/^FILE_UNWRITABLE .*the disk is full/);
  expect(files.filter((name) => /safetensors$|refs/.test(name))).toEqual([]);
});

test.skipIf(!hasDisk)('a download succeeds on a larger disk', async () => {
  const { error } = await onSmallDisk(20, 'loadModel("some/model")');
  expect(error).toBe('none');
});
