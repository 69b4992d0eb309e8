import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const example = join(root, 'examples', 'electron');

// As Electron does: a file that is unpacked is found beside the archive.
const hook = `
  const Module = require('node:module');
  const resolve = Module._resolveFilename;
  Module._resolveFilename = function (request, parent, ...rest) {
    try {
      return resolve.call(this, request, parent, ...rest);
    } catch (error) {
      const path = require('node:path').resolve(parent.path, request);
      const unpacked = path.replace('app.asar', 'app.asar.unpacked');
      if (unpacked === path || !require('node:fs').existsSync(unpacked)) throw error;
      return unpacked;
    }
  };
`;
const program = `
  const { loadModel } = require('gpt2-native');
  loadModel().then(async (model) => {
    console.log((await model.logits('Hello')).shape.join());
    await model.dispose();
  });
`;

/** Makes an archive with the example's settings, and loads the model out of what lies beside it. */
export async function testArchive() {
  const { createPackageWithOptions, extractAll } = await import('@electron/asar');
  const folder = mkdtempSync(join(tmpdir(), 'gpt2-native-electron-'));
  try {
    const app = join(folder, 'app');
    cpSync(example, app, { recursive: true });
    const installed = join(app, 'node_modules', 'gpt2-native');
    mkdirSync(installed, { recursive: true });
    for (const part of ['package.json', 'dist', 'models', 'prebuilds']) {
      cpSync(join(root, part), join(installed, part), { recursive: true });
    }
    const forge = createRequire(import.meta.url)(join(example, 'forge.config.cjs'));
    const { asarUnpack } = JSON.parse(readFileSync(join(example, 'package.json'), 'utf8')).build;
    assert.deepEqual(asarUnpack, [forge.packagerConfig.asar.unpack]);

    const resources = join(folder, 'resources');
    const archive = join(folder, 'packed', 'app.asar');
    await createPackageWithOptions(app, archive, { unpack: forge.packagerConfig.asar.unpack });
    const addon = 'node_modules/gpt2-native/prebuilds/linux-x64/gpt2-native.glibc.node';
    for (const file of [addon, 'node_modules/gpt2-native/models/gpt2-books.gguf']) {
      assert.ok(existsSync(join(`${archive}.unpacked`, file)), `${file} is unpacked`);
    }
    // Plain Node reads no archives: a folder of that name, without what is unpacked, stands in for it.
    extractAll(archive, join(resources, 'app.asar'));
    cpSync(`${archive}.unpacked`, join(resources, 'app.asar.unpacked'), { recursive: true });
    for (const part of ['prebuilds', 'models']) {
      rmSync(join(resources, 'app.asar', 'node_modules', 'gpt2-native', part), { recursive: true });
    }
    writeFileSync(join(folder, 'hook.cjs'), hook);
    writeFileSync(join(resources, 'app.asar', 'program.cjs'), program);
    const args = [
      '--require',
      join(folder, 'hook.cjs'),
      join(resources, 'app.asar', 'program.cjs'),
    ];
    const output = execFileSync(process.execPath, args, { encoding: 'utf8' });
    assert.equal(output, '1,50257\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log('ok   the addon and the model are found beside the archive');
}
