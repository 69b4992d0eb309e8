// GPT-2's vocabulary for tests, as bytes and as files spell it.

import r50kBase from 'gpt-tokenizer/bpeRanks/r50k_base';
import { gpt2Vocabulary } from '../scripts/gpt2-vocabulary.mjs';

/** The 50,256 tokens of text as bytes, by id, which is the order in which they were learnt. */
export function rankedTokens(): Buffer[] {
  const ranks = r50kBase as readonly (string | readonly number[])[];
  return ranks.map((token) =>
    typeof token === 'string' ? Buffer.from(token, 'utf8') : Buffer.from(token),
  );
}

/** The 50,257 tokens as GGUF and vocab.json spell them, by id. */
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
