// npm run test:training: the training script takes a few steps, and the library measures on the checkpoint that
// it wrote what PyTorch measured on the model that it had.

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const script = (name) => fileURLToPath(new URL(`train/${name}`, import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'gpt2-native-training-'));
const env = { ...process.env, GPT2_NATIVE_CACHE: join(folder, 'cache') };
const run = (...args) => execFileSync(process.execPath, args, { encoding: 'utf8', env });

try {
  const text = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const [texts, heldout, output] = ['texts', 'heldout', 'output'].map((name) => join(folder, name));
  for (const [path, part] of [
    [texts, text.repeat(3)],
    [heldout, `${text.slice(0, 4000)} Unseen words: zebra, xylophone.`],
  ]) {
    await mkdir(path);
    await writeFile(join(path, 'text.txt'), part);
  }
  const log = run(
    ...[script('train.mjs'), '--texts', texts, '--heldout', heldout, '--output', output],
    ...'--steps 20 --full-steps 10 --warm-up 5 --width 32 --layers 2 --context 128'.split(' '),
  );
  const trained = JSON.parse(log.trimEnd().split('\n').at(-1));
  const measured = JSON.parse(run(script('measure.mjs'), output, output));
  console.log(`perplexity in PyTorch ${trained.heldout_perplexity}, here ${measured.perplexity}`);
  // The embedding is stored in half precision, and the tokens that the texts never use are in the sum here.
  if (!(Math.abs(measured.perplexity / trained.heldout_perplexity - 1) < 0.01)) {
    throw new Error('the checkpoint is not the model that was trained');
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
