// npm start: takes a checkpoint all the way, from a Hugging Face folder to logits and text. This version
// comes without a trained model, so it makes a small one with random weights first.

import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeRandomCheckpoint } from './random-checkpoint.mjs';

const gpt2 = fileURLToPath(new URL('../dist/cli/gpt2.js', import.meta.url));
const prompt = process.argv[2] ?? 'Hello, my name is';
const folder = await mkdtemp(join(tmpdir(), 'gpt2-native-start-'));
const checkpoint = join(folder, 'random-gpt2');
const file = join(folder, 'random-gpt2.gguf');

function run(...args) {
  const shown = args.map((arg) => (/^[\w./=-]+$/.test(arg) ? arg : JSON.stringify(arg)));
  console.error(`\n$ gpt2 ${shown.join(' ').replaceAll(`${folder}/`, '')}`);
  const { status, signal } = spawnSync(process.execPath, [gpt2, ...args], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`gpt2 ${args[0]} ended with ${signal ?? status}`);
}

try {
  console.error('Making an untrained GPT-2 (2 layers × width 128, the real vocabulary) …');
  await writeRandomCheckpoint(checkpoint, {
    layers: 2,
    heads: 4,
    width: 128,
    context: 256,
    seed: 1,
  });
  run('convert', checkpoint, file, '--type', 'q8_0');
  run('inspect', file);
  run('logits', prompt, '--model', file);
  run('generate', prompt, '--model', file, '--max-tokens', '30', '--seed', '1');
  console.error(
    '\nThe weights are random, so the words are too. With the real 124M in a folder of yours:\n' +
      '  npx gpt2 generate "Hello, my name is" --model path/to/gpt2',
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
