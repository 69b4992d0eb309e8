// GPT-2's vocabulary in the files that a Hugging Face folder has.

import { createRequire } from 'node:module';

const { gpt2Ranks } = createRequire(import.meta.url)('../dist/tokenizer/gpt2-ranks.js');
const { tokens, merges } = await gpt2Ranks();

/** vocab.json as an object, and the lines of merges.txt after its first. */
export function gpt2Vocabulary() {
  const vocab = Object.fromEntries(tokens.map((token, rank) => [token, rank]));
  vocab['<|endoftext|>'] = tokens.length;
  return { vocab, merges };
}
