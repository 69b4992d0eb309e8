import { invalidArgument } from './arguments.js';
import type { Input } from './input.js';
import { allocateLogits } from './logits.js';
import { Model } from './model.js';
import { type AbortSignalLike, LinkedSignal } from './native/abort.js';
import { callNative } from './native/native-call.js';
import type { NativeScores, NativeSession } from './native/types.js';
import type { Score, ScoreOptions } from './scoring/score.js';
import {
  checkScoreOptions,
  checkText,
  type ScoreSettings,
  scoredSpans,
  tokensOf,
} from './scoring/score-texts.js';
import { type Window, windowsOf } from './scoring/windows.js';

/** As for `score`. The windows are as long as the shorter context of the two models by default. */
export type CrossEntropyOptions = Pick<
  ScoreOptions,
  'startFromEndOfText' | 'contextLength' | 'stride'
> & {
  /** Aborts the call. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
};

/**
 * Two models' distributions of each token of a text: p of the first model, q of the other. Arrays have one element for each
 * scored token, in nats.
 */
export interface CrossEntropy extends Pick<Score, 'text' | 'tokens' | 'offsets' | 'byteOffsets'> {
  /** −Σ p ln q over the vocabulary: the expected surprisal of the other model at what the first one would write. */
  crossEntropies: Float32Array;
  /** The variance of ln q under p. */
  crossVariances: Float32Array;
  /** −Σ p ln p. The difference from the cross-entropy is the Kullback-Leibler divergence of q from p. */
  entropies: Float32Array;
  /** ln p of the token. */
  logprobs: Float32Array;
  /** ln q of the token. */
  otherLogprobs: Float32Array;
  /** The mean over all tokens. */
  crossEntropy: number;
  tokenCount: number;
}

// Logits of so many tokens are in memory: 13 MB with GPT-2's vocabulary.
const chunkLength = 64;

/**
 * Compares the distributions of two models with the same vocabulary at each token of a text. Detectors of machine text are
 * quotients of the results: Binoculars (Hans et al. 2024) divides the mean of −otherLogprobs by the cross-entropy, and
 * Fast-DetectGPT (Bao et al. 2024) is (Σ otherLogprobs + Σ crossEntropies) ÷ √Σ crossVariances.
 *
 * @throws as `model.score`, and INVALID_ARGUMENT if the vocabularies have different sizes, or the text different tokens
 * @example
 * const { crossEntropy: mean, otherLogprobs } = await crossEntropy(model, other, 'The cat sat on the mat.');
 * const binoculars = -otherLogprobs.reduce((a, b) => a + b) / otherLogprobs.length / mean;
 */
export async function crossEntropy(
  model: Model,
  other: Model,
  input: Input,
  options?: CrossEntropyOptions,
): Promise<CrossEntropy> {
  for (const each of [model, other]) {
    if (!(each instanceof Model)) throw invalidArgument('two models', each);
    each.checkAlive();
  }
  const { vocabSize } = model.config;
  if (other.config.vocabSize !== vocabSize) throw differentVocabularies();
  const contextLength = Math.min(model.config.contextLength, other.config.contextLength);
  const settings = checkScoreOptions(
    'crossEntropy',
    options,
    ['startFromEndOfText', 'contextLength', 'stride', 'signal'],
    { contextLength, vocabSize },
  );
  if (settings.startFromEndOfText) void model.tokenizer.startOfText; // throws TOKENIZER_MISSING
  const text = checkText(input, model.tokenizer);
  const otherText = checkText(input, other.tokenizer);
  const stop = new LinkedSignal(settings.signal);
  const { signal } = stop;
  try {
    signal.throwIfAborted();
    const tokens = await tokensOf(text, model, signal);
    if (!equal(tokens, await tokensOf(otherText, other, signal))) throw differentVocabularies();
    return await compare(model, other, tokens, { ...settings, signal });
  } finally {
    stop.unlink();
  }
}

async function compare(
  model: Model,
  other: Model,
  tokens: Uint32Array,
  { startFromEndOfText, contextLength, stride, signal }: ScoreSettings & { signal: AbortSignal },
): Promise<CrossEntropy> {
  const all = startFromEndOfText
    ? Uint32Array.from([model.tokenizer.startOfText, ...tokens])
    : tokens;
  const count = Math.max(all.length - 1, 0);
  const columns = {
    crossEntropies: new Float32Array(count),
    crossVariances: new Float32Array(count),
    entropies: new Float32Array(count),
    logprobs: new Float32Array(count),
    otherLogprobs: new Float32Array(count),
  };
  for (const window of windowsOf(all.length, contextLength, stride)) {
    for await (const { at, scores } of scoreWindow(model, other, all, window, signal)) {
      const { cross } = scores;
      if (!cross) continue;
      columns.crossEntropies.set(cross.crossEntropies, at);
      columns.crossVariances.set(cross.crossVariances, at);
      columns.entropies.set(cross.entropies, at);
      columns.logprobs.set(cross.logprobs, at);
      columns.otherLogprobs.set(scores.logprobs, at);
    }
  }
  const { text, offsets, byteOffsets } = await scoredSpans(tokens, count, model.textTokenizer);
  return {
    ...{ text, tokens: tokens.slice(tokens.length - count), offsets, byteOffsets },
    ...columns,
    crossEntropy: columns.crossEntropies.reduce((sum, each) => sum + each, 0) / count,
    tokenCount: count,
  };
}

function differentVocabularies(): Error {
  return invalidArgument('two models with the same vocabulary', 'different ones');
}

function equal(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((token, index) => token === b[index]);
}

/** Yields scores of a window's targets, and the index of the first among all targets. */
async function* scoreWindow(
  model: Model,
  other: Model,
  all: Uint32Array,
  { begin, firstTarget, end }: Window,
  signal: AbortSignal,
): AsyncGenerator<{ at: number; scores: NativeScores }, void, void> {
  const first = firstTarget - 1;
  const sessions: NativeSession[] = [];
  try {
    for (const each of [model, other]) sessions.push(each.createNativeSession());
    const [session, otherSession] = sessions as [NativeSession, NativeSession];
    // The tokens before the first target's are evaluated with the first chunk.
    for (let from = begin, to: number; from < end - 1; from = to) {
      to = Math.min(Math.max(from, first) + chunkLength, end - 1);
      const row = Math.max(from, first); // the token before the chunk's first target
      const tokens = all.subarray(from, to);
      const targets = all.subarray(row + 1, to + 1);
      const rows = Uint32Array.from(targets.keys(), (index) => row - from + index);
      const logits = allocateLogits(targets.length, model.config.vocabSize);
      await callNative(signal, (cancellation) =>
        session.evaluate(from - begin, tokens, rows, logits, cancellation),
      );
      const scores = await callNative(signal, (cancellation) =>
        otherSession.score(from - begin, tokens, row - from, targets, 0, logits, cancellation),
      );
      yield { at: row, scores };
    }
  } finally {
    for (const session of sessions) session.dispose();
  }
}
