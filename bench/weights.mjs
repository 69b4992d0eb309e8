// The weights for all contestants: the 124M shape with random numbers, generated once.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeRandomCheckpoint } from '../scripts/random-checkpoint.mjs';

const { convert } = createRequire(import.meta.url)('../dist/index.js');

export const folder = fileURLToPath(new URL('weights', import.meta.url));
const shape = { layers: 12, heads: 12, width: 768, context: 1024, seed: 124 };

/** The GGUF file of a type. */
export async function ggufFile(type) {
  const file = join(folder, `${type}.gguf`);
  if (!existsSync(file)) await convert(await checkpoint(), file, { type });
  return file;
}

/** The weights of that file as an ONNX file. Needs Python with onnx and gguf; GPT2_PYTHON names the program. */
export async function onnxFile(type) {
  const file = join(folder, `${type}.onnx`);
  if (!existsSync(file)) {
    const script = fileURLToPath(new URL('onnx_model.py', import.meta.url));
    const python = process.env.GPT2_PYTHON ?? 'python3';
    execFileSync(python, [script, await ggufFile(type), file], { stdio: 'inherit' });
  }
  return file;
}

async function checkpoint() {
  const target = join(folder, 'checkpoint');
  if (existsSync(target)) return target;
  console.error('Generating random weights of the 124M shape …');
  const unfinished = `${target}.tmp`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeRandomCheckpoint(unfinished, shape);
  await rename(unfinished, target);
  return target;
}
