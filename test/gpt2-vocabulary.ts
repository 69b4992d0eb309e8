// GPT-2's vocabulary in the two spellings that files use, made from gpt-tokenizer's list of tokens.

import r50kBase from 'gpt-tokenizer/bpeRanks/r50k_base';

/** The 50,256 tokens of text as bytes, by id, which is the order in which they were learnt. */
export function rankedTokens(): Buffer[] {
  const ranks = r50kBase as readonly (string | readonly number[])[];
  return ranks.map((token) =>
    typeof token === 'string' ? Buffer.from(token, 'utf8') : Buffer.from(token),
  );
}

/**
 * The printable character that stands for a byte in vocab.json, merges.txt and GGUF
 * (bytes_to_unicode in https://github.com/openai/gpt-2/blob/master/src/encoder.py): printable bytes of
 * Latin-1 stand for themselves, the others for the characters from U+0100 on, in order.
 */
const byteCharacters: string[] = (() => {
  const isPrintable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(isPrintable(byte) ? byte : next++),
  );
})();

export function spell(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byteCharacters[byte]).join('');
}

/** The 50,257 tokens as GGUF and vocab.json spell them, by id. */
export function spelledTokens(): string[] {
  return [...rankedTokens().map(spell), '<|endoftext|>'];
}

/** The content of vocab.json. */
export function vocabJson(): string {
  return JSON.stringify(Object.fromEntries(spelledTokens().map((token, id) => [token, id])));
}

/**
 * The content of merges.txt. A token is made by merging the two parts into which the tokens that were
 * learnt before it split its bytes.
 */
export function mergesTxt(): string {
  const tokens = rankedTokens();
  const ranks = new Map(tokens.map((token, rank) => [token.toString('latin1'), rank]));
  const lines = ['#version: 0.2'];
  for (const [rank, token] of tokens.entries()) {
    if (token.length === 1) continue;
    const parts = splitBelow(token.toString('latin1'), rank, ranks);
    if (parts.length !== 2) throw new Error(`token ${rank} is no merge of two`);
    lines.push(parts.map((part) => spell(Buffer.from(part, 'latin1'))).join(' '));
  }
  return `${lines.join('\n')}\n`;
}

/** Byte-pair encoding with the tokens below a rank: merges the pair of the lowest rank until none is left. */
function splitBelow(bytes: string, limit: number, ranks: ReadonlyMap<string, number>): string[] {
  const parts = [...bytes];
  while (true) {
    let best = limit;
    let place = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]}${parts[i + 1]}`) ?? limit;
      if (rank < best) [best, place] = [rank, i];
    }
    if (place < 0) return parts;
    parts.splice(place, 2, `${parts[place]}${parts[place + 1]}`);
  }
}
