// npm run train -- --texts <folder> --heldout <folder> --output <folder> [options of train.py]
//
// Trains a small GPT-2 on a folder of .txt files and writes it as a Hugging Face folder; see README.md here.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gpt2Vocabulary } from '../gpt2-vocabulary.mjs';
import { textsToTokens } from './texts-to-tokens.mjs';

const { values, tokens: given } = parseArgs({
  options: { texts: { type: 'string' }, heldout: { type: 'string' }, output: { type: 'string' } },
  strict: false,
  tokens: true,
});
const { texts, heldout, output } = values;
if (![texts, heldout, output].every((path) => typeof path === 'string')) {
  console.error('usage: npm run train -- --texts <folder> --heldout <folder> --output <folder>');
  process.exit(2);
}
const ours = new Set(['texts', 'heldout', 'output']);
const passedOn = given
  .filter(({ kind, name }) => kind === 'positional' || !ours.has(name))
  .flatMap(({ rawName, value }) => [rawName, value].filter((part) => part !== undefined));

mkdirSync(output, { recursive: true });
const textTokens = join(output, 'texts.tokens');
const heldoutTokens = join(output, 'heldout.tokens');
await textsToTokens(texts, textTokens);
await textsToTokens(heldout, heldoutTokens);

const python = process.env.GPT2_PYTHON ?? 'python3';
function run(script, ...args) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { status, error } = spawnSync(python, [path, ...args, '--output', output], {
    stdio: 'inherit',
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}
run('train.py', '--texts', textTokens, '--heldout', heldoutTokens, ...passedOn);
run('finish.py', '--texts', textTokens);

const { vocab, merges } = gpt2Vocabulary();
writeFileSync(join(output, 'vocab.json'), JSON.stringify(vocab));
writeFileSync(join(output, 'merges.txt'), `#version: 0.2\n${merges.join('\n')}\n`);
