// GPT-2's vocabulary in the files that a Hugging Face folder has, from gpt-tokenizer's ranks.

import { createRequire } from 'node:module';

const ranks = createRequire(import.meta.url)('gpt-tokenizer/bpeRanks/r50k_base').default;

// Bytes that are printable in Latin-1 stand for themselves, the others for the characters from U+0100 on
// (https://github.com/openai/gpt-2/blob/master/src/encoder.py, bytes_to_unicode).
const printable = (byte) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
let shifted = 0x100;
const characterOf = Array.from({ length: 256 }, (_, byte) =>
  String.fromCodePoint(printable(byte) ? byte : shifted++),
);

/** vocab.json as an object, and the lines of merges.txt after its first. */
export function gpt2Vocabulary() {
  const spelling = ranks.map((token) =>
    Array.from(Buffer.from(token), (byte) => characterOf[byte]).join(''),
  );
  const rankOf = new Map(spelling.map((token, rank) => [token, rank]));
  const merges = spelling
    .filter((token) => token.length > 1)
    .map((token) => lastMerge(token, rankOf));
  const vocab = Object.fromEntries(rankOf);
  vocab['<|endoftext|>'] = ranks.length;
  return { vocab, merges };
}

/** The two parts that a token is left in when only the merges learnt before it are applied. */
function lastMerge(token, rankOf) {
  const limit = rankOf.get(token);
  const parts = [...token];
  while (parts.length > 2) {
    let best = limit;
    let at = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = rankOf.get(parts[i] + parts[i + 1]);
      if (rank < best) {
        best = rank;
        at = i;
      }
    }
    parts.splice(at, 2, parts[at] + parts[at + 1]);
  }
  return parts.join(' ');
}
