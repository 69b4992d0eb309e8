// Learns byte-level BPE merges from a text: the most frequent pair of neighbouring tokens becomes a token, again and
// again (Sennrich et al. 2016).

import { createRequire } from 'node:module';

const { spellBytes } = createRequire(import.meta.url)('../../dist/tokenizer/byte-spelling.js');

const wordPattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The words of a text as lists of spelled bytes. */
export function spelledWords(text) {
  return (text.match(wordPattern) ?? []).map((word) => [...spellBytes(Buffer.from(word))]);
}

/** Applies merges to a word one after the other: the first in the list, the leftmost of equals. */
export function applyMerges(word, merges) {
  const rank =
    merges instanceof Map ? merges : new Map(merges.map((merge, index) => [merge, index]));
  const tokens = [...word];
  while (true) {
    let best = Number.POSITIVE_INFINITY;
    let bestAt = -1;
    for (let at = 0; at + 1 < tokens.length; at++) {
      const found = rank.get(`${tokens[at]} ${tokens[at + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (found >= best) continue;
      best = found;
      bestAt = at;
    }
    if (bestAt === -1) return tokens;
    tokens.splice(bestAt, 2, tokens[bestAt] + tokens[bestAt + 1]);
  }
}

/** Up to `count` merges, as `left right`. */
export function learnMerges(text, count) {
  const words = new Map();
  for (const word of spelledWords(text)) {
    const key = word.join('');
    const known = words.get(key);
    if (known) known.times++;
    else words.set(key, { tokens: word, times: 1 });
  }
  const all = [...words.values()];
  const merges = [];
  while (merges.length < count) {
    const times = new Map();
    for (const { tokens, times: ofWord } of all) {
      for (let at = 0; at + 1 < tokens.length; at++) {
        const pair = `${tokens[at]} ${tokens[at + 1]}`;
        times.set(pair, (times.get(pair) ?? 0) + ofWord);
      }
    }
    let best;
    for (const [pair, found] of times) {
      if (found > (times.get(best) ?? 1) || (found === times.get(best) && pair < best)) best = pair;
    }
    if (best === undefined) break;
    merges.push(best);
    const [left, right] = best.split(' ');
    for (const { tokens } of all) {
      for (let at = 0; at + 1 < tokens.length; at++) {
        if (tokens[at] === left && tokens[at + 1] === right) tokens.splice(at, 2, left + right);
      }
    }
  }
  return merges;
}
