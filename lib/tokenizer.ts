import { checkOptions, invalidArgument, show } from './arguments.js';
import { mergeBytePairs } from './byte-pair-merge.js';
import { Gpt2Error } from './errors.js';
import {
  endOfTextId,
  endOfTextToken,
  gpt2VocabSize,
  gpt2Vocabulary,
  wordPattern,
} from './gpt2-vocabulary.js';

export interface EncodeOptions {
  /**
   * Special tokens that are recognised in the text: 'all', or a list such as ['<|endoftext|>'].
   * Default: none, so that text from anywhere is only ever text.
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

/** GPT-2's byte-level BPE of 50,257 tokens, with the ranks of gpt-tokenizer's r50k_base. */
export class Gpt2Tokenizer implements Tokenizer {
  readonly vocabSize: number;

  /** @param vocabSize the model's: ids beyond GPT-2's 50,257 only fill up its embedding, and have no text */
  constructor(vocabSize = gpt2VocabSize) {
    this.vocabSize = vocabSize;
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
    const isPadding = Number.isInteger(token) && token >= gpt2VocabSize && token < this.vocabSize;
    if (isPadding) return new Uint8Array(0);
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
    const parts = this.#allowsEndOfText(options) ? text.split(endOfTextToken) : [text];
    const tokens: number[] = [];
    parts.forEach((part, index) => {
      if (index > 0) tokens.push(this.endOfText);
      for (const word of this.#words(part)) {
        for (const token of word) tokens.push(token);
      }
    });
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

  #allowsEndOfText(options: EncodeOptions | undefined): boolean {
    const { allowedSpecial = [] } = checkOptions('encode', options, ['allowedSpecial']);
    if (allowedSpecial === 'all') return true;
    if (!Array.isArray(allowedSpecial)) {
      throw invalidArgument(
        `allowedSpecial to be 'all' or a list of special tokens`,
        allowedSpecial,
      );
    }
    for (const token of allowedSpecial) {
      if (token !== endOfTextToken) {
        throw invalidArgument(
          `the special tokens in allowedSpecial to be "${endOfTextToken}"`,
          token,
        );
      }
    }
    return allowedSpecial.length > 0;
  }
}

/** The bytes of a word in UTF-8, each as the character of its number. */
function toLatin1(word: string): string {
  return Buffer.from(word).toString('latin1');
}

/** Stands where a model has no tokenizer: its calls say what is missing. */
export class MissingTokenizer implements Tokenizer {
  readonly vocabSize: number;
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
export function tokenizerFor(
  vocabSize: number,
  named: { count: number; fingerprint: string } | undefined,
): Tokenizer {
  if (!named) {
    return new MissingTokenizer(
      vocabSize,
      'its file holds no vocabulary (a checkpoint folder needs vocab.json and merges.txt, or tokenizer.json)',
    );
  }
  if (named.fingerprint !== gpt2Fingerprint || vocabSize < gpt2VocabSize) {
    return new MissingTokenizer(
      vocabSize,
      `its vocabulary of ${named.count} tokens is not GPT-2's`,
    );
  }
  return new Gpt2Tokenizer(vocabSize);
}
