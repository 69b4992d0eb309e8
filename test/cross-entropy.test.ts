// The distributions of two models, against their logits in double precision.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { crossEntropy, loadModel, type Model } from '../dist/index.js';
import { failure } from './failure.js';
import { fixtureFolder, readGolden } from './golden.js';
import { temporaryFolder } from './temporary-folder.js';

/** 96 positions, no vocabulary: in f32, and with a head of 4 bits, which makes other distributions. */
let model: Model;
let other: Model;
const cacheDir = temporaryFolder();
const { tokens } = readGolden('wide');

beforeAll(async () => {
  const options = { threads: 1, cacheDir };
  model = await loadModel(fixtureFolder('wide'), { ...options, type: 'f32' });
  other = await loadModel(fixtureFolder('wide'), { ...options, type: 'q4_0' });
});
afterAll(async () => {
  await model.dispose();
  await other.dispose();
});

/** The log-probabilities after each token of a window. */
async function logprobsOf(one: Model, window: Uint32Array): Promise<Float64Array[]> {
  const { data, shape } = await one.logits(window, { positions: 'all' });
  return Array.from(window, (_, row) => {
    const logits = Float64Array.from(data.subarray(row * shape[1], (row + 1) * shape[1]));
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    return logits.map((logit) => logit - largest - Math.log(sum));
  });
}

const sumOf = (row: Float64Array, term: (logprob: number, index: number) => number) =>
  row.reduce((sum, logprob, index) => sum + Math.exp(logprob) * term(logprob, index), 0);

test('is that of the logits, chunk by chunk', async () => {
  const window = Uint32Array.from(tokens);
  expect(window.length).toBeGreaterThan(64); // the length of a chunk
  const result = await crossEntropy(model, other, window, { startFromEndOfText: false });
  expect(result.tokens).toEqual(window.slice(1));
  expect(result.tokenCount).toBe(window.length - 1);
  const [p, q] = [await logprobsOf(model, window), await logprobsOf(other, window)];
  for (let i = 0; i < result.tokenCount; i++) {
    const [own, others] = [p[i] as Float64Array, q[i] as Float64Array];
    const token = window[i + 1] as number;
    const cross = -sumOf(own, (_, v) => others[v] as number);
    const square = sumOf(own, (_, v) => (others[v] as number) ** 2);
    expect(result.crossEntropies[i]).toBeCloseTo(cross, 5);
    expect(result.crossVariances[i]).toBeCloseTo(square - cross ** 2, 4);
    expect(result.entropies[i]).toBeCloseTo(-sumOf(own, (logprob) => logprob), 5);
    expect(result.logprobs[i]).toBeCloseTo(own[token] as number, 5);
    expect(result.otherLogprobs[i]).toBeCloseTo(others[token] as number, 5);
  }
  const mean = result.crossEntropies.reduce((a, b) => a + b) / result.tokenCount;
  expect(result.crossEntropy).toBeCloseTo(mean, 5);
});

describe('of a model and itself', () => {
  test('is its entropy, with the log-probabilities of score(), over windows too', async () => {
    const long = Uint32Array.from(
      { length: 300 },
      (_, i) => tokens[(i * 7) % tokens.length] as number,
    );
    for (const options of [
      { startFromEndOfText: false },
      { startFromEndOfText: false, contextLength: 90, stride: 13 },
      { startFromEndOfText: false, contextLength: 2, stride: 2 },
    ]) {
      const score = await model.score(long, options);
      const cross = await crossEntropy(model, model, long, options);
      expect(cross.logprobs).toEqual(score.logprobs);
      expect(cross.otherLogprobs).toEqual(score.logprobs);
      expect(cross.entropies).toEqual(score.entropies);
      for (const [i, entropy] of score.entropies.entries()) {
        expect(cross.crossEntropies[i]).toBeCloseTo(entropy, 5);
        expect(cross.crossVariances[i]).toBeCloseTo(score.variances[i] as number, 4);
      }
    }
  });
});

test('texts have offsets, and no text has no tokens', async () => {
  await using books = await loadModel(undefined, { threads: 1 });
  const text = 'A ☃ in the sun.';
  const {
    offsets,
    byteOffsets,
    tokens: scored,
    text: same,
  } = await crossEntropy(books, books, text);
  const score = await books.score(text);
  expect({ same, offsets, byteOffsets, scored }).toEqual({
    ...{ same: text, offsets: score.offsets, byteOffsets: score.byteOffsets },
    scored: score.tokens,
  });
  expect((await crossEntropy(books, books, '')).tokenCount).toBe(0);
  await failure('INVALID_ARGUMENT', () => crossEntropy(books, model, [1, 2, 3]));
});

test('wrong arguments are refused', async () => {
  await failure('INVALID_ARGUMENT', () => crossEntropy(model, {} as never, [1, 2]));
  await failure('INVALID_ARGUMENT', () => crossEntropy(undefined as never, other, [1, 2]));
  await failure('INVALID_ARGUMENT', () =>
    crossEntropy(model, other, 7 as never, { startFromEndOfText: false }),
  );
  await failure('TOKENIZER_MISSING', () => crossEntropy(model, other, 'text'));
  const options = { startFromEndOfText: false };
  await failure('TOKEN_OUT_OF_RANGE', () => crossEntropy(model, other, [1e6], options));
  for (const wrong of [{ stride: 0 }, { contextLength: 97 }, { startFromEndOfText: 1 }]) {
    await failure('INVALID_ARGUMENT', () =>
      crossEntropy(model, other, [1, 2], { ...options, ...wrong } as never),
    );
  }
  await failure('UNKNOWN_OPTION', () => crossEntropy(model, other, [1], { topK: 1 } as never));
  const reason = new Error('stop');
  await expect(
    crossEntropy(model, other, [1, 2], { ...options, signal: AbortSignal.abort(reason) }),
  ).rejects.toBe(reason);
});
