// GPT-2's vocabulary for tests, as bytes and as spelt in files.

import r50kBase from 'gpt-tokenizer/bpeRanks/r50k_base';
import { gpt2Vocabulary } from '../scripts/gpt2-vocabulary.mjs';

/** The bytes of the 50,256 text tokens by id, which is the order in which they were learnt. */
export function rankedTokens(): Buffer[] {
  const ranks = r50kBase as readonly (string | readonly number[])[];
  return ranks.map((token) =>
    typeof token === 'string' ? Buffer.from(token, 'utf8') : Buffer.from(token),
  );
}

/** The 50,257 tokens by id, as GGUF and vocab.json spell them. */
export function spelledTokens(): string[] {
  const { vocab } = gpt2Vocabulary() as { vocab: Record<string, number> };
  return Object.entries(vocab)
    .sort(([, left], [, right]) => left - right)
    .map(([token]) => token);
}

/** The content of vocab.json. */
export function vocabJson(): string {
  return JSON.stringify(gpt2Vocabulary().vocab);
}

/** The content of merges.txt. */
export function mergesTxt(): string {
  return `#version: 0.2\n${gpt2Vocabulary().merges.join('\n')}\n`;
}
