import { TextEncoder } from 'node:util';
import { spelledBytes, writeSpelledBytes } from './byte-spelling.js';
import { tokenKinds } from './vocabulary.js';

const encoder = new TextEncoder();

/**
 * The bytes that a token stands for. As in llama.cpp, the text of a normal token spells bytes, and the text of all other
 * tokens is plain. Some programs do not distinguish the two: if the text of a normal token is not a spelling of bytes, it
 * is plain as well.
 */
export function bytesOfToken(text: string, kind: number | undefined): Uint8Array {
  const spelled = kind === tokenKinds.normal ? spelledBytes(text) : undefined;
  return spelled ?? encoder.encode(text);
}

/** The bytes of all tokens of a vocabulary, in one array. */
export class TokenBytes {
  readonly #ends: Uint32Array;
  #count = 0;
  #bytes = new Uint8Array(1 << 16);
  longest = 0;

  /** @param count tokens */
  constructor(count: number) {
    this.#ends = new Uint32Array(count);
  }

  /** The bytes of all tokens so far. */
  get size(): number {
    return this.#count === 0 ? 0 : (this.#ends[this.#count - 1] as number);
  }

  /** Adds the next token. Returns whether its text spells bytes. */
  push(text: string, kind: number | undefined): boolean {
    const start = this.size;
    this.#reserve(start + 3 * text.length); // at most, in UTF-8
    const isSpelled = writeSpelledBytes(text, this.#bytes, start);
    const length =
      isSpelled && kind === tokenKinds.normal
        ? text.length
        : encoder.encodeInto(text, this.#bytes.subarray(start)).written;
    this.#ends[this.#count++] = start + length;
    this.longest = Math.max(this.longest, length);
    return isSpelled;
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(size, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  /** The bytes of a token, which must not be changed. Empty for ids without one. */
  of(id: number): Uint8Array {
    const start = id === 0 ? 0 : (this.#ends[id - 1] ?? 0);
    return this.#bytes.subarray(start, this.#ends[id] ?? start);
  }
}
