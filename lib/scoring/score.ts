import type { AbortSignalLike } from '../native/abort.js';

export interface ScoreOptions {
  /**
   * Whether the text follows `<|endoftext|>`, so that its first token is scored too. Tools differ there: Hugging Face's
   * examples for perplexity leave the first token out. Default true.
   */
  startFromEndOfText?: boolean;
  /** The longest window, in tokens. Default: the model's context length. */
  contextLength?: number;
  /**
   * The number of tokens by which the window moves over a longer text. Each window scores its last tokens, which no
   * window before it has. 1 to contextLength. Default: half of it.
   */
  stride?: number;
  /** Returns so many of the likeliest tokens at each position, with their log-probabilities. Default 0. */
  topK?: number;
  /** The words to sum, as [start, end) in UTF-16 code units, in order. Default: what white space separates. */
  spans?: readonly (readonly [start: number, end: number])[];
  /** Aborts the call. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
  /** Receives the numbers of tokens that are scored and to be scored, of all texts of the call. */
  onProgress?: (progress: ScoreProgress) => void;
}

export interface ScoreProgress {
  done: number;
  total: number;
}

/** Arrays have one element for each scored token. Logarithms are natural; surprisal is −logprob. */
export interface Score {
  text: string;
  tokens: Uint32Array;
  /** Where each token begins in the text, in UTF-16 code units. A token within a character begins where that does. */
  offsets: Uint32Array;
  /** Where each token begins in the text's UTF-8. */
  byteOffsets: Uint32Array;
  logprobs: Float32Array;
  /** The number of likelier tokens. 0: it is the likeliest. */
  ranks: Uint32Array;
  /** The entropy of the model's distribution: the expected surprisal. */
  entropies: Float32Array;
  /** The variance of the log-probability under the model's distribution. */
  variances: Float32Array;
  /** With `topK`: the likeliest tokens, in order, [tokens, topK]. */
  topTokens?: Uint32Array;
  /** [tokens, topK] */
  topLogprobs?: Float32Array;
  /** By white space, or by the given spans. A token counts for the first one that it touches. */
  words: SpanScores;
  /** By line, without the line break; tokens count as for words. */
  lines: SpanScores;
  /** The sum over all tokens. */
  logprob: number;
  /** e^(−logprob ÷ tokenCount) */
  perplexity: number;
  /** e^(−logprob ÷ wordCount) */
  wordPerplexity: number;
  /** −logprob ÷ ln 2 ÷ byteCount */
  bitsPerByte: number;
  meanRank: number;
  /** The shares of tokens whose rank is below 10, 100 and 1,000 (GLTR, Gehrmann et al. 2019). */
  rankShares: { top10: number; top100: number; top1000: number };
  tokenCount: number;
  wordCount: number;
  /** The UTF-8 bytes of the scored tokens. */
  byteCount: number;
}

/** Sums over spans of a text. */
export interface SpanScores {
  /** Where each begins, in UTF-16 code units. */
  offsets: Uint32Array;
  /** Where each ends. */
  ends: Uint32Array;
  logprobs: Float32Array;
}
