// Compares this package with llama.cpp: both must give the same logits for GGUF files written by either.
//
//   node test/peers/llama-cpp.mjs
//
// llama.cpp is used through node-llama-cpp, which is installed into this folder on the first run.

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { convert, loadModel } from '../../dist/index.mjs';
import { seededRandom, writeRandomCheckpoint } from '../../scripts/random-checkpoint.mjs';
import { buildQuantizer, openLlamaCpp, readTensors } from './open-llama-cpp.mjs';
import { texts } from './texts.mjs';

// Only types whose blocks of 32 or 256 divide the width, so that none falls back to another type.
const typesOfWidth = (width) => [
  'f32',
  'f16',
  'bf16',
  ...(width % 32 === 0 ? ['q8_0', 'q5_1', 'q5_0', 'q4_1', 'q4_0'] : []),
  ...(width % 256 === 0 ? ['q6_k', 'q5_k', 'q4_k'] : []),
];

// llama.cpp's file types with their numbers, and the type in which this package writes the same tensors.
const quantizerTypes = [
  ['F16', 1, 'f16'],
  ['BF16', 32, 'bf16'],
  ['Q8_0', 7, 'q8_0'],
  ['Q6_K', 18, 'q6_k'],
  ['Q5_K_M', 17, 'q5_k'],
  ['Q5_1', 9, 'q5_1'],
  ['Q5_0', 8, 'q5_0'],
  ['Q4_K_M', 15, 'q4_k'],
  ['Q4_1', 3, 'q4_1'],
  ['Q4_0', 2, 'q4_0'],
  ['IQ4_NL', 25],
  ['Q3_K_M', 12],
  ['Q2_K', 10],
];

// The largest difference of log-probabilities that passes. If the two most likely tokens are closer than that,
// either may come first.
//
// With f32 weights and GELU saturated, the results differ only in the order of additions. Otherwise llama.cpp's
// GELU loses three digits, since it uses a table of f16 values, which this package does not. Weights in other
// types are multiplied with activations that are rounded to 16 bits, or to 8 bits in blocks: a difference in the
// last digit of an activation can then become a whole step.
function bound(type, saturated) {
  if (type === 'f32') return saturated ? 2e-5 : 3e-2;
  if (type === 'f16') return 4e-2;
  return type === 'bf16' ? 0.12 : 0.4;
}

const scratch = await mkdtemp(join(tmpdir(), 'gpt2-peers-'));
const llamaCpp = await openLlamaCpp();
let passed = 0;
let failed = 0;
try {
  await compareFixtures();
  await compareVocabularyModels();
  await compareQuantizer();
  await computeConcurrently();
} finally {
  await llamaCpp.dispose();
  await rm(scratch, { recursive: true, force: true });
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

function report(ok, ...columns) {
  if (ok) passed++;
  else failed++;
  console.log([ok ? 'ok    ' : 'FAILED', ...columns].join('  '));
}

/** Escapes all characters outside ASCII. */
function escaped(text) {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function heading(text) {
  console.log(`\n${text}\n`);
}

async function compareFixtures() {
  heading('Fixtures without a vocabulary, all positions');
  const fixtures = fileURLToPath(new URL('../fixtures/checkpoints/', import.meta.url));
  for (const name of (await readdir(fixtures)).sort()) {
    await compareTypes(name, join(fixtures, name));
  }
}

async function compareVocabularyModels() {
  for (const saturated of [true, false]) {
    heading(
      saturated
        ? "Random weights, GPT-2's vocabulary, GELU saturated"
        : "Random weights, GPT-2's vocabulary",
    );
    const folder = join(scratch, saturated ? 'saturated' : 'random');
    const shape = { width: 256, heads: 4, layers: 2, context: 128, seed: 5, saturated };
    await writeRandomCheckpoint(folder, shape);
    await compareTypes(saturated ? 'saturated' : 'random', folder, {
      types: ['f32', 'f16', 'q8_0', 'q4_0', 'q4_k'],
      count: 8,
      saturated,
    });
    if (!saturated) await compareTokenizers(folder);
  }
}

async function compareTypes(name, folder, { types, count = Infinity, saturated = false } = {}) {
  let exact;
  const file = join(scratch, 'converted.gguf');
  await convert(folder, file, { type: 'f32' });
  for (const type of types ?? typesOfWidth(await widthOf(file))) {
    await convert(folder, file, { type });
    const compared = await compareFile(file, { count });
    exact ??= compared.ours;
    reportLogits(`${name} ${type}`, compared, bound(type, saturated), exact);
  }
  if (name === 'wide') {
    await convert(folder, file, { type: 'f16' });
    const compared = await compareFile(file, { cacheType: 'f16' });
    reportLogits(`${name} f16, cache f16`, compared, bound('f16', false), exact);
  }
}

async function compareQuantizer() {
  heading("Files written by llama.cpp's quantiser, compared with this package's in the same type");
  const quantize = buildQuantizer(scratch);
  const folder = fileURLToPath(new URL('../fixtures/checkpoints/wide', import.meta.url));
  const source = join(scratch, 'source.gguf');
  const quantized = join(scratch, 'quantized.gguf');
  const converted = join(scratch, 'converted.gguf');
  await convert(folder, source, { type: 'f32' });
  const { ours: exact } = await compareFile(source);
  for (const [name, number, type] of quantizerTypes) {
    quantize(source, quantized, number);
    reportLogits(`wide ${name}`, await compareFile(quantized), bound(type, false), exact);
    if (type === undefined) continue;
    await convert(folder, converted, { type });
    await compareTensors(name, converted, quantized);
  }
}

/** Compares the matrices that have the same type in both files, byte for byte. */
async function compareTensors(name, ourFile, theirFile) {
  const [ours, theirs] = [await readTensors(ourFile), await readTensors(theirFile)];
  let matrices = 0;
  const different = [];
  for (const [tensor, { type, shape, bytes }] of ours) {
    const other = theirs.get(tensor);
    if (!shape.includes(',') || other?.type !== type) continue;
    matrices++;
    if (other.shape !== shape || !other.bytes.equals(bytes)) different.push(tensor);
  }
  report(
    matrices > 0 && different.length === 0,
    `wide ${name}`.padEnd(26),
    `${matrices} matrices of the same type, ${different.length} different`,
    ...different,
  );
}

/** Runs two copies of ggml concurrently in one process. */
async function computeConcurrently() {
  heading('Both concurrently in one process');
  const file = join(scratch, 'converted.gguf');
  await convert(fileURLToPath(new URL('../fixtures/checkpoints/wide', import.meta.url)), file);
  const ours = await loadModel(file, { device: 'cpu', threads: 1 });
  const theirs = await llamaCpp.open(file);
  const tokens = Array.from({ length: ours.config.contextLength }, (_, i) => i);
  const our = async () => (await ours.logits(tokens)).data;
  const their = async () => (await theirs.logits(tokens, [tokens.length - 1]))[0];
  const alone = [await our(), await their()];
  for (let round = 0; round < 5; round++) {
    const together = await Promise.all([our(), their()]);
    const same = together.map((row, i) => row.every((value, token) => value === alone[i][token]));
    report(
      same[0] && same[1],
      `round ${round + 1}`,
      `ours the same: ${same[0]}, theirs: ${same[1]}`,
    );
  }
  await ours.dispose();
  await theirs.dispose();
}

/** Returns the log-probabilities of both programs for a random sequence. */
async function compareFile(file, { cacheType = 'f32', count = Infinity } = {}) {
  const ours = await loadModel(file, { device: 'cpu', threads: 2, cacheType });
  const theirs = await llamaCpp.open(file, { cacheType });
  const { vocabSize, contextLength } = ours.config;
  const random = seededRandom(11);
  const tokens = Array.from({ length: contextLength }, () => Math.floor(random() * vocabSize));
  const positions = tokens.map((_, index) => index);
  // The last positions, since they depend on all others.
  const wanted = positions.slice(-Math.min(count, contextLength));
  const { data } = await ours.logits(tokens, { positions: wanted });
  const rows = wanted.map((_, row) => data.subarray(row * vocabSize, (row + 1) * vocabSize));
  const peerRows = await theirs.logits(tokens, wanted);
  await ours.dispose();
  await theirs.dispose();
  return { ours: rows.map(logSoftmax), theirs: peerRows.map(logSoftmax) };
}

function reportLogits(name, { ours, theirs }, largest, exact) {
  const difference = furthest(ours, theirs);
  const same = ours.filter((row, index) => argmax(row) === argmax(theirs[index])).length;
  report(
    difference <= largest,
    name.padEnd(26),
    `differ by at most ${difference.toExponential(1)}`,
    `(bound ${largest.toExponential()})`,
    `same most likely token ${same}/${ours.length}`.padEnd(29),
    `f32 is ${furthest(ours, exact).toExponential(1)} away`,
  );
}

function furthest(left, right) {
  let furthest = 0;
  left.forEach((row, index) => {
    if (row.length !== right[index].length) furthest = Number.NaN;
    row.forEach((value, token) => {
      const difference = Math.abs(value - right[index][token]);
      if (!(difference <= furthest)) furthest = difference;
    });
  });
  return furthest;
}

function logSoftmax(row) {
  const largest = row.reduce((a, b) => Math.max(a, b));
  const sum = row.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return Float64Array.from(row, (logit) => logit - largest - Math.log(sum));
}

function argmax(row) {
  return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
}

async function widthOf(file) {
  const model = await loadModel(file, { device: 'cpu' });
  await model.dispose();
  return model.config.embeddingLength;
}

async function compareTokenizers(folder) {
  heading('Texts to tokens');
  const file = join(scratch, 'converted.gguf');
  await convert(folder, file, { type: 'q8_0' });
  const ours = await loadModel(file, { device: 'cpu' });
  const theirs = await llamaCpp.open(file);
  report(theirs.endOfText === ours.tokenizer.endOfText, 'end of text');
  for (const text of texts) {
    const expected = theirs.tokenize(text);
    const tokens = Array.from(ours.tokenizer.encode(text));
    const same = tokens.join() === expected.join();
    report(same, escaped(text).slice(0, 70), ...(same ? [] : [tokens.join(), expected.join()]));
  }
  await ours.dispose();
  await theirs.dispose();
}
