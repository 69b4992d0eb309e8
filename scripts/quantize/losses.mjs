// node scripts/quantize/losses.mjs <checkpoint> <folder of texts> [--write]
//
// Measures the loss from quantising: compares a checkpoint in every type with itself in f32, on the first 2,048
// tokens of each text in windows of 128. Prints the size of the file, the mean Kullback-Leibler divergence of the
// predictions from those in f32, and the perplexity relative to that in f32. With --write, the table is written
// to docs/checkpoints.md.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { unwrapped } from '../train/texts-to-tokens.mjs';

const { convert, loadModel } = createRequire(import.meta.url)('../../dist/index.js');
const types = 'f16 bf16 q8_0 q6_k q5_k_m q5_1 q5_0 q4_k_m q4_1 q4_0'.split(' ');
const windowLength = 128;
const tokensPerText = 2048;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { write: { type: 'boolean', default: false } },
});
const [checkpoint, texts] = positionals;
if (!checkpoint || !texts) {
  console.error('usage: node scripts/quantize/losses.mjs <checkpoint> <folder of texts> [--write]');
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'gpt2-native-losses-'));
try {
  const open = async (type) => {
    const path = join(folder, `${type}.gguf`);
    await convert(checkpoint, path, { type });
    return {
      type,
      bytes: statSync(path).size,
      model: await loadModel(path),
      divergence: 0,
      nats: 0,
    };
  };
  const exact = await open('f32');
  const others = [];
  for (const type of types) others.push(await open(type));

  let count = 0;
  for (const window of windowsOf(exact.model.tokenizer)) {
    const expected = await logProbabilities(exact.model, window);
    count += window.length - 1;
    exact.nats += lossOf(expected, window);
    for (const one of others) {
      const found = await logProbabilities(one.model, window);
      one.nats += lossOf(found, window);
      for (const [position, row] of expected.entries()) {
        one.divergence += divergence(row, found[position]);
      }
    }
  }
  const lines = [exact, ...others].map(({ type, bytes, divergence: sum, nats }) => [
    type,
    (bytes / 1e6).toFixed(2),
    (sum / count).toPrecision(2),
    Math.exp((nats - exact.nats) / count).toFixed(4),
  ]);
  const head = ['type', 'file, MB', 'divergence, nats', 'perplexity, times that of f32'];
  const table = [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
  const perplexity = Math.exp(exact.nats / count).toFixed(1);
  const text = `${count} tokens, perplexity in f32 ${perplexity}:\n\n${table}`;
  console.log(text);
  if (values.write) writeTable(text);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function* windowsOf(tokenizer) {
  for (const name of readdirSync(texts).sort()) {
    const text = unwrapped(readFileSync(join(texts, name), 'utf8'));
    const tokens = tokenizer.encode(text.slice(0, 8 * tokensPerText));
    const end = Math.min(tokens.length, tokensPerText);
    for (let start = 0; start + windowLength <= end; start += windowLength) {
      yield tokens.slice(start, start + windowLength);
    }
  }
}

/** The log-probabilities of all tokens after each position but the last. */
async function logProbabilities(model, window) {
  const { data, shape } = await model.logits(window, { positions: 'all' });
  const [rows, vocabSize] = shape;
  return Array.from({ length: rows - 1 }, (_, row) => {
    const logits = data.subarray(row * vocabSize, (row + 1) * vocabSize);
    let largest = logits[0];
    for (const logit of logits) largest = Math.max(largest, logit);
    let sum = 0;
    for (const logit of logits) sum += Math.exp(logit - largest);
    const normalizer = largest + Math.log(sum);
    return logits.map((logit) => logit - normalizer);
  });
}

function lossOf(rows, window) {
  return rows.reduce((sum, row, position) => sum - row[window[position + 1]], 0);
}

function divergence(expected, found) {
  let sum = 0;
  for (let i = 0; i < expected.length; i++) {
    sum += Math.exp(expected[i]) * (expected[i] - found[i]);
  }
  return sum;
}

function writeTable(text) {
  const path = fileURLToPath(new URL('../../docs/checkpoints.md', import.meta.url));
  const before = readFileSync(path, 'utf8');
  const after = before.replace(
    /(<!-- losses:begin -->\n)[\s\S]*(<!-- losses:end -->)/,
    (_, begin, end) => `${begin}${text}\n${end}`,
  );
  writeFileSync(path, after);
}
