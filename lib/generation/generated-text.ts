import type { NativeGeneration } from '../native/types.js';
import { TextStreamDecoder } from '../tokenizer/text-stream-decoder.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { GenerationSettings } from './check-options.js';
import type { Generation, GenerationPart, TopLogprobs } from './generation.js';

/** A new token with what was asked for about it. */
export interface NewToken {
  token: number;
  logprob: number | undefined;
  topTokens: Uint32Array | undefined;
  topLogprobs: Float32Array | undefined;
}

/** The text that new tokens form, as a whole and in parts of whole characters. */
export class GeneratedText {
  readonly #settings: GenerationSettings;
  readonly #decoder: TextStreamDecoder | undefined;
  readonly #tokens: NewToken[] = [];
  /** Where each token begins in the text. */
  readonly #offsets: number[] = [];
  #text = '';
  /** Tokens and characters that are in parts already. */
  #tokensInParts = 0;
  #charactersInParts = 0;

  /** @param tokenizer undefined for a model without one */
  constructor(settings: GenerationSettings, tokenizer: Tokenizer | undefined) {
    this.#settings = settings;
    this.#decoder = tokenizer && new TextStreamDecoder(tokenizer);
  }

  /** Appends a token. Returns the part that it completes, if any. */
  push(token: NewToken): GenerationPart | undefined {
    this.#tokens.push(token);
    this.#offsets.push(this.#text.length);
    this.#text += this.#decoder?.write(token.token) ?? '';
    const isComplete = this.#text.length > this.#charactersInParts || !this.#decoder;
    return isComplete ? this.#nextPart() : undefined;
  }

  /** Ends the text. Returns the part that was incomplete, if any. */
  end(): GenerationPart | undefined {
    this.#text += this.#decoder?.end() ?? '';
    return this.#tokens.length > this.#tokensInParts ? this.#nextPart() : undefined;
  }

  #nextPart(): GenerationPart {
    const from = this.#tokensInParts;
    const text = this.#text.slice(this.#charactersInParts);
    this.#tokensInParts = this.#tokens.length;
    this.#charactersInParts = this.#text.length;
    const tokens = this.#tokens.slice(from).map(({ token }) => token);
    return { text, tokens, ...this.#details(from) };
  }

  /** What was asked for about the tokens from an index on. */
  #details(from: number): Pick<Generation, 'logprobs' | 'topLogprobs' | 'offsets'> {
    const { logprobs, topLogprobs } = this.#settings.options;
    const tokens = this.#tokens.slice(from);
    const offsets = Uint32Array.from(this.#offsets.slice(from));
    if (!logprobs && topLogprobs === undefined) return { offsets };
    const own = Float32Array.from(tokens, ({ logprob }) => logprob ?? Number.NaN);
    if (topLogprobs === undefined) return { logprobs: own, offsets };
    return { logprobs: own, topLogprobs: topOf(tokens, topLogprobs), offsets };
  }

  /** The whole text, after its end. */
  generation(native: NativeGeneration, seed: number): Generation {
    const { finishReason, stopMatched } = native;
    return {
      text: this.#text,
      tokens: Uint32Array.from(this.#tokens, ({ token }) => token),
      finishReason,
      ...(stopMatched !== undefined && { stopMatched }),
      ...this.#details(0),
      seed,
      ...this.#measures(native),
    };
  }

  /** The last part of a stream. */
  lastPart(native: NativeGeneration, seed: number): GenerationPart {
    const { finishReason, stopMatched } = native;
    return {
      text: '',
      tokens: [],
      ...this.#details(this.#tokens.length),
      finishReason,
      ...(stopMatched !== undefined && { stopMatched }),
      seed,
      ...this.#measures(native),
    };
  }

  /** The mean log-probability of the tokens; −∞ for none. */
  get meanLogprob(): number {
    let sum = 0;
    for (const { logprob = Number.NaN } of this.#tokens) sum += Number.isNaN(logprob) ? 0 : logprob;
    return this.#tokens.length === 0 ? Number.NEGATIVE_INFINITY : sum / this.#tokens.length;
  }

  #measures(native: NativeGeneration): Pick<Generation, 'usage' | 'timings'> {
    const { promptTokens, cachedTokens, promptMs, firstTokenMs, totalMs } = native;
    const completionTokens = this.#tokens.length;
    const later = completionTokens - 1;
    const tokensPerSecond = later > 0 ? (later * 1000) / (totalMs - firstTokenMs) : 0;
    return {
      usage: { promptTokens, completionTokens, cachedTokens },
      timings: { promptMs, firstTokenMs, totalMs, tokensPerSecond },
    };
  }
}

function topOf(all: readonly NewToken[], n: number): TopLogprobs {
  const tokens = new Uint32Array(all.length * n);
  const logprobs = new Float32Array(all.length * n);
  for (const [index, { topTokens = [], topLogprobs = [] }] of all.entries()) {
    tokens.set(topTokens, index * n);
    logprobs.set(topLogprobs, index * n);
  }
  return { tokens, logprobs, shape: [all.length, n] };
}
