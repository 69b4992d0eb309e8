// npm run test:training: runs the training script for a few steps. The written checkpoint must be the trained model,
// and the library must measure the same perplexity as PyTorch.

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const script = (name) => fileURLToPath(new URL(`train/${name}`, import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'gpt2-native-training-'));
const env = { ...process.env, GPT2_NATIVE_CACHE: join(folder, 'cache') };
const run = (program, ...args) => execFileSync(program, args, { encoding: 'utf8', env });

function expect(what, holds) {
  if (!holds) throw new Error(`The training script: ${what}`);
  console.log(`ok   ${what}`);
}

try {
  const text = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const [texts, heldout, output] = ['texts', 'heldout', 'output'].map((name) => join(folder, name));
  for (const [path, part] of [
    [texts, text.repeat(3)],
    [heldout, `Unseen words: zebra, xylophone. ${text.slice(0, 4000)}`],
  ]) {
    await mkdir(path);
    await writeFile(join(path, 'text.txt'), part);
  }
  const options =
    '--steps 60 --full-steps 30 --warm-up 5 --learning-rate 0.005 --width 32 --layers 2 --context 128';
  run(
    process.execPath,
    ...[script('train.mjs'), '--texts', texts, '--heldout', heldout, '--output', output],
    ...options.split(' '),
  );
  const reference = JSON.parse(
    run(
      ...[process.env.GPT2_PYTHON ?? 'python3', script('verify.py'), '--output', output],
      ...['--texts', join(output, 'texts.tokens'), '--heldout', join(output, 'heldout.tokens')],
    ),
  );
  const measured = JSON.parse(run(process.execPath, script('measure.mjs'), output, output));
  console.log({ reference, measured });
  expect('the checkpoint is the model that was trained', reference.difference < 1e-9);
  // The KV cache is in f16, as for every model with an embedding in f16.
  const ratio = measured.perplexity / reference.perplexity;
  expect('the library measures what PyTorch does', Math.abs(ratio - 1) < 1e-3);
} finally {
  await rm(folder, { recursive: true, force: true });
}
