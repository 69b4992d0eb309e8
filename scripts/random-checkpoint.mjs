// Writes an untrained GPT-2 as a Hugging Face folder: config.json, model.safetensors, vocab.json and
// merges.txt. It has the real vocabulary and random weights, so it shows everything but sense.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gpt2Vocabulary } from './gpt2-vocabulary.mjs';

const vocabSize = 50257;

/** @param {{ folder: string, layers: number, heads: number, width: number, context: number, seed: number }} options */
export async function writeRandomCheckpoint({ folder, layers, heads, width, context, seed }) {
  await mkdir(folder, { recursive: true });
  const { vocab, merges } = gpt2Vocabulary();
  await writeFile(join(folder, 'vocab.json'), JSON.stringify(vocab));
  await writeFile(join(folder, 'merges.txt'), `#version: 0.2\n${merges.join('\n')}\n`);
  const config = {
    model_type: 'gpt2',
    architectures: ['GPT2LMHeadModel'],
    activation_function: 'gelu_new',
    n_layer: layers,
    n_head: heads,
    n_embd: width,
    n_positions: context,
    n_ctx: context,
    vocab_size: vocabSize,
    layer_norm_epsilon: 1e-5,
    bos_token_id: vocabSize - 1,
    eos_token_id: vocabSize - 1,
  };
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  await writeFile(
    join(folder, 'model.safetensors'),
    safetensors(tensors(config), normalNumbers(seed)),
  );
}

// [name, shape, standard deviation, or the constant that fills it]; the deviations are GPT-2's own.
function tensors({ n_layer: layers, n_embd: width, n_positions: context }) {
  const residual = 0.02 / Math.sqrt(2 * layers);
  const norm = (name) => [
    [`${name}.weight`, [width], { fill: 1 }],
    [`${name}.bias`, [width], { fill: 0 }],
  ];
  const linear = (name, from, to, deviation) => [
    [`${name}.weight`, [from, to], { deviation }],
    [`${name}.bias`, [to], { fill: 0 }],
  ];
  return [
    ['wte.weight', [vocabSize, width], { deviation: 0.02 }],
    ['wpe.weight', [context, width], { deviation: 0.01 }],
    ...Array.from({ length: layers }, (_, i) => [
      ...norm(`h.${i}.ln_1`),
      ...linear(`h.${i}.attn.c_attn`, width, 3 * width, 0.02),
      ...linear(`h.${i}.attn.c_proj`, width, width, residual),
      ...norm(`h.${i}.ln_2`),
      ...linear(`h.${i}.mlp.c_fc`, width, 4 * width, 0.02),
      ...linear(`h.${i}.mlp.c_proj`, 4 * width, width, residual),
    ]).flat(),
    ...norm('ln_f'),
  ];
}

function safetensors(list, nextNormal) {
  const header = {};
  let offset = 0;
  for (const [name, shape] of list) {
    const length = shape.reduce((a, b) => a * b, 4);
    header[name] = {
      dtype: 'F32',
      shape,
      data_offsets: [offset, offset + length],
    };
    offset += length;
  }
  // Padded with spaces so that the numbers start at a multiple of 8.
  let json = JSON.stringify(header);
  json = json.padEnd(Math.ceil(json.length / 8) * 8);
  const file = new Uint8Array(8 + json.length + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(new TextEncoder().encode(json), 8);
  const numbers = new Float32Array(file.buffer, 8 + json.length);
  let at = 0;
  for (const [, shape, { fill, deviation }] of list) {
    const end = at + shape.reduce((a, b) => a * b);
    if (fill !== undefined) numbers.fill(fill, at, end);
    else for (let i = at; i < end; i++) numbers[i] = deviation * nextNormal();
    at = end;
  }
  return file;
}

/** Standard normal numbers (Box & Muller 1958) from a 32-bit generator (xorshift, Marsaglia 2003). */
function normalNumbers(seed) {
  let state = seed | 1;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
