// Byte-pair merging in O(n log n). gpt-tokenizer scans the whole word for every merge. That is fast for ordinary words
// but takes minutes for a million letters without a space.

/**
 * Merges the bytes of a word by byte-pair encoding: repeatedly the pair with the lowest rank, the leftmost of equals,
 * until no pair is a token.
 * @param word the bytes, as characters U+0000 to U+00FF
 * @param rankOf the rank of every token, spelt in the same way
 * @returns token ids
 */
export function mergeBytePairs(word: string, rankOf: ReadonlyMap<string, number>): number[] {
  const length = word.length;
  // A linked list of the parts, identified by their start; -1 ends it.
  const next = Int32Array.from({ length }, (_, start) => (start + 1 < length ? start + 1 : -1));
  const previous = Int32Array.from({ length }, (_, start) => start - 1);
  // The rank of each part joined with the next; -1 if that is not a token or the part has been merged away.
  const pairRank = new Int32Array(length).fill(-1);
  const heap = new PairHeap();

  const end = (start: number) => (next[start] === -1 ? length : (next[start] as number));
  const rankPair = (start: number) => {
    const right = next[start] as number;
    const rank = right === -1 ? undefined : rankOf.get(word.slice(start, end(right)));
    pairRank[start] = rank ?? -1;
    if (rank !== undefined) heap.push(rank, start);
  };

  for (let start = 0; start < length; start++) rankPair(start);
  for (let pair = heap.pop(); pair; pair = heap.pop()) {
    const { rank, start } = pair;
    if (pairRank[start] !== rank) continue; // stale: the pair changed after it was pushed
    const gone = next[start] as number;
    next[start] = next[gone] as number;
    if (next[start] !== -1) previous[next[start] as number] = start;
    pairRank[gone] = -1;
    rankPair(start);
    if (previous[start] !== -1) rankPair(previous[start] as number);
  }

  const tokens: number[] = [];
  for (let start = 0; start !== -1; start = next[start] as number) {
    tokens.push(rankOf.get(word.slice(start, end(start))) as number);
  }
  return tokens;
}

/** A binary min-heap of pairs, ordered by rank, then by start. */
class PairHeap {
  // Rank and start are packed into one number to make comparisons cheap.
  readonly #keys: number[] = [];

  push(rank: number, start: number): void {
    const keys = this.#keys;
    const key = rank * 2 ** 32 + start;
    let at = keys.push(key) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((keys[parent] as number) <= key) break;
      keys[at] = keys[parent] as number;
      at = parent;
    }
    keys[at] = key;
  }

  pop(): { rank: number; start: number } | undefined {
    const keys = this.#keys;
    const top = keys[0];
    const last = keys.pop();
    if (top === undefined || last === undefined) return undefined;
    if (keys.length > 0) {
      let at = 0;
      for (let child = 1; child < keys.length; child = 2 * at + 1) {
        if (child + 1 < keys.length && (keys[child + 1] as number) < (keys[child] as number))
          child++;
        if (last <= (keys[child] as number)) break;
        keys[at] = keys[child] as number;
        at = child;
      }
      keys[at] = last;
    }
    return { rank: Math.floor(top / 2 ** 32), start: top % 2 ** 32 };
  }
}
