// node scripts/train/measure.mjs <model> <folder that train.mjs wrote>
//
// Measures with this library how well a model (a GGUF file or a checkpoint folder) predicts the held-out texts:
//
// - the perplexity of the tokens that the training texts use, in windows of 128 tokens whose first token is given.
//   All other tokens are part of the windows and of the softmax, but their losses are left out;
// - the bits per byte of all tokens but the first of each text, each with 128 to 255 tokens of context.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { loadModel } = createRequire(import.meta.url)('../../dist/index.js');
const [source, folder] = process.argv.slice(2);
if (!source || !folder) {
  console.error('usage: node scripts/train/measure.mjs <model> <folder that train.mjs wrote>');
  process.exit(2);
}

const heldout = readTokens('heldout.tokens');
const used = new Set(readTokens('texts.tokens'));
const model = await loadModel(source, { threads: 1 });
const { tokenizer, config } = model;

let nats = 0;
let count = 0;
for (let start = 0; start + 128 <= heldout.length; start += 128) {
  const window = heldout.slice(start, start + 128);
  const losses = await lossesOf(window, 1);
  for (const [index, loss] of losses.entries()) {
    if (!used.has(window[index + 1])) continue;
    nats += loss;
    count++;
  }
}
const perplexity = Math.exp(nats / count);

let allNats = 0;
let bytes = 0;
for (const text of textsOf(heldout)) {
  const fresh = Math.floor(Math.min(256, config.contextLength) / 2);
  for (let from = 1; from < text.length; from += fresh) {
    const start = Math.max(0, from - fresh);
    const window = text.slice(start, from + fresh);
    for (const loss of await lossesOf(window, from - start)) allNats += loss;
    for (const token of text.slice(from, from + fresh)) {
      if (token !== tokenizer.endOfText) bytes += tokenizer.decodeToken(token).length;
    }
  }
}
await model.dispose();
console.log(
  JSON.stringify({
    model: source,
    perplexity: Number(perplexity.toFixed(2)),
    tokens: count,
    bitsPerByte: Number((allNats / Math.LN2 / bytes).toFixed(4)),
    bytes,
  }),
);

function readTokens(name) {
  const bytes = readFileSync(join(folder, name));
  return Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readUInt16LE(2 * index));
}

/** The texts of a token file, each with its final <|endoftext|>. */
function textsOf(tokens) {
  const texts = [];
  for (let start = 0; start < tokens.length; ) {
    const end = tokens.indexOf(tokenizer.endOfText, start) + 1 || tokens.length;
    texts.push(tokens.slice(start, end));
    start = end;
  }
  return texts;
}

/** The losses in nats of the tokens of a window from index `first` on, each given the tokens before it. */
async function lossesOf(window, first) {
  const predicted = window.slice(first);
  const positions = predicted.map((_, index) => first - 1 + index);
  const { data, shape } = await model.logits(window.slice(0, -1), { positions });
  return predicted.map((token, row) => {
    const logits = data.subarray(row * shape[1], (row + 1) * shape[1]);
    return logSumExp(logits) - logits[token];
  });
}

function logSumExp(logits) {
  let largest = logits[0];
  for (let i = 1; i < logits.length; i++) largest = Math.max(largest, logits[i]);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - largest);
  return largest + Math.log(sum);
}
