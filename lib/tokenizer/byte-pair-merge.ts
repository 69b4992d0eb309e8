// Byte-pair encoding of one word: of all pairs of neighbouring tokens, the one that was learnt first, the leftmost of
// equals, becomes one token, until no pair is left. The merge with index i forms the token 256 + i, so the merged token
// with the lowest id is the one that was learnt first.

import { allocateForText } from './typed-memory.js';

/** Stands for "no token". */
const none = 0xffff;

const slots = 1 << 17; // 2.6 for each of GPT-2's merges
const multiplier = 0x9e37_79b1; // 2³² ÷ the golden ratio spreads consecutive keys

/** The merges: a hash table with open addressing from pairs of tokens to the token that they form. */
export class MergeTable {
  readonly #pairs = new Int32Array(slots);
  readonly #tokens = new Uint16Array(slots).fill(none);
  readonly #adjacent = new Uint8Array(0x1_0000);

  /** @param merges the left and the right token of each merge, in the order in which they were learnt */
  constructor(merges: Uint16Array) {
    // In local variables, because this runs once, mostly before V8 optimises it.
    const pairs = this.#pairs;
    const tokens = this.#tokens;
    const adjacent = this.#adjacent;
    // By token: its first and its last byte. The tokens below 256 are single bytes.
    const first = new Uint8Array(256 + merges.length / 2);
    for (let byte = 0; byte < 256; byte++) first[byte] = byte;
    const last = first.slice();
    for (let at = 0, token = 256; at < merges.length; at += 2, token++) {
      const left = merges[at] as number;
      const right = merges[at + 1] as number;
      first[token] = first[left] as number;
      last[token] = last[right] as number;
      adjacent[((last[left] as number) << 8) | (first[right] as number)] = 1;
      const pair = (left << 16) | right;
      let slot = Math.imul(pair, multiplier) >>> 15;
      while (tokens[slot] !== none) slot = (slot + 1) % slots;
      pairs[slot] = pair;
      tokens[slot] = token;
    }
  }

  /** The token that two tokens form; `none` if they form none. */
  merged(left: number, right: number): number {
    const pair = (left << 16) | right;
    let slot = Math.imul(pair, multiplier) >>> 15;
    while (true) {
      const token = this.#tokens[slot] as number;
      if (token === none || this.#pairs[slot] === pair) return token;
      slot = (slot + 1) % slots;
    }
  }

  /**
   * Whether some token has these two bytes, given as tokens, side by side. Otherwise no merge ever joins them, and a
   * word can be divided between them.
   */
  areAdjacent(left: number, right: number): boolean {
    return this.#adjacent[(left << 8) | right] === 1;
  }
}

/** The longest word for {@link mergeShort}. Beyond it, {@link mergeLong} is faster. */
export const maxShort = 128;
const shortPairs = new Uint16Array(maxShort);

/**
 * Merges the tokens from `start` to `end` in place, in quadratic time.
 * @returns the end of the remaining tokens
 */
export function mergeShort(
  tokens: Uint16Array,
  start: number,
  end: number,
  table: MergeTable,
): number {
  const pairs = shortPairs; // by position: the token that it forms with the next one
  let last = end - start - 1; // the position of the last token
  for (let at = 0; at < last; at++) {
    pairs[at] = table.merged(tokens[start + at] as number, tokens[start + at + 1] as number);
  }
  while (last > 0) {
    let best = none;
    let bestAt = 0;
    for (let at = 0; at < last; at++) {
      const pair = pairs[at] as number;
      if (pair >= best) continue;
      best = pair;
      bestAt = at;
    }
    if (best === none) break;
    tokens[start + bestAt] = best;
    last--;
    for (let at = bestAt + 1; at <= last; at++) {
      tokens[start + at] = tokens[start + at + 1] as number;
      pairs[at] = pairs[at + 1] as number;
    }
    if (bestAt < last) pairs[bestAt] = table.merged(best, tokens[start + bestAt + 1] as number);
    if (bestAt > 0) pairs[bestAt - 1] = table.merged(tokens[start + bestAt - 1] as number, best);
  }
  return start + last + 1;
}

const stepsUntilPause = 4096; // about a millisecond

/**
 * Merges a long word in place, in linear time except for sorting. Yields now and then, so that the caller can pause.
 *
 * A pair that contains a token forms a token with a larger id, since it was learnt later. So the pairs are merged by
 * the token that they form, from the lowest to the highest id, and no merge creates a pair with an id that is done.
 * @returns the number of remaining tokens
 */
export function* mergeLong(
  tokens: Uint16Array,
  table: MergeTable,
): Generator<void, number, undefined> {
  const word = allocateForText(() => new LongWord(tokens, table));
  for (let start = 0; start < tokens.length; start++) {
    word.addPair(start);
    if (start % stepsUntilPause === 0) yield;
  }
  for (let id = word.nextId(0); id !== none; id = word.nextId(id)) {
    let steps = 0;
    for (const start of word.takePairs(id)) {
      word.merge(start, id);
      if (++steps % stepsUntilPause === 0) yield;
    }
  }
  return word.compact();
}

/** A linked list of the tokens of a word, identified by their start, and lists of their pairs by the token they form. */
class LongWord {
  readonly #tokens: Uint16Array;
  readonly #table: MergeTable;
  // -1 ends the lists.
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** By start: the token that it forms with the next one. */
  readonly #pair: Uint16Array;
  /** By start: its neighbours in the list of the pairs that form the same token. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  /** By id: the newest pair that forms it, and the number of pairs. */
  readonly #newest = new Int32Array(none).fill(-1);
  readonly #counts = new Int32Array(none);
  /** A bit for each id that has had pairs, 32 to an element. */
  readonly #present = new Uint32Array(none / 32 + 1);

  constructor(tokens: Uint16Array, table: MergeTable) {
    const { length } = tokens;
    this.#tokens = tokens;
    this.#table = table;
    this.#next = new Int32Array(length);
    this.#previous = new Int32Array(length);
    this.#pair = new Uint16Array(length);
    this.#newer = new Int32Array(length);
    this.#older = new Int32Array(length);
  }

  /** Adds the pair of the start and the one after it, which are still single bytes. */
  addPair(start: number): void {
    this.#previous[start] = start - 1;
    this.#next[start] = start + 1 < this.#tokens.length ? start + 1 : -1;
    this.#pair[start] = none;
    this.#rank(start);
  }

  /** The lowest id above `id` that pairs form; `none` if there is none. */
  nextId(id: number): number {
    const from = id + 1;
    for (let index = from >> 5; index < this.#present.length; index++) {
      let bits = this.#present[index] as number;
      if (index === from >> 5) bits &= -1 << (from & 31);
      if (bits !== 0) return index * 32 + 31 - Math.clz32(bits & -bits);
    }
    return none;
  }

  /** The starts of the pairs that form a token, from left to right. */
  takePairs(id: number): Int32Array {
    const starts = allocateForText(() => new Int32Array(this.#counts[id] as number));
    let isSorted = true;
    let at = starts.length;
    for (
      let start = this.#newest[id] as number;
      start !== -1;
      start = this.#older[start] as number
    ) {
      if (at < starts.length && start > (starts[at] as number)) isSorted = false;
      starts[--at] = start;
    }
    return isSorted ? starts : starts.sort();
  }

  /** Joins the token at `start` and the next one, unless one of them has changed since the pair was added. */
  merge(start: number, id: number): void {
    if (this.#pair[start] !== id) return;
    const gone = this.#next[start] as number;
    this.#removePair(start);
    this.#removePair(gone);
    this.#tokens[start] = id;
    const after = this.#next[gone] as number;
    this.#next[start] = after;
    if (after !== -1) this.#previous[after] = start;
    this.#rank(start);
    const before = this.#previous[start] as number;
    if (before === -1) return;
    this.#removePair(before);
    this.#rank(before);
  }

  #rank(start: number): void {
    const next = this.#next[start] as number;
    if (next === -1) return;
    const id = this.#table.merged(this.#tokenAt(start), this.#tokenAt(next));
    if (id === none) return;
    const older = this.#newest[id] as number;
    this.#pair[start] = id;
    this.#older[start] = older;
    this.#newer[start] = -1;
    if (older !== -1) this.#newer[older] = start;
    this.#newest[id] = start;
    (this.#counts[id] as number)++;
    this.#present[id >> 5] = (this.#present[id >> 5] as number) | (1 << (id & 31));
  }

  #removePair(start: number): void {
    const id = this.#pair[start] as number;
    if (id === none) return;
    const newer = this.#newer[start] as number;
    const older = this.#older[start] as number;
    if (older !== -1) this.#newer[older] = newer;
    if (newer !== -1) this.#older[newer] = older;
    else this.#newest[id] = older;
    (this.#counts[id] as number)--;
    this.#pair[start] = none;
  }

  #tokenAt(start: number): number {
    return this.#tokens[start] as number;
  }

  /** Moves the remaining tokens to the front and returns their number. */
  compact(): number {
    let count = 0;
    for (let start = 0; start !== -1; start = this.#next[start] as number) {
      this.#tokens[count++] = this.#tokens[start] as number;
    }
    return count;
  }
}
