/** A continuation of a prompt. Arrays have one element for each of its tokens. */
export interface Generation {
  /** The new text. Empty for a model without a tokenizer. */
  text: string;
  /** The new tokens, without a final end-of-text or stop token. They spell the text. */
  tokens: Uint32Array;
  /**
   * 'length': maxTokens or the context length was reached. 'endOfText': the model generated `<|endoftext|>` or another
   * token that the model's files name as the end of a text. 'stop': a stop string or token was reached. 'predicate':
   * stopWhen returned true. 'time': the time budget was used up.
   */
  finishReason: FinishReason;
  /** The stop string, or the stop token. */
  stopMatched?: string | number;
  /**
   * With `logprobs`: the log-probabilities of the tokens, in nats. NaN for tokens that spell the part of a token which
   * a stop string left over, and which were not drawn.
   */
  logprobs?: Float32Array;
  /** With `topLogprobs`: the likeliest tokens at each position, in order. NaN where `logprobs` are. */
  topLogprobs?: TopLogprobs;
  /** Where each token begins in the text, in UTF-16 code units. A token within a character begins where that does. */
  offsets: Uint32Array;
  /** With `n` or `bestOf`: the n samples. The result itself is the first of them. */
  samples?: Generation[];
  seed: number;
  usage: Usage;
  timings: Timings;
}

export type FinishReason = 'length' | 'endOfText' | 'stop' | 'predicate' | 'time';

export interface TopLogprobs {
  /** [tokens, n] */
  tokens: Uint32Array;
  /** [tokens, n], in nats */
  logprobs: Float32Array;
  shape: [tokens: number, n: number];
}

export interface Usage {
  promptTokens: number;
  completionTokens: number;
  /** Prompt tokens that were not evaluated: the session has their keys and values, or shares another sequence's. */
  cachedTokens: number;
}

/** Milliseconds from the start. */
export interface Timings {
  /** To the end of the prompt's evaluation. */
  promptMs: number;
  /** To the first new token. */
  firstTokenMs: number;
  totalMs: number;
  /** New tokens per second, without the first; 0 for fewer than two. */
  tokensPerSecond: number;
}

/**
 * A part of a stream: text of whole characters and its tokens. The last part has no tokens; it says why the text ends.
 */
export interface GenerationPart {
  text: string;
  tokens: number[];
  /** As in Generation, for the tokens of this part. Offsets count from the start of the new text. */
  logprobs?: Float32Array;
  topLogprobs?: TopLogprobs;
  offsets: Uint32Array;
  /** The last part has these. */
  finishReason?: FinishReason;
  stopMatched?: string | number;
  seed?: number;
  usage?: Usage;
  timings?: Timings;
}

/** A part of one of several streams: `index` is that of its prompt. */
export interface IndexedPart extends GenerationPart {
  index: number;
}

/** What a logitsProcessor knows about the token to be sampled. */
export interface LogitsContext {
  /** All tokens before it: the session's, the prompt's and the new ones. */
  tokens: Uint32Array;
  /** The number of those before the new ones. */
  promptLength: number;
  /** The number of the new ones. */
  step: number;
}
