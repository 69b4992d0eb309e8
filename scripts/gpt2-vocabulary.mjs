// GPT-2's vocabulary, in the form of Hugging Face's files.

import { createRequire } from 'node:module';

const { gpt2VocabularyFiles } = createRequire(import.meta.url)(
  '../dist/tokenizer/gpt2-vocabulary.js',
);
const { tokens, merges } = gpt2VocabularyFiles();

/** The object of vocab.json, and the lines of merges.txt after the first. */
export function gpt2Vocabulary() {
  const vocab = Object.fromEntries(tokens.map((token, rank) => [token, rank]));
  vocab['<|endoftext|>'] = tokens.length;
  return { vocab, merges };
}
