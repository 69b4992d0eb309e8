// Byte-pair encoding of one word: of all pairs of neighbouring symbols, the one that was learnt first, the leftmost of
// equals, becomes one symbol, until no pair is left.
//
// Symbols are numbers: 0 to 255 stand for single bytes, and 256 + i for what the merge with index i forms. If several
// merges form the same bytes, that is one symbol, numbered by the first of them. The merge with index i has the number
// 256 + i, too, so a lower number was learnt earlier. In GPT-2's vocabulary, symbols are the token ids.

import { allocateForText } from './typed-memory.js';

/** Stands for "no merge". */
const none = 0x7fff_ffff;

export const firstMerge = 256;

/** Merges in the order in which they were learnt. */
export interface Merges {
  /** The left and the right symbol of each merge. If a pair occurs twice, the last one counts. */
  pairs: ArrayLike<number>;
  /** The symbol that each merge forms. Default: 256 + its index. */
  formed?: Int32Array;
}

/** The number of symbols up to which a pair has a key of its own in 32 bits. */
const maxSmall = 0x1_0000;
// The number of slots up to there: a constant saves 5 % of the time.
const smallBits = 17;
const smallSlots = 1 << smallBits;
const smallShift = 32 - smallBits;

/** The merges: a hash table with open addressing from pairs of symbols to the merge that joins them. */
export class MergeTable {
  /** The number of symbols and merges: one more than the largest number. */
  readonly size: number;
  /** Whether every merge was learnt after all those that form its parts. */
  readonly isOrdered: boolean;
  // By slot: the pair, and the merge, which is 0 if the slot is empty.
  protected readonly keys: Int32Array;
  protected readonly merges: Uint16Array | Int32Array;
  protected readonly multiplier: number;
  protected readonly shift: number;
  readonly #pairs: Int32Array;
  /** The symbol that each merge forms. If undefined, that is its number. */
  readonly formed: Int32Array | undefined;
  readonly #adjacent = new Uint8Array(0x1_0000);

  constructor({ pairs, formed }: Merges) {
    const count = pairs.length / 2;
    this.size = firstMerge + count;
    const isSmall = this.size <= maxSmall;
    // 2.6 slots for each of GPT-2's merges
    const bits = isSmall ? smallBits : 33 - Math.clz32(count + (count >> 2));
    this.shift = 32 - bits;
    this.keys = new Int32Array(2 ** bits);
    this.merges = isSmall ? new Uint16Array(2 ** bits) : new Int32Array(2 ** bits);
    this.#pairs = new Int32Array(pairs);
    this.formed = formed;
    this.multiplier = formed === undefined ? goldenRatio : randomMultiplier();
    this.isOrdered = formed === undefined || isOrdered(this.#pairs, formed);
    this.#build();
  }

  #build(): void {
    // In local variables, because this runs once, mostly before V8 optimises it.
    const pairs = this.#pairs;
    const merges = this.merges;
    const adjacent = this.#adjacent;
    const isOrdered = this.isOrdered;
    const keys = this.keys;
    const multiplier = this.multiplier;
    const shift = this.shift;
    const mask = merges.length - 1;
    const first = isOrdered ? bytesAsSymbols(this.size) : edgesOf(pairs, 0);
    const last = isOrdered ? first.slice() : edgesOf(pairs, 1);
    for (let at = 0, merge = firstMerge; at < pairs.length; at += 2, merge++) {
      const left = pairs[at] as number;
      const right = pairs[at + 1] as number;
      if (isOrdered) {
        first[merge] = first[left] as number;
        last[merge] = last[right] as number;
      }
      adjacent[((last[left] as number) << 8) | (first[right] as number)] = 1;
      const key = (left << 16) ^ right;
      let slot = Math.imul(key, multiplier) >>> shift;
      while (merges[slot] !== 0 && !(keys[slot] === key && this.isPair(slot, left, right))) {
        slot = (slot + 1) & mask;
      }
      keys[slot] = key;
      merges[slot] = merge;
    }
  }

  /** Whether the merge in a slot joins these symbols. */
  protected isPair(slot: number, left: number, right: number): boolean {
    const at = 2 * ((this.merges[slot] as number) - firstMerge);
    return this.#pairs[at] === left && this.#pairs[at + 1] === right;
  }

  /** The merge that joins two symbols; `none` if there is none. */
  mergeOf(left: number, right: number): number {
    const key = (left << 16) ^ right;
    let slot = Math.imul(key, this.multiplier) >>> smallShift;
    while (true) {
      const merge = this.merges[slot] as number;
      if (merge === 0) return none;
      if (this.keys[slot] === key) return merge;
      slot = (slot + 1) % smallSlots;
    }
  }

  /** The symbol that a merge forms. */
  formedBy(merge: number): number {
    return this.formed === undefined ? merge : (this.formed[merge - firstMerge] as number);
  }

  /**
   * Whether some symbol has these two bytes, given as symbols, side by side. Otherwise no merge ever joins them, and a
   * word can be divided between them.
   */
  areAdjacent(left: number, right: number): boolean {
    return this.#adjacent[(left << 8) | right] === 1;
  }
}

/** A table in which several pairs may have the same key. */
class LargeMergeTable extends MergeTable {
  override mergeOf(left: number, right: number): number {
    const key = (left << 16) ^ right;
    const merges = this.merges;
    let slot = Math.imul(key, this.multiplier) >>> this.shift;
    while (true) {
      const merge = merges[slot] as number;
      if (merge === 0) return none;
      if (this.keys[slot] === key && this.isPair(slot, left, right)) return merge;
      slot = (slot + 1) & (merges.length - 1);
    }
  }
}

export function mergeTable(merges: Merges): MergeTable {
  const isSmall = firstMerge + merges.pairs.length / 2 <= maxSmall;
  return isSmall ? new MergeTable(merges) : new LargeMergeTable(merges);
}

// 2³² ÷ the golden ratio spreads consecutive keys.
const goldenRatio = 0x9e37_79b1;

/** A multiplier that is drawn spreads the pairs of a hostile vocabulary as well. */
function randomMultiplier(): number {
  return Math.floor(Math.random() * 2 ** 32) | 0x8000_0001;
}

/** By symbol: its byte; -1 for those that merges form. */
function bytesAsSymbols(size: number): Int16Array {
  const bytes = new Int16Array(size).fill(-1);
  for (let byte = 0; byte < firstMerge; byte++) bytes[byte] = byte;
  return bytes;
}

/** By symbol: its first byte (side 0) or its last one (side 1). */
function edgesOf(pairs: Int32Array, side: 0 | 1): Int16Array {
  const edges = bytesAsSymbols(firstMerge + pairs.length / 2);
  for (let symbol = firstMerge; symbol < edges.length; symbol++) {
    // The parts of a symbol are shorter, so this ends. They may have larger numbers.
    let known = symbol;
    while (edges[known] === -1) known = pairs[2 * (known - firstMerge) + side] as number;
    const edge = edges[known] as number;
    for (let at = symbol; at !== known; at = pairs[2 * (at - firstMerge) + side] as number) {
      edges[at] = edge;
    }
  }
  return edges;
}

function isOrdered(pairs: Int32Array, formed: Int32Array): boolean {
  const last = new Int32Array(firstMerge + formed.length); // by symbol: the last merge that forms it
  for (const [index, symbol] of formed.entries()) last[symbol] = firstMerge + index;
  return pairs.every((symbol, at) => (last[symbol] as number) < firstMerge + (at >> 1));
}

/** The longest word for {@link mergeShort}. Beyond it, {@link mergeLong} is faster. */
export const maxShort = 128;
const shortMerges = new Int32Array(maxShort);

/**
 * Merges the symbols from `start` to `end` in place, in quadratic time.
 * @returns the end of the remaining symbols
 */
export function mergeShort(
  symbols: Int32Array,
  start: number,
  end: number,
  table: MergeTable,
): number {
  const { formed } = table;
  const merges = shortMerges; // by position: the merge that joins it with the next one
  let last = end - start - 1; // the position of the last symbol
  for (let at = 0; at < last; at++) {
    merges[at] = table.mergeOf(symbols[start + at] as number, symbols[start + at + 1] as number);
  }
  while (last > 0) {
    let best = none;
    let bestAt = 0;
    for (let at = 0; at < last; at++) {
      const merge = merges[at] as number;
      if (merge >= best) continue;
      best = merge;
      bestAt = at;
    }
    if (best === none) break;
    const symbol = formed === undefined ? best : (formed[best - firstMerge] as number);
    symbols[start + bestAt] = symbol;
    last--;
    for (let at = bestAt + 1; at <= last; at++) {
      symbols[start + at] = symbols[start + at + 1] as number;
      merges[at] = merges[at + 1] as number;
    }
    if (bestAt < last) {
      merges[bestAt] = table.mergeOf(symbol, symbols[start + bestAt + 1] as number);
    }
    if (bestAt > 0) {
      merges[bestAt - 1] = table.mergeOf(symbols[start + bestAt - 1] as number, symbol);
    }
  }
  return start + last + 1;
}

const stepsUntilPause = 4096; // about a millisecond

/**
 * Merges a long word in place. Yields now and then, so that the caller can pause.
 * @returns the number of remaining symbols
 */
export function* mergeLong(
  symbols: Int32Array,
  table: MergeTable,
): Generator<void, number, undefined> {
  return yield* table.isOrdered ? mergeInOrder(symbols, table) : mergeByQueue(symbols, table);
}

/**
 * Merges in linear time except for sorting. A pair that contains a symbol is joined by a merge with a larger number than
 * those that form the symbol. So the merges are applied from the lowest to the highest number, and none creates a pair
 * of a merge that is done.
 */
function* mergeInOrder(symbols: Int32Array, table: MergeTable): Generator<void, number, undefined> {
  const word = allocateForText(() => new ListedWord(symbols, table));
  for (let start = 0; start < symbols.length; start++) {
    word.addPair(start);
    if (start % stepsUntilPause === 0) yield;
  }
  for (let merge = word.nextMerge(0); merge !== none; merge = word.nextMerge(merge)) {
    let steps = 0;
    for (const start of word.takePairs(merge)) {
      word.merge(start, merge);
      if (++steps % stepsUntilPause === 0) yield;
    }
  }
  return word.compact();
}

/**
 * Merges with a priority queue, as vocabularies need in which a symbol is formed by several merges: a pair that contains
 * it may have been learnt before the merge that has just formed it.
 */
function* mergeByQueue(symbols: Int32Array, table: MergeTable): Generator<void, number, undefined> {
  const word = allocateForText(() => new QueuedWord(symbols, table));
  for (let start = 0; start < symbols.length; start++) {
    word.addPair(start);
    if (start % stepsUntilPause === 0) yield;
  }
  for (let steps = 1; word.mergeNext(); steps++) {
    if (steps % stepsUntilPause === 0) yield;
  }
  return word.compact();
}

/** A linked list of the symbols of a word, identified by their start. */
class LinkedWord {
  protected readonly symbols: Int32Array;
  protected readonly table: MergeTable;
  // -1 ends the lists.
  protected readonly next: Int32Array;
  protected readonly previous: Int32Array;

  constructor(symbols: Int32Array, table: MergeTable) {
    this.symbols = symbols;
    this.table = table;
    this.next = new Int32Array(symbols.length);
    this.previous = new Int32Array(symbols.length);
  }

  /** Links the start with its neighbours, which are still single bytes. */
  protected link(start: number): void {
    this.previous[start] = start - 1;
    this.next[start] = start + 1 < this.symbols.length ? start + 1 : -1;
  }

  /** Replaces the symbol at `start` and the next one, which starts at `gone`. */
  protected join(start: number, gone: number, merge: number): void {
    this.symbols[start] = this.table.formedBy(merge);
    const after = this.next[gone] as number;
    this.next[start] = after;
    if (after !== -1) this.previous[after] = start;
  }

  /** The merge that joins the symbol at `start` and the next one. */
  protected mergeAt(start: number): number {
    const next = this.next[start] as number;
    if (next === -1) return none;
    return this.table.mergeOf(this.symbols[start] as number, this.symbols[next] as number);
  }

  /** Moves the remaining symbols to the front and returns their number. */
  compact(): number {
    let count = 0;
    for (let start = 0; start !== -1; start = this.next[start] as number) {
      this.symbols[count++] = this.symbols[start] as number;
    }
    return count;
  }
}

/** A word with a list of pairs for each merge. */
class ListedWord extends LinkedWord {
  /** By start: the merge that joins it with the next one. */
  readonly #merge: Int32Array;
  /** By start: its neighbours in the list of the pairs that the same merge joins. */
  readonly #newer: Int32Array;
  readonly #older: Int32Array;
  /** By merge: the newest pair that it joins, and the number of pairs. */
  readonly #newest: Int32Array;
  readonly #counts: Int32Array;
  /** A bit for each merge that has had pairs, 32 to an element. */
  readonly #present: Uint32Array;

  constructor(symbols: Int32Array, table: MergeTable) {
    super(symbols, table);
    this.#merge = new Int32Array(symbols.length);
    this.#newer = new Int32Array(symbols.length);
    this.#older = new Int32Array(symbols.length);
    this.#newest = new Int32Array(table.size).fill(-1);
    this.#counts = new Int32Array(table.size);
    this.#present = new Uint32Array((table.size >> 5) + 1);
  }

  /** Adds the pair of the start and the one after it, which are still single bytes. */
  addPair(start: number): void {
    this.link(start);
    this.#merge[start] = none;
    this.#add(start);
  }

  /** The lowest merge above `merge` that joins pairs; `none` if there is none. */
  nextMerge(merge: number): number {
    const from = merge + 1;
    for (let index = from >> 5; index < this.#present.length; index++) {
      let bits = this.#present[index] as number;
      if (index === from >> 5) bits &= -1 << (from & 31);
      if (bits !== 0) return index * 32 + 31 - Math.clz32(bits & -bits);
    }
    return none;
  }

  /** The starts of the pairs that a merge joins, from left to right. */
  takePairs(merge: number): Int32Array {
    const starts = allocateForText(() => new Int32Array(this.#counts[merge] as number));
    let isSorted = true;
    let at = starts.length;
    for (
      let start = this.#newest[merge] as number;
      start !== -1;
      start = this.#older[start] as number
    ) {
      if (at < starts.length && start > (starts[at] as number)) isSorted = false;
      starts[--at] = start;
    }
    return isSorted ? starts : starts.sort();
  }

  /** Joins the symbol at `start` and the next one, unless one of them has changed since the pair was added. */
  merge(start: number, merge: number): void {
    if (this.#merge[start] !== merge) return;
    const gone = this.next[start] as number;
    this.#remove(start);
    this.#remove(gone);
    this.join(start, gone, merge);
    this.#add(start);
    const before = this.previous[start] as number;
    if (before === -1) return;
    this.#remove(before);
    this.#add(before);
  }

  #add(start: number): void {
    const merge = this.mergeAt(start);
    if (merge === none) return;
    const older = this.#newest[merge] as number;
    this.#merge[start] = merge;
    this.#older[start] = older;
    this.#newer[start] = -1;
    if (older !== -1) this.#newer[older] = start;
    this.#newest[merge] = start;
    (this.#counts[merge] as number)++;
    this.#present[merge >> 5] = (this.#present[merge >> 5] as number) | (1 << (merge & 31));
  }

  #remove(start: number): void {
    const merge = this.#merge[start] as number;
    if (merge === none) return;
    const newer = this.#newer[start] as number;
    const older = this.#older[start] as number;
    if (older !== -1) this.#newer[older] = newer;
    if (newer !== -1) this.#older[newer] = older;
    else this.#newest[merge] = older;
    (this.#counts[merge] as number)--;
    this.#merge[start] = none;
  }
}

const startsPerMerge = 2 ** 32;

/** A word with a binary heap of its pairs: the lowest merge first, the leftmost of equals. */
class QueuedWord extends LinkedWord {
  // A pair is merge × 2³² + start. One that has changed since is passed over. Each merge takes one pair and adds two.
  readonly #heap: Float64Array;
  #count = 0;

  constructor(symbols: Int32Array, table: MergeTable) {
    super(symbols, table);
    this.#heap = new Float64Array(2 * symbols.length);
  }

  addPair(start: number): void {
    this.link(start);
    this.#add(start);
  }

  /** Applies the next merge. Returns false if there is none. */
  mergeNext(): boolean {
    if (this.#count === 0) return false;
    const pair = this.#take();
    const merge = Math.floor(pair / startsPerMerge);
    const start = pair - merge * startsPerMerge;
    if (this.mergeAt(start) !== merge) return true;
    const gone = this.next[start] as number;
    this.join(start, gone, merge);
    this.next[gone] = -1; // no pair of it is merged any more
    this.#add(start);
    const before = this.previous[start] as number;
    if (before !== -1) this.#add(before);
    return true;
  }

  #add(start: number): void {
    const merge = this.mergeAt(start);
    if (merge === none) return;
    const heap = this.#heap;
    const pair = merge * startsPerMerge + start;
    let at = this.#count++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as number;
      if (above <= pair) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = pair;
  }

  #take(): number {
    const heap = this.#heap;
    const first = heap[0] as number;
    const moved = heap[--this.#count] as number;
    let at = 0;
    while (true) {
      let child = 2 * at + 1;
      if (child >= this.#count) break;
      if (child + 1 < this.#count && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[child] as number) >= moved) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = moved;
    return first;
  }
}
