import { MergeTable, maxShort, mergeLong, mergeShort } from './byte-pair-merge.js';
import { GrowingArray } from './typed-memory.js';
import { longWordParts, wordEnd } from './word-splitter.js';

const blockLength = 4096; // characters between two pauses: about a millisecond
const maxWordLength = 1024; // characters of a word that is encoded without a pause
const maxBytesOfUnit = 3; // in UTF-8, for each UTF-16 code unit

/**
 * Encodes text by byte-pair encoding. Nothing is kept from one text to the next: a cache of merged words would save
 * little, because merging looks up integers only.
 */
export class BytePairEncoder {
  readonly #table: MergeTable;
  readonly #tokenOfByte: Uint8Array;
  // Between two pauses only, since several texts may be encoded in turns.
  readonly #scratch = new Uint16Array(maxWordLength * maxBytesOfUnit);

  /**
   * @param pairs the left and the right token of each merge
   * @param byteOrder the byte of each of the tokens 0 to 255
   */
  constructor(pairs: Uint16Array, byteOrder: Uint8Array) {
    this.#table = new MergeTable(pairs);
    this.#tokenOfByte = new Uint8Array(256);
    for (const [token, byte] of byteOrder.entries()) this.#tokenOfByte[byte] = token;
  }

  /** Appends the tokens of a text. Yields after about a millisecond each, so that the caller can pause. */
  *encode(text: string, tokens: GrowingArray<Uint32Array>): Generator<void> {
    for (let at = 0; at < text.length; ) {
      const end = this.#encodeWords(text, at, tokens);
      at = end > at ? end : yield* this.#encodeLongWord(text, at, tokens);
      yield;
    }
  }

  /** Encodes the next block of words. Stops in front of a long one. Returns the position reached. */
  #encodeWords(text: string, from: number, tokens: GrowingArray<Uint32Array>): number {
    const limit = from + blockLength;
    let at = from;
    while (at < text.length && at < limit) {
      const end = wordEnd(text, at, maxWordLength);
      if (end === -1) break;
      this.#encodeWord(text, at, end, tokens);
      at = end;
    }
    return at;
  }

  #encodeWord(text: string, from: number, to: number, tokens: GrowingArray<Uint32Array>): void {
    const bytes = this.#scratch;
    const count = this.#writeBytes(text, from, to, bytes);
    for (let start = 0, end = 1; end <= count; end++) {
      if (end < count && this.#table.areAdjacent(bytes[end - 1] as number, bytes[end] as number)) {
        continue;
      }
      if (end - start > maxShort) {
        const merging = mergeLong(bytes.subarray(start, end), this.#table);
        let step = merging.next();
        while (!step.done) step = merging.next();
        for (let at = 0; at < step.value; at++) tokens.push(bytes[start + at] as number);
      } else {
        const left = mergeShort(bytes, start, end, this.#table);
        for (let at = start; at < left; at++) tokens.push(bytes[at] as number);
      }
      start = end;
    }
  }

  *#encodeLongWord(
    text: string,
    at: number,
    tokens: GrowingArray<Uint32Array>,
  ): Generator<void, number, undefined> {
    const bytes = new Uint16Array((blockLength + 2) * maxBytesOfUnit);
    let piece = new GrowingArray((length) => new Uint16Array(length));
    let from = at;
    let last = -1;
    for (const to of longWordParts(text, at, blockLength)) {
      const count = this.#writeBytes(text, from, to, bytes);
      for (let i = 0; i < count; i++) {
        const byte = bytes[i] as number;
        if (last !== -1 && !this.#table.areAdjacent(last, byte)) {
          if (piece.length > maxShort) {
            yield* this.#encodePiece(piece.view(), tokens);
            piece = new GrowingArray((length) => new Uint16Array(length));
          } else {
            const merged = piece.view();
            const left = mergeShort(merged, 0, merged.length, this.#table);
            for (let j = 0; j < left; j++) tokens.push(merged[j] as number);
            piece.length = 0;
          }
        }
        piece.push(byte);
        last = byte;
      }
      from = to;
      yield;
    }
    yield* this.#encodePiece(piece.view(), tokens);
    return from;
  }

  *#encodePiece(piece: Uint16Array, tokens: GrowingArray<Uint32Array>): Generator<void> {
    const left = yield* mergeLong(piece, this.#table);
    for (let at = 0; at < left; at++) tokens.push(piece[at] as number);
  }

  /** Writes the bytes of characters in UTF-8 as tokens. Lone surrogates become U+FFFD. Returns their number. */
  #writeBytes(text: string, from: number, to: number, bytes: Uint16Array): number {
    const tokenOf = this.#tokenOfByte;
    let count = 0;
    for (let at = from; at < to; at++) {
      let code = text.charCodeAt(at);
      if (code < 0x80) {
        bytes[count++] = tokenOf[code] as number;
        continue;
      }
      if (code < 0x800) {
        bytes[count++] = tokenOf[0xc0 | (code >> 6)] as number;
        bytes[count++] = tokenOf[0x80 | (code & 0x3f)] as number;
        continue;
      }
      if (code >= 0xd800 && code < 0xe000) {
        code = text.codePointAt(at) as number;
        if (code > 0xffff) at++;
        else code = 0xfffd;
      }
      if (code < 0x1_0000) {
        bytes[count++] = tokenOf[0xe0 | (code >> 12)] as number;
      } else {
        bytes[count++] = tokenOf[0xf0 | (code >> 18)] as number;
        bytes[count++] = tokenOf[0x80 | ((code >> 12) & 0x3f)] as number;
      }
      bytes[count++] = tokenOf[0x80 | ((code >> 6) & 0x3f)] as number;
      bytes[count++] = tokenOf[0x80 | (code & 0x3f)] as number;
    }
    return count;
  }
}
