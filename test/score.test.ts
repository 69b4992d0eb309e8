// Scores of texts: against the logits, over windows, and alone as in company.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadModel, type Model, type Score, type ScoreOptions } from '../dist/index.js';
import { changedFixture } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { fixtureFolder, readGolden, readGoldenScores } from './golden.js';
import { spelledTokens } from './gpt2-vocabulary.js';
import { temporaryFolder } from './temporary-folder.js';

/** The bundled model: 256 positions, GPT-2's vocabulary. */
let model: Model;
/** 96 positions, no vocabulary, f32. */
let idModel: Model;
const text = `The old man went to the window, and saw the sea.\n  "It is ☃ cold," he said.\n\nNobody answered.`;

beforeAll(async () => {
  model = await loadModel(undefined, { threads: 1 });
  idModel = await loadModel(fixtureFolder('wide'), {
    ...{ threads: 1, cacheDir: temporaryFolder(), type: 'f32' },
  });
});
afterAll(async () => {
  await model.dispose();
  await idModel.dispose();
});

interface Expected {
  logprob: number;
  rank: number;
  entropy: number;
  variance: number;
  top: [token: number, logprob: number][];
}

/** From the logits, in double precision. */
function expectedFrom(logits: ArrayLike<number>, token: number): Expected {
  const row = Float64Array.from(logits);
  const largest = row.reduce((a, b) => Math.max(a, b));
  const logSum = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
  const logprobs = row.map((logit) => logit - largest - logSum);
  const mean = logprobs.reduce((sum, logprob) => sum + Math.exp(logprob) * logprob, 0);
  const square = logprobs.reduce((sum, logprob) => sum + Math.exp(logprob) * logprob ** 2, 0);
  const order = [...logprobs.keys()].sort(
    (a, b) => (logprobs[b] as number) - (logprobs[a] as number) || a - b,
  );
  return {
    logprob: logprobs[token] as number,
    rank: order.indexOf(token),
    entropy: -mean,
    variance: square - mean ** 2,
    top: order.slice(0, 5).map((each) => [each, logprobs[each] as number]),
  };
}

async function rowsOf(one: Model, tokens: number[]): Promise<Float32Array[]> {
  const { data, shape } = await one.logits(tokens, { positions: 'all' });
  return tokens.map((_, row) => data.subarray(row * shape[1], (row + 1) * shape[1]));
}

function check(score: Score, at: number, expected: Expected, precision: number): void {
  const near = (actual: number | undefined, wanted: number, within: number) =>
    expect(Math.abs((actual as number) - wanted), `token ${at}`).toBeLessThan(within);
  near(score.logprobs[at], expected.logprob, precision);
  near(score.entropies[at], expected.entropy, precision);
  near(score.variances[at], expected.variance, 10 * precision);
  expect(score.ranks[at]).toBe(expected.rank);
}

describe('a score', () => {
  test('is that of the logits', async () => {
    const score = await model.score(text, { topK: 5 });
    const tokens = [model.tokenizer.endOfText, ...model.tokenizer.encode(text)];
    const rows = await rowsOf(model, tokens);
    expect([...score.tokens]).toEqual(tokens.slice(1));
    for (let i = 0; i < score.tokenCount; i++) {
      const expected = expectedFrom(rows[i] as Float32Array, tokens[i + 1] as number);
      check(score, i, expected, 1e-5);
      for (const [j, [token, logprob]] of expected.top.entries()) {
        expect(score.topTokens?.[5 * i + j]).toBe(token);
        expect(score.topLogprobs?.[5 * i + j]).toBeCloseTo(logprob, 5);
      }
    }
  });

  // PyTorch's logits in double precision: scripts/reference/make_goldens.py.
  test('is that of PyTorch', async () => {
    const { tokens, logits } = readGolden('wide');
    const vocabSize = idModel.config.vocabSize;
    const score = await idModel.score(tokens, { startFromEndOfText: false });
    expect([...score.tokens]).toEqual(tokens.slice(1));
    for (let i = 0; i < score.tokenCount; i++) {
      const row = logits.slice(i * vocabSize, (i + 1) * vocabSize);
      check(score, i, expectedFrom(row, tokens[i + 1] as number), 1e-5);
    }
  });

  test('sums up to its figures', async () => {
    const score = await model.score(text);
    const sum = score.logprobs.reduce((a, b) => a + b, 0);
    const bytes = Buffer.byteLength(text);
    expect(score.text).toBe(text);
    expect(score.logprob).toBeCloseTo(sum, 4);
    expect(score.byteCount).toBe(bytes);
    expect(score.wordCount).toBe(text.split(/\s+/).length);
    expect(score.perplexity).toBeCloseTo(Math.exp(-sum / score.tokenCount), 3);
    expect(Math.log(score.wordPerplexity)).toBeCloseTo(-sum / score.wordCount, 5);
    expect(score.bitsPerByte).toBeCloseTo(-sum / Math.LN2 / bytes, 5);
    const ranks = [...score.ranks];
    expect(score.meanRank).toBeCloseTo(ranks.reduce((a, b) => a + b) / ranks.length, 9);
    expect(score.rankShares).toEqual({
      top10: ranks.filter((rank) => rank < 10).length / ranks.length,
      top100: ranks.filter((rank) => rank < 100).length / ranks.length,
      top1000: ranks.filter((rank) => rank < 1000).length / ranks.length,
    });
  });

  test('says where tokens, words and lines are', async () => {
    const { tokens, offsets, byteOffsets, words, lines, logprobs } = await model.score(text);
    const buffer = Buffer.from(text);
    for (const [i, token] of tokens.entries()) {
      const bytes = model.tokenizer.decodeToken(token);
      const at = byteOffsets[i] as number;
      expect(buffer.subarray(at, at + bytes.length)).toEqual(Buffer.from(bytes));
      // The characters before the token that are complete.
      const before = new TextDecoder().decode(buffer.subarray(0, at), { stream: true });
      expect(offsets[i]).toBe(before.length);
    }
    const spans = [...words.offsets].map((start, i) => text.slice(start, words.ends[i]));
    expect(spans).toEqual(text.split(/\s+/));
    expect([...lines.offsets].map((start, i) => text.slice(start, lines.ends[i]))).toEqual(
      text.split('\n').filter((line) => line !== ''),
    );
    // " window" and "," are tokens of "window,".
    const word = spans.indexOf('window,');
    const first = [...offsets].indexOf(text.indexOf(' window,'));
    expect(words.logprobs[word]).toBeCloseTo(
      (logprobs[first] as number) + (logprobs[first + 1] as number),
      5,
    );
    const own = await model.score(text, {
      spans: [
        [0, 3],
        [4, 11],
      ],
    });
    expect([...own.words.offsets]).toEqual([0, 4]);
    expect(own.words.logprobs[0]).toBe(own.logprobs[0]);
    expect(own.wordCount).toBe(2);
  });

  test('may leave out the first token', async () => {
    const score = await model.score(text, { startFromEndOfText: false });
    const tokens = [...model.tokenizer.encode(text)];
    const rows = await rowsOf(model, tokens);
    expect(score.tokenCount).toBe(tokens.length - 1);
    expect(score.offsets[0]).toBe('The'.length);
    expect(score.byteCount).toBe(Buffer.byteLength(text) - 3);
    for (let i = 0; i < score.tokenCount; i++) {
      check(score, i, expectedFrom(rows[i] as Float32Array, tokens[i + 1] as number), 1e-5);
    }
  });

  test('of nothing has no tokens', async () => {
    for (const input of ['', [], new Uint32Array(0)]) {
      const score = await model.score(input);
      expect(score.tokenCount).toBe(0);
      expect(score.logprob).toBe(0);
      expect(score.perplexity).toBeNaN();
    }
    const alone = await idModel.score([5], { startFromEndOfText: false });
    expect(alone.tokenCount).toBe(0);
  });
});

describe('a longer text', () => {
  const golden = readGoldenScores('wide');
  /** The fixture with GPT-2's bytes as a vocabulary, which has an end of text. */
  let wideModel: Model;

  beforeAll(async () => {
    const folder = changedFixture(join(temporaryFolder(), 'wide'), 'wide', {});
    const ids = spelledTokens()
      .slice(0, 256)
      .map((token, id) => [token, id]);
    const vocabulary = Object.fromEntries([...ids, ['<|endoftext|>', 508]]);
    writeFileSync(join(folder, 'vocab.json'), JSON.stringify(vocabulary));
    writeFileSync(join(folder, 'merges.txt'), '#version: 0.2\n');
    wideModel = await loadModel(folder, {
      ...{ threads: 1, cacheDir: temporaryFolder(), type: 'f32' },
    });
  });
  afterAll(() => wideModel.dispose());

  test.each(golden.cases)(
    'has the scores of PyTorch: contextLength $contextLength, stride $stride, startFromEndOfText $startFromEndOfText',
    async ({ contextLength, stride, startFromEndOfText, ...expected }) => {
      const options = { contextLength, stride, startFromEndOfText };
      const score = await wideModel.score(golden.tokens, options);
      expect(score.tokenCount).toBe(expected.logprobs.length);
      const error = (column: 'logprobs' | 'entropies' | 'variances') =>
        Math.max(
          ...expected[column].map((value, at) => Math.abs((score[column][at] as number) - value)),
        );
      expect(error('logprobs')).toBeLessThan(1e-5);
      expect(error('entropies')).toBeLessThan(1e-5);
      expect(error('variances')).toBeLessThan(1e-4);
      // The rank of a logit that is this close to another one is a matter of rounding.
      const isDefined = (_: number, at: number) => (expected.gaps[at] as number) > 1e-6;
      expect([...score.ranks].filter(isDefined)).toEqual(expected.ranks.filter(isDefined));
    },
  );

  const tokens = Array.from({ length: 300 }, (_, i) => (7 * i * i + 3 * i) % 97);

  test.each([
    { contextLength: 96, stride: 48 },
    { contextLength: 96, stride: 96 },
    { contextLength: 96, stride: 1 },
    { contextLength: 50, stride: 7 },
    { contextLength: 2, stride: 1 },
    { contextLength: 2, stride: 2 },
    { contextLength: 1, stride: 1 },
  ])('is scored by windows, each as if alone: %o', async (options) => {
    const { contextLength, stride } = options;
    const count = contextLength > 2 ? 300 : 20;
    const all = tokens.slice(0, count);
    const score = await idModel.score(all, { startFromEndOfText: false, ...options });
    expect(score.tokenCount).toBe(count - 1);
    // As Hugging Face's "Perplexity of fixed-length models" moves its window.
    let scored = 1;
    for (let begin = 0; scored < count; begin += stride) {
      const end = Math.min(begin + contextLength, count);
      const from = Math.min(begin, scored - 1);
      if (end > scored && end - from > contextLength) {
        // One more than a window of score() has, so that its first token is scored too.
        const { logprobs } = await idModel.rank([all[from] as number], [all.slice(from + 1, end)]);
        const sum = score.logprobs.slice(scored - 1, end - 1).reduce((a, b) => a + b, 0);
        expect(sum).toBeCloseTo(logprobs[0] as number, 3);
      } else {
        const alone = await idModel.score(all.slice(from, end), { startFromEndOfText: false });
        for (let i = scored; i < end; i++) {
          expect(score.logprobs[i - 1]).toBe(alone.logprobs[i - 1 - from]);
          expect(score.entropies[i - 1]).toBe(alone.entropies[i - 1 - from]);
          expect(score.ranks[i - 1]).toBe(alone.ranks[i - 1 - from]);
        }
      }
      scored = end;
    }
  });

  test('reports its progress', async () => {
    const seen: number[] = [];
    const { tokenCount } = await idModel.score(tokens, {
      startFromEndOfText: false,
      onProgress: ({ done, total }) => {
        seen.push(done);
        expect(total).toBe(299);
      },
    });
    expect(seen.at(-1)).toBe(tokenCount);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });
});

describe('several texts', () => {
  const texts = ['The sea', text, '', 'x', text.repeat(3), 'A house on a hill', text];

  test('have the scores that they have alone, to the bit', async () => {
    const together = await model.score(texts, { topK: 3 });
    expect(together.length).toBe(texts.length);
    for (const [i, one] of texts.entries()) {
      expect(together[i]).toEqual(await model.score(one, { topK: 3 }));
    }
    const busy = Promise.all([
      model.score(texts, { topK: 3 }),
      model.generate(texts, { maxTokens: 30 }),
    ]);
    expect((await busy)[0]).toEqual(together);
    const threaded = await loadModel(undefined, { threads: 2 });
    expect(await threaded.score(texts, { topK: 3 })).toEqual(together);
    await threaded.dispose();
  });

  test('stop with the first failure', async () => {
    await failure('TOKEN_OUT_OF_RANGE', () => model.score([text, [10 ** 6]]));
    const controller = new AbortController();
    const call = model.score([text.repeat(50), text], {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await expect(call).rejects.toThrow('enough');
    const thrown = new Error('mine');
    const listening = model.score(text, {
      onProgress: () => {
        throw thrown;
      },
    });
    await expect(listening).rejects.toBe(thrown);
    expect(await model.score([])).toMatchObject({ tokenCount: 0 });
  });
});

test('wrong options are refused', async () => {
  for (const options of [
    { stride: 0 },
    { stride: 300 },
    { contextLength: 0 },
    { contextLength: 257 },
    { topK: -1 },
    { topK: 50_258 },
    { spans: [[0]] },
    { spans: [[3, 2]] },
    {
      spans: [
        [0, 2],
        [1, 3],
      ],
    },
    { spans: 'x' },
    { startFromEndOfText: 1 },
    { onProgress: 1 },
    { signal: {} },
  ]) {
    await failure('INVALID_ARGUMENT', () => model.score(text, options as ScoreOptions));
  }
  const error = await failure('UNKNOWN_OPTION', () => model.score(text, { topk: 1 } as never));
  expect(error.message).toContain('Did you mean "topK"?');
  await failure('TOKENIZER_MISSING', () => idModel.score('text'));
  await failure('TOKENIZER_MISSING', () => idModel.score([1, 2]));
  for (const input of [null, 7, {}, new Float32Array(2)]) {
    await failure('INVALID_ARGUMENT', () => model.score(input as never));
  }
});

describe('a ranking', () => {
  const prompt = 'The old man went to the';
  const candidates = [' window', ' sea', ' window and the sea', ' zebra', [5, 6]];

  test('has the log-likelihoods of the candidates', async () => {
    const ranking = await model.rank(prompt, candidates, { pmi: true });
    for (const [i, candidate] of candidates.entries()) {
      const own =
        typeof candidate === 'string' ? [...model.tokenizer.encode(candidate)] : candidate;
      const start = [...model.tokenizer.encode(prompt)];
      const { logprobs } = await model.score([...start, ...own], { startFromEndOfText: false });
      const sum = logprobs.slice(start.length - 1).reduce((a, b) => a + b, 0);
      expect(ranking.logprobs[i]).toBeCloseTo(sum, 5);
      expect(ranking.perToken[i]).toBeCloseTo(sum / own.length, 5);
      const spelled = model.tokenizer.decode(own);
      expect(ranking.perByte[i]).toBeCloseTo(sum / Buffer.byteLength(spelled), 5);
      expect(ranking.perCharacter[i]).toBeCloseTo(sum / spelled.length, 5);
      const { logprob } = await model.score(own);
      expect(ranking.pmi?.[i]).toBeCloseTo(sum - logprob, 4);
    }
    const sorted = [...ranking.order].map((i) => ranking.logprobs[i] as number);
    expect(sorted).toEqual([...sorted].sort((a, b) => b - a));
    expect(ranking.probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 10);
    expect(ranking.order[0]).toBe(
      ranking.probabilities.indexOf(Math.max(...ranking.probabilities)),
    );
  });

  test('of many candidates is that of each alone', async () => {
    const many = Array.from({ length: 100 }, (_, i) => [i, i + 1, 2 * i]);
    const { logprobs } = await model.rank(prompt, many);
    for (const i of [0, 50, 99]) {
      const alone = await model.rank(prompt, [many[i] as number[]]);
      expect(logprobs[i]).toBe(alone.logprobs[0]);
    }
    const fromNothing = await model.rank('', [' The']);
    const { logprob } = await model.score(' The');
    expect(fromNothing.logprobs[0]).toBeCloseTo(logprob, 5);
  });

  test('refuses what cannot be ranked', async () => {
    await failure('INVALID_ARGUMENT', () => model.rank([], [' a']));
    await failure('INVALID_ARGUMENT', () => model.rank(prompt, []));
    await failure('INVALID_ARGUMENT', () => model.rank(prompt, [' a', '']));
    await failure('INVALID_ARGUMENT', () => model.rank(prompt, ' a' as never));
    await failure('TOKEN_OUT_OF_RANGE', () => model.rank(prompt, [[10 ** 6]]));
    await failure('CONTEXT_OVERFLOW', () => model.rank(prompt, [' a', ' a'.repeat(255)]));
    await failure('UNKNOWN_OPTION', () => model.rank(prompt, [' a'], { x: 1 } as never));
  });
});
