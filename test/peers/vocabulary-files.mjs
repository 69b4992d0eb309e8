import { createRequire } from 'node:module';

/**
 * GPT-2's vocabulary in the form of Hugging Face's vocab.json and merges.txt, worked out from the ranks
 * that gpt-tokenizer ships.
 *
 * @returns {{ vocab: Record<string, number>, merges: string[] }}
 */
export function gpt2VocabularyFiles() {
  const require = createRequire(import.meta.url);
  /** @type {(string | number[])[]} */
  const ranks = require('gpt-tokenizer/bpeRanks/r50k_base').default;
  // Latin-1 strings hold bytes, so that tokens can be keys of a map and be cut anywhere.
  const tokens = ranks.map((token) =>
    (typeof token === 'string' ? Buffer.from(token, 'utf8') : Buffer.from(token)).toString(
      'latin1',
    ),
  );
  const rankOf = new Map(tokens.map((token, rank) => [token, rank]));
  const spell = spelling();
  const merges = tokens
    .filter((token) => token.length > 1)
    .map((token) => {
      const [left, right] = lastPair(token, rankOf);
      return `${spell(left)} ${spell(right)}`;
    });
  const vocab = Object.fromEntries(tokens.map((token, rank) => [spell(token), rank]));
  vocab['<|endoftext|>'] = tokens.length;
  return { vocab, merges };
}

/** The two parts that byte pair encoding has when nothing but the token itself is left to merge. */
function lastPair(token, rankOf) {
  const parts = [...token];
  while (parts.length > 2) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let index = 0; index + 1 < parts.length; index++) {
      const rank = rankOf.get(parts[index] + parts[index + 1]);
      if (rank !== undefined && rank < bestRank) [best, bestRank] = [index, rank];
    }
    if (bestRank >= rankOf.get(token)) throw new Error(`No merges lead to the token ${token}`);
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
  return parts;
}

/** How GPT-2 spells bytes: those that print as themselves, the others as characters from U+0100 on. */
function spelling() {
  const prints = (byte) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  const characters = Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(prints(byte) ? byte : next++),
  );
  return (bytes) => Array.from(bytes, (byte) => characters[byte.charCodeAt(0)]).join('');
}
