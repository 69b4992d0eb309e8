import { types } from 'node:util';
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkOptions,
  checkSignal,
  invalidArgument,
} from '../arguments.js';
import { checkTokenIds, type Input } from '../input.js';
import { LinkedSignal } from '../native/abort.js';
import { callNative } from '../native/native-call.js';
import type { NativeScores, NativeSession } from '../native/types.js';
import { together } from '../together.js';
import type { TokenSpans } from '../tokenizer/token-spans.js';
import {
  type BytePairTokenizer,
  checkHasTokenizer,
  type Tokenizer,
} from '../tokenizer/tokenizer.js';
import type { Score, ScoreOptions, ScoreProgress } from './score.js';
import { SequencesInFlight } from './sequences-in-flight.js';
import { checkSpans, linesOf, type Span, spansOf, sumSpans, wordsOf } from './spans.js';
import { type Window, windowsOf } from './windows.js';

/** The part of a model that scores. */
export interface ScoringModel {
  readonly config: { readonly contextLength: number; readonly vocabSize: number };
  readonly tokenizer: Tokenizer;
  /** undefined for a model without one */
  readonly textTokenizer: BytePairTokenizer | undefined;
  createNativeSession(): NativeSession;
}

/** @internal */
export interface ScoreSettings {
  startFromEndOfText: boolean;
  contextLength: number;
  stride: number;
  topK: number;
  spans: Span[] | undefined;
  signal: AbortSignal | undefined;
  onProgress: ((progress: ScoreProgress) => void) | undefined;
}

/** Scores texts at the same time. The first failure stops the others. */
export async function scoreTexts(
  model: ScoringModel,
  inputs: readonly Input[],
  options: ScoreOptions | undefined,
): Promise<Score[]> {
  const settings = checkScoreOptions('score', options, scoreOptionNames, model.config);
  if (settings.startFromEndOfText) void model.tokenizer.startOfText; // throws TOKENIZER_MISSING
  const checked = Array.from(inputs, (input) => checkText(input, model.tokenizer));
  const stop = new LinkedSignal(settings.signal);
  const { signal } = stop;
  const inFlight = new SequencesInFlight();
  const progress = new Progress(settings.onProgress);
  try {
    signal.throwIfAborted();
    const texts: Uint32Array[] = [];
    for (const input of checked) texts.push(await tokensOf(input, model, signal));
    progress.addTotal(texts.reduce((sum, tokens) => sum + targetCount(tokens, settings), 0));
    return await together(stop, texts, (tokens) =>
      scoreTokens(model, tokens, settings, { signal, inFlight, progress }),
    );
  } finally {
    stop.unlink();
  }
}

const scoreOptionNames: (keyof ScoreOptions)[] = [
  'startFromEndOfText',
  'contextLength',
  'stride',
  'topK',
  'spans',
  'signal',
  'onProgress',
];

/** @internal @throws INVALID_ARGUMENT, UNKNOWN_OPTION */
export function checkScoreOptions(
  call: string,
  options: ScoreOptions | undefined,
  names: readonly (keyof ScoreOptions)[],
  { contextLength: own, vocabSize }: ScoringModel['config'],
): ScoreSettings {
  const given = checkOptions(call, options, names);
  const { startFromEndOfText = true, contextLength = own, topK = 0 } = given;
  checkInteger('contextLength', contextLength, 1, own);
  const { stride = Math.max(Math.floor(contextLength / 2), 1) } = given;
  return {
    startFromEndOfText: checkBoolean('startFromEndOfText', startFromEndOfText),
    contextLength,
    stride: checkInteger('stride', stride, 1, contextLength),
    topK: checkInteger('topK', topK, 0, vocabSize),
    spans: checkSpans(given.spans),
    signal: checkSignal(given.signal),
    onProgress: checkFunction('onProgress', given.onProgress),
  };
}

/** Texts and token ids may be longer than the context. */
export function checkText(input: Input, tokenizer: Tokenizer): Uint32Array | string {
  if (typeof input === 'string') {
    checkHasTokenizer(tokenizer);
    return input;
  }
  if (!Array.isArray(input) && !types.isUint32Array(input) && !types.isInt32Array(input)) {
    throw invalidArgument('text or an array of token ids', input);
  }
  return checkTokenIds(input, tokenizer);
}

/** @internal */
export async function tokensOf(
  input: Uint32Array | string,
  { textTokenizer }: ScoringModel,
  signal: AbortSignal,
): Promise<Uint32Array> {
  if (typeof input !== 'string') return input;
  const tokens = await textTokenizer?.encodeInTurns(input, Number.MAX_SAFE_INTEGER, signal);
  return tokens ?? new Uint32Array(0);
}

function targetCount({ length }: Uint32Array, { startFromEndOfText }: ScoreSettings): number {
  return Math.max(length - (startFromEndOfText ? 0 : 1), 0);
}

class Progress {
  readonly #listener: ((progress: ScoreProgress) => void) | undefined;
  #done = 0;
  #total = 0;

  constructor(listener: ((progress: ScoreProgress) => void) | undefined) {
    this.#listener = listener;
  }

  addTotal(count: number): void {
    this.#total += count;
  }

  add(count: number): void {
    this.#done += count;
    this.#listener?.({ done: this.#done, total: this.#total });
  }
}

interface Call {
  signal: AbortSignal;
  inFlight: SequencesInFlight;
  progress: Progress;
}

async function scoreTokens(
  model: ScoringModel,
  tokens: Uint32Array,
  settings: ScoreSettings,
  { signal, inFlight, progress }: Call,
): Promise<Score> {
  const { startFromEndOfText, contextLength, stride, topK } = settings;
  const start = startFromEndOfText ? [model.tokenizer.startOfText] : [];
  const all = new Uint32Array(start.length + tokens.length);
  all.set(start);
  all.set(tokens, start.length);
  const columns = new Columns(Math.max(all.length - 1, 0), topK);
  await Promise.all(
    windowsOf(all.length, contextLength, stride).map((window) =>
      inFlight.run(window.end - 1 - window.begin, async () => {
        signal.throwIfAborted();
        columns.set(window, await scoreWindow(model, all, window, topK, signal));
        progress.add(window.end - window.firstTarget);
      }),
    ),
  );
  return await describeScore(model, tokens, columns.logprobs.length, columns, settings);
}

/** @internal */
export async function scoreWindow(
  model: ScoringModel,
  all: Uint32Array,
  { begin, firstTarget, end }: Window,
  topK: number,
  signal: AbortSignal,
): Promise<NativeScores> {
  const session = model.createNativeSession();
  try {
    return await callNative(signal, (cancellation) =>
      session.score(
        0,
        all.subarray(begin, end - 1),
        firstTarget - 1 - begin,
        all.subarray(firstTarget, end),
        topK,
        undefined,
        cancellation,
      ),
    );
  } finally {
    session.dispose();
  }
}

/** The scores of all windows. The first target has index 0. */
class Columns {
  readonly logprobs: Float32Array;
  readonly ranks: Uint32Array;
  readonly entropies: Float32Array;
  readonly variances: Float32Array;
  readonly topTokens: Uint32Array;
  readonly topLogprobs: Float32Array;
  readonly #topK: number;

  constructor(count: number, topK: number) {
    this.#topK = topK;
    this.logprobs = new Float32Array(count);
    this.ranks = new Uint32Array(count);
    this.entropies = new Float32Array(count);
    this.variances = new Float32Array(count);
    this.topTokens = new Uint32Array(count * topK);
    this.topLogprobs = new Float32Array(count * topK);
  }

  set({ firstTarget }: Window, scores: NativeScores): void {
    const at = firstTarget - 1;
    this.logprobs.set(scores.logprobs, at);
    this.ranks.set(scores.ranks, at);
    this.entropies.set(scores.entropies, at);
    this.variances.set(scores.variances, at);
    this.topTokens.set(scores.topTokens, at * this.#topK);
    this.topLogprobs.set(scores.topLogprobs, at * this.#topK);
  }
}

/** The text of tokens, and where the last `count` of them begin. */
export async function scoredSpans(
  tokens: Uint32Array,
  count: number,
  tokenizer: BytePairTokenizer | undefined,
): Promise<TokenSpans> {
  const whole = await spansOf(tokens, tokenizer);
  const first = tokens.length - count;
  return {
    ...whole,
    offsets: whole.offsets.slice(first),
    byteOffsets: whole.byteOffsets.slice(first),
  };
}

/** @param count the number of scored tokens, which are the last */
async function describeScore(
  { textTokenizer }: ScoringModel,
  tokens: Uint32Array,
  count: number,
  columns: Columns,
  { topK, spans }: ScoreSettings,
): Promise<Score> {
  const scored = await scoredSpans(tokens, count, textTokenizer);
  const { logprobs, ranks, entropies, variances, topTokens, topLogprobs } = columns;
  const words = sumSpans(spans ?? wordsOf(scored.text), scored, logprobs);
  const lines = sumSpans(linesOf(scored.text), scored, logprobs);
  const tokenCount = logprobs.length;
  const wordCount = words.logprobs.length;
  const byteCount = scored.byteCount - (scored.byteOffsets[0] ?? scored.byteCount);
  let logprob = 0;
  for (const each of logprobs) logprob += each;
  const shareBelow = (limit: number) => ranks.filter((rank) => rank < limit).length / tokenCount;
  return {
    text: scored.text,
    tokens: tokens.slice(tokens.length - tokenCount),
    offsets: scored.offsets,
    byteOffsets: scored.byteOffsets,
    ...{ logprobs, ranks, entropies, variances },
    ...(topK > 0 && { topTokens, topLogprobs }),
    words,
    lines,
    logprob,
    perplexity: Math.exp(-logprob / tokenCount),
    wordPerplexity: Math.exp(-logprob / wordCount),
    bitsPerByte: -logprob / Math.LN2 / byteCount,
    meanRank: ranks.reduce((sum, rank) => sum + rank, 0) / tokenCount,
    rankShares: { top10: shareBelow(10), top100: shareBelow(100), top1000: shareBelow(1000) },
    ...{ tokenCount, wordCount, byteCount },
  };
}
