import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gpt2Vocabulary } from './gpt2-vocabulary.mjs';

/** Returns a generator of pseudorandom numbers from 0 to 1 (mulberry32). */
export function seededRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Writes a checkpoint folder in Hugging Face's format: a GPT-2 with random weights and GPT-2's vocabulary.
 *
 * @param {object} shape
 * @param {boolean} [shape.saturated] Whether biases keep the input of every GELU so far from 0 that every form of
 *   GELU returns the input or 0.
 */
export async function writeRandomCheckpoint(
  folder,
  { width, heads, layers, context, seed, saturated = false },
) {
  const { vocab, merges } = gpt2Vocabulary();
  const vocabSize = Object.keys(vocab).length;
  const config = {
    model_type: 'gpt2',
    activation_function: 'gelu_new',
    vocab_size: vocabSize,
    n_positions: context,
    n_embd: width,
    n_head: heads,
    n_layer: layers,
    layer_norm_epsilon: 1e-5,
    eos_token_id: vocab['<|endoftext|>'],
    tie_word_embeddings: true,
  };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(join(folder, 'vocab.json'), JSON.stringify(vocab));
  await writeFile(join(folder, 'merges.txt'), `#version: 0.2\n${merges.join('\n')}\n`);
  await writeFile(
    join(folder, 'model.safetensors'),
    safetensors(randomTensors(config, saturated, seededRandom(seed))),
  );
}

/** Tensors as [name, shape, numbers], with scales at which every part of the model has an effect. */
function randomTensors({ vocab_size, n_positions, n_embd: width, n_layer }, saturated, random) {
  const tensor = (name, shape, scale, mean = 0) => {
    const numbers = new Float32Array(shape.reduce((product, length) => product * length, 1));
    // The sum of three is almost normally distributed, with a standard deviation of 0.5.
    for (let index = 0; index < numbers.length; index++) {
      numbers[index] = mean + scale * 2 * (random() + random() + random() - 1.5);
    }
    return [name, shape, numbers];
  };
  const linear = (name, inputs, outputs) => [
    tensor(`${name}.weight`, [inputs, outputs], 1 / Math.sqrt(inputs)),
    tensor(`${name}.bias`, [outputs], 0.1),
  ];
  const feedForwardUp = (name, outputs) => {
    const [weight, bias] = linear(name, width, outputs);
    const [, , numbers] = bias;
    // Mostly positive, where GELU returns its input, so that nearly every weight has an effect.
    if (saturated) for (const index of numbers.keys()) numbers[index] += index % 8 ? 18 : -18;
    return [weight, bias];
  };
  const norm = (name) => [
    tensor(`${name}.weight`, [width], 0.2, 1),
    tensor(`${name}.bias`, [width], 0.1),
  ];
  return [
    tensor('wte.weight', [vocab_size, width], 0.15),
    tensor('wpe.weight', [n_positions, width], 0.05),
    ...Array.from({ length: n_layer }, (_, layer) => [
      ...norm(`h.${layer}.ln_1`),
      ...linear(`h.${layer}.attn.c_attn`, width, 3 * width),
      ...linear(`h.${layer}.attn.c_proj`, width, width),
      ...norm(`h.${layer}.ln_2`),
      ...feedForwardUp(`h.${layer}.mlp.c_fc`, 4 * width),
      ...linear(`h.${layer}.mlp.c_proj`, 4 * width, width),
    ]).flat(),
    ...norm('ln_f'),
  ];
}

function safetensors(tensors) {
  let end = 0;
  const header = Object.fromEntries(
    tensors.map(([name, shape, numbers]) => {
      const start = end;
      end += numbers.byteLength;
      return [name, { dtype: 'F32', shape, data_offsets: [start, end] }];
    }),
  );
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([
    length,
    json,
    ...tensors.map(([, , numbers]) => Buffer.from(numbers.buffer)),
  ]);
}
