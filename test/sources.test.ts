// What loadModel() and convert() take as a source beside paths and names: URLs of files.

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { expect, test } from 'vitest';
import { convert, loadModel } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { runProcess } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const file = join(folder, 'a model #1 %41.gguf');
cpSync(join(__dirname, '..', 'models', 'gpt2-books.gguf'), file);
const url = pathToFileURL(file);

test.each([
  ['a URL', url],
  ['its text', url.href],
  ['its text in capitals', url.href.replace('file', 'FILE')],
  [
    'a URL of another realm',
    runInContext(`({ href: '${url.href}', protocol: 'file:' })`, createContext()),
  ],
])('%s is opened', async (_, source) => {
  const model = await loadModel(source);
  expect((await model.logits([464])).shape).toEqual([1, 50257]);
  await model.dispose();
});

test('convert() and the command take them too', async () => {
  const target = join(folder, 'target.gguf');
  await convert(pathToFileURL(fixtureFolder('wide')), target);
  const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
  const { exitCode, stderr } = await runProcess([command, 'inspect', pathToFileURL(target).href]);
  expect([exitCode, stderr]).toEqual([0, '']);
});

test.each([
  ['a Buffer', Buffer.from('GGUF'), 'write bytes to a file and pass its path'],
  ['an ArrayBuffer', new ArrayBuffer(4), 'write bytes to a file and pass its path'],
  ['a number', 3, 'to be a path, a file: URL or the name of a model on the hub'],
  ['null', null, 'to be a path, a file: URL or the name of a model on the hub'],
  ['an https URL', new URL('https://huggingface.co/gpt2'), 'a file: URL of this machine'],
  ['a file URL with a slash escaped', 'file:///a%2Fb', 'a file: URL of this machine'],
])('%s is refused with what to pass', async (_, source, message) => {
  for (const call of [loadModel(source as never), convert(source as never, 'target')]) {
    await expect(call).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
  }
});
