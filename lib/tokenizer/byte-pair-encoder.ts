import {
  type Merges,
  type MergeTable,
  maxShort,
  mergeLong,
  mergeShort,
  mergeTable,
} from './byte-pair-merge.js';
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
  readonly #symbolOfByte: Int32Array;
  readonly #leavesOutBytes: boolean;
  readonly #tokenOfSymbol: Int32Array | undefined;
  // Between two pauses only, since several texts may be encoded in turns.
  readonly #scratch = new Int32Array(maxWordLength * maxBytesOfUnit);

  /**
   * @param symbolOfByte below 256; -1 for bytes that are left out of every text
   * @param tokenOfSymbol the token id of each byte and of each merge's symbol. Default: the symbol
   */
  constructor(merges: Merges, symbolOfByte: Int32Array, tokenOfSymbol?: Int32Array) {
    this.#table = mergeTable(merges);
    this.#symbolOfByte = symbolOfByte;
    this.#leavesOutBytes = symbolOfByte.includes(-1);
    this.#tokenOfSymbol = tokenOfSymbol;
  }

  /** Appends the tokens of a text. Yields after about a millisecond each, so that the caller can pause. */
  *encode(text: string, tokens: GrowingArray<Uint32Array>): Generator<void> {
    for (let at = 0; at < text.length; ) {
      const start = tokens.length;
      const end = this.#encodeWords(text, at, tokens);
      at = end > at ? end : yield* this.#encodeLongWord(text, at, tokens);
      this.#toTokens(tokens, start);
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
    const bytes = new Int32Array((blockLength + 2) * maxBytesOfUnit);
    let piece = new GrowingArray((length) => new Int32Array(length));
    let from = at;
    let last = -1;
    for (const to of longWordParts(text, at, blockLength)) {
      const count = this.#writeBytes(text, from, to, bytes);
      for (let i = 0; i < count; i++) {
        const byte = bytes[i] as number;
        if (last !== -1 && !this.#table.areAdjacent(last, byte)) {
          if (piece.length > maxShort) {
            yield* this.#encodePiece(piece.view(), tokens);
            piece = new GrowingArray((length) => new Int32Array(length));
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

  *#encodePiece(piece: Int32Array, tokens: GrowingArray<Uint32Array>): Generator<void> {
    if (piece.length === 0) return; // all bytes of the word were left out
    const left = yield* mergeLong(piece, this.#table);
    for (let at = 0; at < left; at++) tokens.push(piece[at] as number);
  }

  /** Replaces the symbols from `from` on by their tokens. */
  #toTokens(symbols: GrowingArray<Uint32Array>, from: number): void {
    const tokenOf = this.#tokenOfSymbol;
    if (tokenOf === undefined) return;
    const all = symbols.view();
    for (let at = from; at < all.length; at++) all[at] = tokenOf[all[at] as number] as number;
  }

  /** Writes the bytes of characters in UTF-8 as symbols. Lone surrogates become U+FFFD. Returns their number. */
  #writeBytes(text: string, from: number, to: number, bytes: Int32Array): number {
    const count = this.#writeAllBytes(text, from, to, bytes);
    if (!this.#leavesOutBytes) return count;
    let kept = 0;
    for (let at = 0; at < count; at++) {
      if (bytes[at] !== -1) bytes[kept++] = bytes[at] as number;
    }
    return kept;
  }

  #writeAllBytes(text: string, from: number, to: number, bytes: Int32Array): number {
    const symbolOf = this.#symbolOfByte;
    let count = 0;
    for (let at = from; at < to; at++) {
      let code = text.charCodeAt(at);
      if (code < 0x80) {
        bytes[count++] = symbolOf[code] as number;
        continue;
      }
      if (code < 0x800) {
        bytes[count++] = symbolOf[0xc0 | (code >> 6)] as number;
        bytes[count++] = symbolOf[0x80 | (code & 0x3f)] as number;
        continue;
      }
      if (code >= 0xd800 && code < 0xe000) {
        code = text.codePointAt(at) as number;
        if (code > 0xffff) at++;
        else code = 0xfffd;
      }
      if (code < 0x1_0000) {
        bytes[count++] = symbolOf[0xe0 | (code >> 12)] as number;
      } else {
        bytes[count++] = symbolOf[0xf0 | (code >> 18)] as number;
        bytes[count++] = symbolOf[0x80 | ((code >> 12) & 0x3f)] as number;
      }
      bytes[count++] = symbolOf[0x80 | ((code >> 6) & 0x3f)] as number;
      bytes[count++] = symbolOf[0x80 | (code & 0x3f)] as number;
    }
    return count;
  }
}
