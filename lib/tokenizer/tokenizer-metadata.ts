// A tokenizer's settings in the metadata of GGUF files
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "Tokenizer").

import { show } from '../arguments.js';
import { plainSettings, type TokenizerSettings } from './vocabulary.js';

/** The single values in a file's metadata. */
export type ScalarMetadata = ReadonlyMap<string, string | number | boolean>;

/** The reason why a conversion left out the tokenizer. */
export const leftOutKey = 'gpt2_native.tokenizer_left_out';

/** @param count tokens; ids beyond them are ignored */
export function settingsIn(metadata: ScalarMetadata, count: number): TokenizerSettings {
  const id = (name: string) => {
    const value = metadata.get(`tokenizer.ggml.${name}_token_id`);
    return Number.isInteger(value) && (value as number) >= 0 && (value as number) < count
      ? (value as number)
      : undefined;
  };
  const isSet = (name: string) => metadata.get(`tokenizer.ggml.${name}`) === true;
  const one = (id: number | undefined, isAdded: boolean) =>
    isAdded && id !== undefined ? [id] : [];
  const start = id('bos');
  const end = id('eos');
  return {
    ...plainSettings,
    addsPrefixSpace: isSet('add_space_prefix'),
    before: one(start, isSet('add_bos_token')),
    after: one(end, isSet('add_eos_token')),
    startOfText: start,
    endOfText: end,
    unknown: id('unknown'),
  };
}

// The names in llama.cpp of tokenizers that split text with GPT-2's pattern and do not normalise it.
const gpt2Patterns: readonly unknown[] = ['gpt-2', 'phi-2', 'roberta-bpe', undefined];

/** The reason why a tokenizer is not byte-level BPE with GPT-2's pattern; undefined if it is. */
export function foreignTokenizer(metadata: ScalarMetadata): string | undefined {
  const model = metadata.get('tokenizer.ggml.model');
  if (model !== 'gpt2') {
    return `tokenizer.ggml.model is ${show(model)}, and "gpt2" is byte-level BPE`;
  }
  const pattern = metadata.get('tokenizer.ggml.pre');
  if (gpt2Patterns.includes(pattern)) return undefined;
  return `it splits text with the pattern ${show(pattern)} (tokenizer.ggml.pre), which is not GPT-2's`;
}
