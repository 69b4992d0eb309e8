import { endianness } from 'node:os';
import { eventLoopTurn } from '../event-loop.js';
import { BytePairEncoder } from './byte-pair-encoder.js';
import { byteOrder, placeOfByte, spellBytes } from './byte-spelling.js';

export const gpt2VocabSize = 50_257;
export const gpt2MergeCount = 50_000;
export const endOfTextToken = '<|endoftext|>';
export const endOfTextId = gpt2VocabSize - 1;

/** In bytes. */
export const longestGpt2Token = 128;

/** GPT-2's vocabulary, built on first use: calls with token ids alone do not need it. */
class Gpt2Vocabulary {
  #pairs: Uint16Array | undefined;
  #encoder: BytePairEncoder | undefined;
  readonly #scratch = new Uint8Array(longestGpt2Token);

  /** The left and the right token of each merge. The merge with index i forms the token 256 + i. */
  get pairs(): Uint16Array {
    if (!this.#pairs) {
      const bytes = Buffer.from(readMerges(), 'base64');
      if (endianness() === 'BE') bytes.swap16();
      this.#pairs = new Uint16Array(Uint8Array.from(bytes).buffer);
    }
    return this.#pairs;
  }

  /** Builds the encoder, which takes about 5 ms, and yields to the event loop after it. */
  async prepare(): Promise<void> {
    if (this.#encoder) return;
    this.#encoder = new BytePairEncoder({ pairs: this.pairs }, placeOfByte);
    await eventLoopTurn();
  }

  get encoder(): BytePairEncoder {
    this.#encoder ??= new BytePairEncoder({ pairs: this.pairs }, placeOfByte);
    return this.#encoder;
  }

  /** A copy of the bytes of a token; undefined if the id is not in the vocabulary. */
  bytesOf(token: number): Uint8Array | undefined {
    if (token === endOfTextId) return Uint8Array.from(Buffer.from(endOfTextToken));
    if (!(Number.isInteger(token) && token >= 0 && token < endOfTextId)) return undefined;
    return this.#scratch.slice(0, this.#writeBytes(token, 0));
  }

  /** Writes the bytes of a token from `at` on and returns their end. */
  #writeBytes(token: number, at: number): number {
    const merge = token - byteOrder.length;
    if (merge < 0) {
      this.#scratch[at] = byteOrder[token] as number;
      return at + 1;
    }
    const end = this.#writeBytes(this.pairs[2 * merge] as number, at);
    return this.#writeBytes(this.pairs[2 * merge + 1] as number, end);
  }
}

// Loaded on demand, since loading takes 3 ms and calls with token ids alone do not need it.
function readMerges(): string {
  return (require('./gpt2-merges.js') as typeof import('./gpt2-merges.js')).gpt2Merges;
}

/** Shared by all tokenizers. */
export const gpt2Vocabulary = new Gpt2Vocabulary();

/**
 * GPT-2's vocabulary as files spell it: the 50,256 text tokens by id, and the merges that form them, as `left right` in
 * the order in which they were learnt.
 */
export function gpt2VocabularyFiles(): { tokens: string[]; merges: string[] } {
  const { pairs } = gpt2Vocabulary;
  const tokens = Array.from(byteOrder, (byte) => spellBytes(Uint8Array.of(byte)));
  const merges: string[] = [];
  for (let at = 0; at < pairs.length; at += 2) {
    const left = tokens[pairs[at] as number] as string;
    const right = tokens[pairs[at + 1] as number] as string;
    merges.push(`${left} ${right}`);
    tokens.push(left + right);
  }
  return { tokens, merges };
}
