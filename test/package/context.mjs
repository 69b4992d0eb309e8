// What the parts of the test share: the packed package, folders to install it into, and programs that use it.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { npm as npmProgram } from '../../scripts/npm.mjs';
import { pack as packInto } from '../../scripts/pack.mjs';
import { addonPath, platforms } from '../../scripts/prebuild/platforms.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));
/** The addon of the platform that the tests run on. */
export const ownAddon = join(root, addonPath(platforms['linux-x64-glibc']));
const toolFolder = fileURLToPath(new URL('node_modules', import.meta.url));

/** A file of a tool that is installed beside this file. */
export const tool = (...path) => join(toolFolder, ...path);

const scratch = mkdtempSync(join(tmpdir(), 'gpt2-native-package-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** A new folder with files: { 'program.mjs': text, … }. */
export function folderWith(name, files = {}) {
  const folder = join(scratch, name);
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries({ 'package.json': '{ "private": true }', ...files })) {
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

/** Runs a program and returns its output; its errors are shown. */
export function run(cwd, program, args, env = {}) {
  return execFileSync(program, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
}

export const node = (cwd, ...args) => run(cwd, process.execPath, args);

export function npm(cwd, args, env) {
  const [program, ...first] = npmProgram;
  return run(cwd, program, [...first, ...args], env);
}

export function check(what, holds) {
  if (!holds) throw new Error(`The packed package: ${what}: no`);
  console.log(`ok   ${what}`);
}

let packed;

/** Packs the package once: { tarball, files, size, unpackedSize }. */
export function pack() {
  if (!packed) {
    const folder = folderWith('packed');
    const { filename, ...rest } = packInto(folder);
    packed = { tarball: join(folder, filename), ...rest };
  }
  return packed;
}

/** A new folder with files in which npm has installed the package. */
export function installation(name, files) {
  const folder = folderWith(name, files);
  npm(folder, ['install', '--no-audit', '--no-fund', '--silent', pack().tarball]);
  return folder;
}

// The first program of the README.
const [, example] = /```js\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'));

/** The README's program, and one that prints what it computed, as modules of both kinds. */
export const programs = {
  'readme.mjs': example,
  'readme.cjs': inFunction(example),
  ...modules(
    'program',
    (load) => `
    const { loadModel, Gpt2Error, version } = ${load};
    const model = await loadModel();
    const { shape } = await model.logits('Hello');
    const { tokens } = await model.generate('Hello', { maxTokens: 4, temperature: 0 });
    const error = await model.logits([-1]).catch((error) => error);
    await model.dispose();
    console.log(JSON.stringify({ shape, tokens: [...tokens], ours: error instanceof Gpt2Error, version }));
  `,
  ),
};

function modules(name, text) {
  return {
    [`${name}.mjs`]: text("await import('gpt2-native')"),
    [`${name}.cjs`]: inFunction(text("require('gpt2-native')")),
  };
}

function inFunction(text) {
  const required = text.replace(/import (\{.*?\}) from ('[^']+');/g, 'const $1 = require($2);');
  return `(async () => {\n${required}})();\n`;
}

/** Whether what a program printed is right. */
export function isRight(output) {
  const { shape, tokens, ours } = JSON.parse(output);
  return shape.join() === '1,50257' && tokens.length === 4 && ours;
}
