import { checkBoolean, checkOptions, invalidArgument, show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { runInTurns } from '../event-loop.js';
import type { NativeAddedTokens, NativeVocabulary } from '../native/types.js';
import { AddedTokens } from './added-tokens.js';
import type { BytePairEncoder } from './byte-pair-encoder.js';
import {
  endOfTextId,
  endOfTextToken,
  gpt2MergeCount,
  gpt2VocabSize,
  gpt2Vocabulary,
  longestGpt2Token,
} from './gpt2-vocabulary.js';
import { TextStreamDecoder } from './text-stream-decoder.js';
import { SpanFinder, type TokenSpans } from './token-spans.js';
import { allocateForText, GrowingArray } from './typed-memory.js';
import { plainSettings, type TokenizerSettings } from './vocabulary.js';

export interface EncodeOptions {
  /**
   * The special tokens to recognise in the text: 'all', or a list of the model's special tokens such as
   * ['<|endoftext|>']. Defaults to none, so that untrusted text cannot inject special tokens.
   * Added tokens that are not special are always recognised.
   */
  allowedSpecial?: 'all' | readonly string[];
  /**
   * Whether to add the special tokens that the model's tokenizer puts around a text, such as the start-of-text token in
   * front of it. GPT-2's own has none. Default false.
   */
  addSpecial?: boolean;
}

/** Converts text to token ids and back. */
export interface Tokenizer {
  /** The number of tokens. */
  readonly vocabSize: number;
  /**
   * The id of the token that separates documents, `<|endoftext|>` in GPT-2's vocabulary.
   *
   * @throws TOKENIZER_MISSING if the vocabulary has none
   */
  readonly endOfText: number;
  /**
   * The id of the token that starts generation without a prompt: `endOfText`, unless the vocabulary has another one.
   *
   * @throws TOKENIZER_MISSING if the vocabulary has none
   */
  readonly startOfText: number;
  /**
   * Returns the token ids of a text. Lone surrogates become U+FFFD.
   * @example model.tokenizer.encode('Hello world'); // Uint32Array [15496, 995]
   */
  encode(text: string, options?: EncodeOptions): Uint32Array;
  /**
   * Returns the text of token ids. Bytes that are not UTF-8, such as part of a character, become U+FFFD.
   * @example model.tokenizer.decode([15496, 995]); // 'Hello world'
   */
  decode(tokens: Iterable<number>): string;
  /**
   * Returns the bytes of one token, which may be part of a character.
   * @example model.tokenizer.decodeToken(15496); // the bytes of 'Hello'
   */
  decodeToken(token: number): Uint8Array;
  /**
   * Returns the text of token ids, as {@link decode}, and where each token begins in it: in UTF-16 code units and in bytes
   * of UTF-8. A token within a character begins where that does.
   * @example model.tokenizer.spans([15496, 995]).offsets; // Uint32Array [0, 5]
   */
  spans(tokens: Iterable<number>): TokenSpans;
  /** Returns the number of tokens in a text. */
  count(text: string): number;
  /** @internal The largest number of characters of a text that can become one token. */
  readonly longestToken: number;
}

const noAddedTokens: NativeAddedTokens = {
  ids: new Float64Array(0),
  kinds: new Int32Array(0),
  texts: [],
};

/** Byte-level BPE with tokens beside it. */
export abstract class BytePairTokenizer implements Tokenizer {
  readonly vocabSize: number;
  abstract readonly endOfText: number;
  abstract readonly startOfText: number;
  abstract readonly longestToken: number;
  protected readonly added: AddedTokens;
  readonly #settings: TokenizerSettings;

  constructor(vocabSize: number, added: AddedTokens, settings: TokenizerSettings) {
    this.vocabSize = vocabSize;
    this.added = added;
    this.#settings = settings;
  }

  protected abstract readonly encoder: BytePairEncoder;
  /** Builds the encoder, and yields to the event loop after it. */
  protected abstract prepare(): Promise<void>;
  /** The bytes of an id below `vocabSize`, which the caller does not change. */
  protected abstract bytesOf(id: number): Uint8Array;

  encode(text: string, options?: EncodeOptions): Uint32Array {
    const tokens = this.#encodeNow(text, options).view();
    return allocateForText(() => tokens.slice());
  }

  count(text: string): number {
    return this.#encodeNow(text, undefined).length;
  }

  #encodeNow(text: string, options: EncodeOptions | undefined): GrowingArray<Uint32Array> {
    const tokens = newTokens();
    const steps = this.#encode(text, options, tokens);
    while (!steps.next().done);
    return tokens;
  }

  /**
   * As {@link encode} without special tokens, in steps with turns of the event loop.
   * @returns undefined if the text has more than `maxTokens` tokens
   */
  async encodeInTurns(
    text: string,
    maxTokens: number,
    signal: { throwIfAborted(): void },
  ): Promise<Uint32Array | undefined> {
    await this.prepare();
    const tokens = newTokens();
    await runInTurns(this.#encode(text, undefined, tokens), () => {
      signal.throwIfAborted();
      return tokens.length > maxTokens;
    });
    return tokens.length <= maxTokens ? tokens.view().slice() : undefined;
  }

  decode(tokens: Iterable<number>): string {
    checkIterable(tokens);
    const decoder = new TextStreamDecoder(this);
    let text = '';
    for (const token of tokens) text += decoder.write(token);
    return text + decoder.end();
  }

  spans(tokens: Iterable<number>): TokenSpans {
    checkIterable(tokens);
    const finder = new SpanFinder(this);
    for (const token of tokens) finder.add(token);
    return finder.end();
  }

  decodeToken(token: number): Uint8Array {
    if (!(Number.isInteger(token) && token >= 0 && token < this.vocabSize)) {
      throw new Gpt2Error(
        'TOKEN_OUT_OF_RANGE',
        `Expected token ids from 0 to ${this.vocabSize - 1} but received ${show(token)}`,
      );
    }
    return this.bytesOf(token).slice();
  }

  /** Appends the tokens of a text. Yields after about a millisecond each, so that the caller can pause. */
  *#encode(
    text: string,
    options: EncodeOptions | undefined,
    tokens: GrowingArray<Uint32Array>,
  ): Generator<void> {
    if (typeof text !== 'string') throw invalidArgument('the text to be a string', text);
    const { allowedSpecial = [], addSpecial = false } = checkOptions('encode', options, [
      'allowedSpecial',
      'addSpecial',
    ]);
    checkBoolean('addSpecial', addSpecial);
    const search = this.added.search(this.#checkAllowed(allowedSpecial));
    const { before, after, addsPrefixSpace } = this.#settings;
    if (addSpecial) for (const id of before) tokens.push(id);
    for (const part of search ? search.split(text) : [text]) {
      if (typeof part === 'number') {
        tokens.push(part);
      } else if (part !== undefined) {
        const isPrefixed = addsPrefixSpace && part !== '' && !part.startsWith(' ');
        yield* this.encoder.encode(isPrefixed ? ` ${part}` : part, tokens);
      }
      yield;
    }
    if (addSpecial) for (const id of after) tokens.push(id);
  }

  #checkAllowed(allowedSpecial: unknown): 'all' | readonly string[] {
    if (allowedSpecial === 'all') return allowedSpecial;
    if (!Array.isArray(allowedSpecial)) {
      throw invalidArgument(
        `allowedSpecial to be 'all' or a list of special tokens`,
        allowedSpecial,
      );
    }
    const allowed = [...allowedSpecial];
    for (const text of allowed) {
      if (this.added.isSpecial(text)) continue;
      throw invalidArgument(
        `the special tokens in allowedSpecial to be the model's (${showSome(this.added.specialTexts)})`,
        text,
      );
    }
    return allowed;
  }
}

function checkIterable(tokens: unknown): void {
  const { [Symbol.iterator]: iterator } = Object(tokens) as Partial<Iterable<unknown>>;
  if (typeof tokens === 'string' || typeof iterator !== 'function') {
    throw invalidArgument('the tokens to be an array of token ids', tokens);
  }
}

/** Shows the first few of many texts. */
function showSome(texts: readonly string[]): string {
  const max = 10;
  const shown = texts.slice(0, max).map(show).join(', ');
  return texts.length > max ? `${shown} and ${texts.length - max} more` : shown;
}

function newTokens(): GrowingArray<Uint32Array> {
  return new GrowingArray((length) => new Uint32Array(length));
}

/** GPT-2's byte-level BPE of 50,257 tokens, extended by added tokens. */
export class Gpt2Tokenizer extends BytePairTokenizer {
  readonly longestToken: number;

  /**
   * @param vocabSize the model's vocabulary size
   * @param added tokens with ids from 50,257 on; ids without a token are padding and have no text
   */
  constructor(
    vocabSize = gpt2VocabSize,
    added: NativeAddedTokens = noAddedTokens,
    settings: TokenizerSettings = plainSettings,
  ) {
    super(vocabSize, new AddedTokens(added, [[endOfTextToken, endOfTextId]]), settings);
    // A character has at least one byte, so that the longest token in bytes limits the characters too.
    this.longestToken = Math.max(longestGpt2Token, this.added.longest);
  }

  get endOfText(): number {
    return endOfTextId;
  }

  get startOfText(): number {
    return endOfTextId;
  }

  protected get encoder(): BytePairEncoder {
    return gpt2Vocabulary.encoder;
  }

  protected async prepare(): Promise<void> {
    await gpt2Vocabulary.prepare();
  }

  protected bytesOf(id: number): Uint8Array {
    return gpt2Vocabulary.bytesOf(id) ?? this.added.bytesOf(id) ?? new Uint8Array(0);
  }
}

/** The tokenizer of a model without one. Every call throws TOKENIZER_MISSING with the reason. */
export class MissingTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly longestToken = longestGpt2Token;
  readonly #reason: string;

  constructor(vocabSize: number, reason: string) {
    this.vocabSize = vocabSize;
    this.#reason = reason;
  }

  get endOfText(): never {
    throw this.#error();
  }
  get startOfText(): never {
    throw this.#error();
  }
  encode(): never {
    throw this.#error();
  }
  decode(): never {
    throw this.#error();
  }
  decodeToken(): never {
    throw this.#error();
  }
  spans(): never {
    throw this.#error();
  }
  count(): never {
    throw this.#error();
  }

  #error(): Gpt2Error {
    return new Gpt2Error(
      'TOKENIZER_MISSING',
      `This model works with token ids only: ${this.#reason}`,
    );
  }
}

/** @throws TOKENIZER_MISSING for a model without a tokenizer */
export function checkHasTokenizer(tokenizer: Tokenizer): void {
  tokenizer.decode([]);
}

// FNV-1a over the tokens of GPT-2's vocabulary as GGUF spells them. A test recomputes it.
const gpt2Fingerprint = '9afb947b6443b4b9';

/** Returns GPT-2's tokenizer if a model's file has GPT-2's vocabulary, and undefined if it has another one. */
export function gpt2TokenizerFor(
  vocabSize: number,
  vocabulary: NativeVocabulary,
  settings: TokenizerSettings,
): Tokenizer | undefined {
  if (vocabulary.fingerprint !== gpt2Fingerprint || vocabSize < gpt2VocabSize) return undefined;
  // Additional merges form longer tokens, so text would be tokenized differently than by GPT-2.
  if (vocabulary.mergeCount > gpt2MergeCount) return undefined;
  if (!vocabulary.added) {
    return new MissingTokenizer(
      vocabSize,
      `the ${vocabulary.count - gpt2VocabSize} tokens added to GPT-2's are too many, or their names are too long`,
    );
  }
  return new Gpt2Tokenizer(vocabSize, vocabulary.added, settings);
}
