import { checkOptions, invalidArgument, show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { NativeAddedTokens, NativeVocabulary } from '../native/types.js';
import { AddedTokens } from './added-tokens.js';
import { mergeBytePairs } from './byte-pair-merge.js';
import {
  endOfTextId,
  gpt2MergeCount,
  gpt2VocabSize,
  gpt2Vocabulary,
  wordPattern,
} from './gpt2-vocabulary.js';

export interface EncodeOptions {
  /**
   * Special tokens that are recognised in the text: 'all', or a list such as ['<|endoftext|>'], which may name
   * any that the model has. Default: none, so that text from anywhere is only ever text.
   * Tokens that were added to the model and are not special are always recognised.
   */
  allowedSpecial?: 'all' | readonly string[];
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** How many tokens there are. */
  readonly vocabSize: number;
  /** The id of `<|endoftext|>`, which separates documents and starts a text from nothing. */
  readonly endOfText: number;
  /**
   * The token ids of a text. Lone surrogates, which are no characters, become U+FFFD.
   * @example model.tokenizer.encode('Hello world'); // Uint32Array [15496, 995]
   */
  encode(text: string, options?: EncodeOptions): Uint32Array;
  /**
   * The text of token ids. Bytes that are no UTF-8 (part of a character) become U+FFFD.
   * @example model.tokenizer.decode([15496, 995]); // 'Hello world'
   */
  decode(tokens: Iterable<number>): string;
  /**
   * The bytes of one token, which need not be whole characters.
   * @example model.tokenizer.decodeToken(15496); // the bytes of 'Hello'
   */
  decodeToken(token: number): Uint8Array;
  /** How many tokens a text has. */
  count(text: string): number;
  /** @internal The most characters that a token of a text has. */
  readonly longestToken: number;
}

// A run of characters of one kind, as long words consist of.
const runLength = 200;
const run = /\p{L}{200}|\p{N}{200}|\p{White_Space}{200}|[^\p{White_Space}\p{L}\p{N}]{200}/uy;

/**
 * Whether there may be a word so long that gpt-tokenizer's quadratic merging would take more than a few
 * milliseconds. Looks at every 200th character: a longer run than two of these steps is met in its middle.
 */
function hasLongRun(text: string): boolean {
  for (let at = 0; at + runLength <= text.length; at += runLength) {
    const isLowSurrogate = (text.charCodeAt(at) & 0xfc00) === 0xdc00;
    run.lastIndex = isLowSurrogate ? at + 1 : at;
    if (run.test(text)) return true;
  }
  return false;
}

// In bytes, of which a character has one at least.
const longestGpt2Token = 128;
const none: NativeAddedTokens = { ids: new Float64Array(0), kinds: new Int32Array(0), texts: [] };

/**
 * GPT-2's byte-level BPE of 50,257 tokens, with the ranks of gpt-tokenizer's r50k_base, and tokens that were added
 * to them.
 */
export class Gpt2Tokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly longestToken: number;
  readonly #added: AddedTokens;

  /**
   * @param vocabSize the model's
   * @param added what ids from 50,257 on stand for; the others fill up its embedding, and have no text
   */
  constructor(vocabSize = gpt2VocabSize, added: NativeAddedTokens = none) {
    this.vocabSize = vocabSize;
    this.#added = new AddedTokens(added);
    this.longestToken = Math.max(longestGpt2Token, this.#added.longest);
  }

  get endOfText(): number {
    return endOfTextId;
  }

  /** Reads what text needs, if it was not; otherwise the first call that needs it does so, in one step. */
  prepare(): Promise<void> {
    return gpt2Vocabulary.prepare();
  }

  encode(text: string, options?: EncodeOptions): Uint32Array {
    return Uint32Array.from(this.#encode(text, options));
  }

  count(text: string): number {
    return this.#encode(text, undefined).length;
  }

  decode(tokens: Iterable<number>): string {
    if (typeof tokens === 'string' || typeof tokens?.[Symbol.iterator] !== 'function') {
      throw invalidArgument('the tokens to be an array of token ids', tokens);
    }
    const decoder = new TextStreamDecoder(this);
    let text = '';
    for (const token of tokens) text += decoder.write(token);
    return text + decoder.end();
  }

  decodeToken(token: number): Uint8Array {
    return this.#bytesOf(token).slice();
  }

  #bytesOf(token: number): Uint8Array {
    if (Number.isInteger(token) && token >= gpt2VocabSize && token < this.vocabSize) {
      return this.#added.bytesOf(token) ?? new Uint8Array(0);
    }
    const bytes = typeof token === 'number' ? gpt2Vocabulary.bytesOf(token) : undefined;
    if (!bytes) {
      throw new Gpt2Error(
        'TOKEN_OUT_OF_RANGE',
        `Expected token ids from 0 to ${this.vocabSize - 1} but received ${show(token)}`,
      );
    }
    return bytes;
  }

  // gpt-tokenizer's own search for special tokens finds them at the start of a text only, so the text is
  // cut at them here.
  #encode(text: string, options: EncodeOptions | undefined): number[] {
    if (typeof text !== 'string') throw invalidArgument('the text to be a string', text);
    const search = this.#added.search(this.#allowedSpecial(options));
    const tokens: number[] = [];
    for (const part of search ? search.split(text) : [text]) {
      if (typeof part === 'number') {
        tokens.push(part);
        continue;
      }
      for (const word of this.#words(part)) {
        for (const token of word) tokens.push(token);
      }
    }
    return tokens;
  }

  /** The tokens of each word of a text. */
  *#words(text: string): Generator<Iterable<number>, void, undefined> {
    if (!hasLongRun(text)) {
      yield* gpt2Vocabulary.core.encodeNativeGenerator(text);
      return;
    }
    // A word by itself is cut into nothing but itself, so each can go its own way.
    for (const [word] of text.matchAll(wordPattern)) {
      if (hasLongRun(word)) yield mergeBytePairs(toLatin1(word), gpt2Vocabulary.rankOfBytes());
      else yield* gpt2Vocabulary.core.encodeNativeGenerator(word);
    }
  }

  #allowedSpecial(options: EncodeOptions | undefined): 'all' | readonly string[] {
    const { allowedSpecial = [] } = checkOptions('encode', options, ['allowedSpecial']);
    if (allowedSpecial === 'all') return allowedSpecial;
    if (!Array.isArray(allowedSpecial)) {
      throw invalidArgument(
        `allowedSpecial to be 'all' or a list of special tokens`,
        allowedSpecial,
      );
    }
    const allowed = [...allowedSpecial];
    for (const text of allowed) {
      if (this.#added.isSpecial(text)) continue;
      throw invalidArgument(
        `the special tokens in allowedSpecial to be the model's (${showSome(this.#added.specialTexts)})`,
        text,
      );
    }
    return allowed;
  }
}

/** The first few of many texts. */
function showSome(texts: readonly string[]): string {
  const most = 10;
  const shown = texts.slice(0, most).map(show).join(', ');
  return texts.length > most ? `${shown} and ${texts.length - most} more` : shown;
}

/** The bytes of a word in UTF-8, each as the character of its number. */
function toLatin1(word: string): string {
  return Buffer.from(word).toString('latin1');
}

/** Stands where a model has no tokenizer: its calls say what is missing. */
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
  encode(): never {
    throw this.#error();
  }
  decode(): never {
    throw this.#error();
  }
  decodeToken(): never {
    throw this.#error();
  }
  count(): never {
    throw this.#error();
  }

  #error(): Gpt2Error {
    return new Gpt2Error(
      'TOKENIZER_MISSING',
      `This model takes and gives token ids only: ${this.#reason}`,
    );
  }
}

/** Token after token to text, holding back the bytes of a character until it is whole. */
export class TextStreamDecoder {
  readonly #tokenizer: Tokenizer;
  // ignoreBOM keeps a U+FEFF that the model writes: it is a character like any other here.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The characters that this token completes; possibly none. */
  write(token: number): string {
    return this.#decoder.decode(this.#tokenizer.decodeToken(token), {
      stream: true,
    });
  }

  /** What is left of an unfinished character, as U+FFFD. */
  end(): string {
    return this.#decoder.decode();
  }
}

// FNV-1a over the tokens of GPT-2's vocabulary as GGUF spells them; a test works it out anew.
const gpt2Fingerprint = '9afb947b6443b4b9';

/** The tokenizer for a model whose file names these tokens. */
export function tokenizerFor(vocabSize: number, named: NativeVocabulary | undefined): Tokenizer {
  const missing = (reason: string) => new MissingTokenizer(vocabSize, reason);
  if (!named) {
    return missing(
      'its file holds no vocabulary (a checkpoint folder needs vocab.json and merges.txt, or tokenizer.json)',
    );
  }
  if (named.fingerprint !== gpt2Fingerprint || vocabSize < gpt2VocabSize) {
    return missing(`its vocabulary of ${named.count} tokens is not GPT-2's`);
  }
  // They make longer tokens of GPT-2's, so that text would have others than with GPT-2's merges.
  if (named.mergeCount > gpt2MergeCount) {
    return missing(`it learnt ${named.mergeCount} merges, and GPT-2 ${gpt2MergeCount}`);
  }
  if (!named.added) {
    return missing(
      `the ${named.count - gpt2VocabSize} tokens that were added to GPT-2's are too many, or their names too long`,
    );
  }
  return new Gpt2Tokenizer(vocabSize, named.added);
}
