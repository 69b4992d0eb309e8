import { TextEncoder } from 'node:util';
import type { BytePairEncodingCore } from 'gpt-tokenizer/BytePairEncodingCore';
import { eventLoopTurn } from '../event-loop.js';
import { withNodeGlobals } from '../native/globals.js';

export const gpt2VocabSize = 50_257;
export const gpt2MergeCount = 50_000;
export const endOfTextToken = '<|endoftext|>';
export const endOfTextId = gpt2VocabSize - 1;

// GPT-2's pattern (https://github.com/openai/gpt-2/blob/master/src/encoder.py), with \s written as the Unicode property
// White_Space, which is its meaning in Python's regex module. JavaScript's \s includes U+FEFF and omits U+0085, which
// would split such texts differently.
export const wordPattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

type Ranks = readonly (string | readonly number[])[];

/** GPT-2's vocabulary, loaded on first use: calls with token ids alone do not need it. */
class Gpt2Vocabulary {
  #ranks: Ranks | undefined;
  #core: BytePairEncodingCore | undefined;
  readonly #bytes: (Uint8Array | undefined)[] = [];
  #rankOfBytes: ReadonlyMap<string, number> | undefined;
  #preparing: Promise<void> | undefined;

  /** The text of each token except `<|endoftext|>`, or its bytes if they are not UTF-8. */
  get ranks(): Ranks {
    this.#ranks ??= require('gpt-tokenizer/bpeRanks/r50k_base').default as Ranks;
    return this.#ranks;
  }

  get core(): BytePairEncodingCore {
    if (!this.#core) {
      this.#core = withNodeGlobals(['TextDecoder', 'TextEncoder'], () => {
        const { BytePairEncodingCore } = require('gpt-tokenizer/BytePairEncodingCore');
        return new BytePairEncodingCore({
          bytePairRankDecoder: this.ranks,
          tokenSplitRegex: wordPattern,
        }) as BytePairEncodingCore;
      });
    }
    return this.#core;
  }

  /** Loads everything once, in two steps of about 25 ms, and yields to the event loop after each. */
  prepare(): Promise<void> {
    this.#preparing ??= this.#read().catch((error) => {
      this.#preparing = undefined; // the next call tries again
      throw error;
    });
    return this.#preparing;
  }

  async #read(): Promise<void> {
    this.ranks;
    await eventLoopTurn();
    this.core;
    await eventLoopTurn();
  }

  /** The bytes of a token; undefined if the id is not in the vocabulary. */
  bytesOf(token: number): Uint8Array | undefined {
    this.#bytes[token] ??= this.#readBytes(token);
    return this.#bytes[token];
  }

  /** The rank of every token by its bytes as Latin-1 characters. Built for the first long word. */
  rankOfBytes(): ReadonlyMap<string, number> {
    this.#rankOfBytes ??= new Map(
      this.ranks.map((token, rank) => [Buffer.from(token as string).toString('latin1'), rank]),
    );
    return this.#rankOfBytes;
  }

  #readBytes(token: number): Uint8Array | undefined {
    const spelled = token === endOfTextId ? endOfTextToken : this.ranks[token];
    if (spelled === undefined) return undefined;
    return typeof spelled === 'string'
      ? new TextEncoder().encode(spelled)
      : Uint8Array.from(spelled);
  }
}

/** Shared by all tokenizers. */
export const gpt2Vocabulary = new Gpt2Vocabulary();
