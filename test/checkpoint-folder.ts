// Checkpoint folders for tests: modified fixtures, and small models with GPT-2's vocabulary.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FixtureName, fixtureFolder } from './golden.js';
import { mergesTxt, vocabJson } from './gpt2-vocabulary.js';
import { readSafetensors, type StoredTensor, writeSafetensors } from './safetensors-file.js';

export type Config = Record<string, unknown>;

/** A fixture's config.json. */
export function readConfig(name: FixtureName): Config {
  return JSON.parse(readFileSync(join(fixtureFolder(name), 'config.json'), 'utf8'));
}

/** A fixture's weights from all its files, under the names in the files. */
export function readTensors(name: FixtureName): Map<string, StoredTensor> {
  const folder = fixtureFolder(name);
  const files = readdirSync(folder).filter((file) => /^model.*\.safetensors$/.test(file));
  return new Map(files.sort().flatMap((file) => [...readSafetensors(join(folder, file))]));
}

/** Writes a checkpoint folder with the weights in one file. */
export function writeCheckpoint(
  folder: string,
  config: Config,
  tensors: ReadonlyMap<string, StoredTensor>,
): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeSafetensors(join(folder, 'model.safetensors'), tensors);
  return folder;
}

/** Writes a copy of a fixture with some settings or tensors changed. */
export function changedFixture(
  folder: string,
  name: FixtureName,
  {
    config = {},
    change,
  }: { config?: Config; change?: (tensors: Map<string, StoredTensor>) => void },
): string {
  const tensors = readTensors(name);
  change?.(tensors);
  return writeCheckpoint(folder, { ...readConfig(name), ...config }, tensors);
}

export function f32Tensor(shape: number[], numbers: readonly number[]): StoredTensor {
  return {
    dtype: 'F32',
    shape,
    bytes: Buffer.from(Float32Array.from(numbers).buffer),
  };
}

/** Seeded random numbers in [0, 1): a linear congruential generator with Numerical Recipes' constants. */
export function uniformNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Sizes {
  vocabulary: number;
  context: number;
  width: number;
}

/** Writes a random model with one layer and two heads, without a vocabulary. */
export function writeRandomModel(folder: string, { vocabulary, context, width }: Sizes): string {
  const next = uniformNumbers(1);
  const random = (shape: number[], size = 1, mean = 0) => {
    const count = shape.reduce((product, extent) => product * extent, 1);
    return f32Tensor(
      shape,
      Array.from({ length: count }, () => mean + size * (2 * next() - 1)),
    );
  };
  const tensors = new Map<string, StoredTensor>([
    ['wte.weight', random([vocabulary, width])],
    ['wpe.weight', random([context, width])],
    ['h.0.ln_1.weight', random([width], 0.2, 1)],
    ['h.0.ln_1.bias', random([width], 0.2)],
    ['h.0.attn.c_attn.weight', random([width, 3 * width])],
    ['h.0.attn.c_attn.bias', random([3 * width], 0.2)],
    ['h.0.attn.c_proj.weight', random([width, width])],
    ['h.0.attn.c_proj.bias', random([width], 0.2)],
    ['h.0.ln_2.weight', random([width], 0.2, 1)],
    ['h.0.ln_2.bias', random([width], 0.2)],
    ['h.0.mlp.c_fc.weight', random([width, 4 * width])],
    ['h.0.mlp.c_fc.bias', random([4 * width], 0.2)],
    ['h.0.mlp.c_proj.weight', random([4 * width, width])],
    ['h.0.mlp.c_proj.bias', random([width], 0.2)],
    ['ln_f.weight', random([width], 0.2, 1)],
    ['ln_f.bias', random([width], 0.2)],
  ]);
  return writeCheckpoint(
    folder,
    {
      model_type: 'gpt2',
      activation_function: 'gelu_new',
      vocab_size: vocabulary,
      n_positions: context,
      n_embd: width,
      n_head: 2,
      n_layer: 1,
      n_inner: 4 * width,
      layer_norm_epsilon: 1e-5,
      tie_word_embeddings: true,
      eos_token_id: vocabulary - 1,
    },
    tensors,
  );
}

/** Writes a tiny random model whose first 50,257 tokens are GPT-2's, with vocab.json and merges.txt. */
export function writeTextCheckpoint(folder: string, vocabulary = 50257): string {
  writeRandomModel(folder, { vocabulary, context: 64, width: 8 });
  writeFileSync(join(folder, 'vocab.json'), vocabJson());
  writeFileSync(join(folder, 'merges.txt'), mergesTxt());
  return folder;
}

/** Writes a model of a few kilobytes with the vocabulary in both forms: two files, and tokenizer.json. */
export function writeSmallCheckpoint(folder: string): string {
  const ids = { a: 0, b: 1, ab: 2, '<|endoftext|>': 3 };
  const end = { id: 3, content: '<|endoftext|>', special: true };
  writeRandomModel(folder, { vocabulary: 5, context: 8, width: 8 });
  writeFileSync(join(folder, 'vocab.json'), JSON.stringify(ids));
  writeFileSync(join(folder, 'merges.txt'), '#version: 0.2\na b\n');
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({ added_tokens: [end], model: { type: 'BPE', vocab: ids, merges: ['a b'] } }),
  );
  return folder;
}

/** Splits the weights of a folder into two shards with an index. */
export function splitWeights(folder: string): string {
  const whole = join(folder, 'model.safetensors');
  const tensors = [...readSafetensors(whole)];
  const half = Math.ceil(tensors.length / 2);
  const shards = [tensors.slice(0, half), tensors.slice(half)];
  const weightMap: Record<string, string> = {};
  for (const [index, shard] of shards.entries()) {
    const file = `model-0000${index + 1}-of-00002.safetensors`;
    writeSafetensors(join(folder, file), new Map(shard));
    for (const [name] of shard) weightMap[name] = file;
  }
  const index = { metadata: {}, weight_map: weightMap };
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  rmSync(whole);
  return folder;
}
