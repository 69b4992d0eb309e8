// Compares logits with those of a PyTorch model that shares no code with the library and computes in double precision
// (scripts/reference). Errors are in units of the standard deviation of the reference logits.

import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { convert, type LoadOptions, loadModel, type TensorType } from '../dist/index.js';
import { addon } from '../dist/native/addon.js';
import { changedFixture, readConfig, readTensors, writeCheckpoint } from './checkpoint-folder.js';
import { type GgufTensor, ggufNumbers, readGguf } from './gguf-reader.js';
import {
  type FixtureName,
  fixtureFolder,
  fixtureNames,
  logitsError,
  readGolden,
} from './golden.js';
import { numbersOf, readSafetensors, type StoredTensor } from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const cacheDir = temporaryFolder();
// One thread, since vitest runs test files in parallel and spinning threads would slow each other down.
const loading = { cacheDir, threads: 1 };

async function errorOf(name: FixtureName, options: LoadOptions) {
  const { tokens, logits, vocabSize } = readGolden(name);
  await using model = await loadModel(fixtureFolder(name), { ...loading, ...options });
  const { data, shape } = await model.logits(tokens, { positions: 'all' });
  expect(shape).toEqual([tokens.length, vocabSize]);
  return { ...logitsError(data, logits, vocabSize), config: model.config };
}

describe('with weights, keys and values in f32', () => {
  test.each(fixtureNames)('%s agrees with PyTorch to float32 rounding', async (name) => {
    const { max, argmaxAgreement, config } = await errorOf(name, {
      type: 'f32',
      cacheType: 'f32',
    });
    expect(config).toMatchObject({ fileType: 'f32', cacheType: 'f32' });
    // The documentation promises 1e-4; rounding in float32 causes about 3e-6.
    expect(max).toBeLessThan(2e-5);
    expect(argmaxAgreement).toBe(1);
  });

  test('a file read into memory gives the same logits as a mapped one', async () => {
    const { tokens } = readGolden('wide');
    const logits = await Promise.all(
      [true, false].map(async (mmap) => {
        await using model = await loadModel(fixtureFolder('wide'), { ...loading, mmap });
        return (await model.logits(tokens, { positions: 'all' })).data;
      }),
    );
    expect(logits[0]).toEqual(logits[1]);
  });
});

describe('with the activation of the config', () => {
  const golden = readSafetensors(join(__dirname, 'fixtures', 'activations.safetensors'));

  test.each([
    ['odd-heads', 'gelu', 'gelu'],
    ['odd-heads', 'gelu_python', 'gelu'],
    ['odd-heads', 'relu', 'relu'],
    ['odd-heads', 'silu', 'silu'],
    ['odd-heads', 'swish', 'silu'],
    ['head-size-5', 'gelu', 'gelu'],
    ['odd-heads', 'gelu_fast', undefined],
    ['odd-heads', 'gelu_accurate', undefined],
    ['odd-heads', 'gelu_pytorch_tanh', undefined],
    ['head-size-5', 'gelu_python_tanh', undefined],
    ['head-size-5', null, undefined],
  ] as const)('%s with %s agrees with PyTorch', async (name, activation, written) => {
    const folder = changedFixture(freshFolder(cacheDir), name, {
      config: { activation_function: activation },
    });
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    // The metadata says which activation it is, unless it is GPT-2's, which llama.cpp computes.
    const { metadata } = readGguf(path);
    expect(metadata.get('gpt2_native.activation_function')).toBe(written);
    const note = metadata.get('general.description');
    if (written) expect(note).toMatch(new RegExp(`activation is ${written} .* llama\\.cpp`));
    else expect(note).toBeUndefined();

    const { tokens, logits, vocabSize } = readGolden(name);
    const own = golden.get(`${name}.${written}`);
    const expected = own ? Float32Array.from(numbersOf(own)) : logits;
    await using model = await loadModel(path, loading);
    const all = await model.logits(tokens, { positions: 'all' });
    expect(logitsError(all.data, expected, vocabSize).max).toBeLessThan(2e-5);
    // One token at a time.
    const session = model.createSession();
    let data: Float32Array | undefined;
    for (const token of tokens) ({ data } = await session.evaluate([token]));
    expect(data).toEqual(all.data.slice(-vocabSize));
  });

  test('a quantised file keeps it', async () => {
    const folder = changedFixture(freshFolder(cacheDir), 'odd-heads', {
      config: { activation_function: 'silu' },
    });
    const [own, quantised] = ['own.gguf', 'q8_0.gguf'].map((file) => join(folder, file)) as [
      string,
      string,
    ];
    await convert(folder, own);
    await convert(own, quantised, { type: 'q8_0' });
    expect(readGguf(quantised).metadata.get('gpt2_native.activation_function')).toBe('silu');
  });
});

describe('with the scale of attention scores of the config', () => {
  const golden = readSafetensors(join(__dirname, 'fixtures', 'score-scales.safetensors'));

  test.each([
    ['by-layer', { scale_attn_by_inverse_layer_idx: true }],
    ['unscaled', { scale_attn_weights: false }],
    ['both', { scale_attn_by_inverse_layer_idx: true, scale_attn_weights: false }],
  ] as const)('%s agrees with PyTorch', async (name, config) => {
    const folder = changedFixture(freshFolder(cacheDir), 'head-size-5', { config });
    const { tokens, vocabSize } = readGolden('head-size-5');
    const expected = Float32Array.from(numbersOf(golden.get(name) as StoredTensor));
    for (const [type, bound] of [
      ['f32', 2e-5],
      ['f16', 0.02],
    ] as const) {
      await using model = await loadModel(folder, { ...loading, type });
      const { data } = await model.logits(tokens, { positions: 'all' });
      expect(logitsError(data, expected, vocabSize).max).toBeLessThan(bound);
    }
  });

  test('only the queries are multiplied, each layer by its factor', async () => {
    const tensors = readTensors('odd-heads');
    const width = 24;
    const config = { ...readConfig('odd-heads'), scale_attn_by_inverse_layer_idx: true };
    const path = join(freshFolder(cacheDir), 'scaled.gguf');
    await convert(writeCheckpoint(freshFolder(cacheDir), config, tensors), path);
    const scaled = readGguf(path).tensors;
    const plainPath = join(freshFolder(cacheDir), 'plain.gguf');
    await convert(fixtureFolder('odd-heads'), plainPath);
    for (const [name, tensor] of readGguf(plainPath).tensors) {
      const layer = Number(/^blk\.(\d+)\.attn_qkv\./.exec(name)?.[1] ?? -1);
      const count = name.endsWith('.bias') ? width : width * width;
      const numbers = ggufNumbers(tensor).map((number, i) =>
        layer >= 0 && i < count ? number / (layer + 1) : number,
      );
      expect(ggufNumbers(scaled.get(name) as GgufTensor)).toEqual(numbers); // 1 and ½ are exact
    }
  });
});

// Quantised types have blocks of 32 or 256 elements of a row. Rows whose length is no multiple stay in f16.
const kinds: Record<FixtureName, 'odd' | 'blocks of 32' | 'blocks of 256'> = {
  'odd-heads': 'odd',
  'head-size-5': 'odd',
  'own-head-no-bias': 'odd',
  'f16-sharded': 'blocks of 32',
  bf16: 'blocks of 32',
  wide: 'blocks of 256',
};

// About twice the measured errors. rms and max are in standard deviations of the logits; argmax is the minimum share of
// positions with the same most likely token. The fixtures' random weights are large, so rounding errors are several
// times those of a trained model.
interface Bounds {
  rms: number;
  max: number;
  argmax: number;
}
const bounds: Record<string, Record<(typeof kinds)[FixtureName], Bounds>> = {
  f16: {
    odd: { rms: 0.003, max: 0.02, argmax: 0.95 },
    'blocks of 32': { rms: 0.002, max: 0.012, argmax: 0.98 },
    'blocks of 256': { rms: 0.0025, max: 0.013, argmax: 0.95 },
  },
  bf16: {
    odd: { rms: 0.018, max: 0.1, argmax: 0.87 },
    'blocks of 32': { rms: 0.02, max: 0.14, argmax: 0.95 },
    'blocks of 256': { rms: 0.018, max: 0.11, argmax: 0.87 },
  },
  q8_0: {
    odd: { rms: 0.012, max: 0.055, argmax: 0.94 },
    'blocks of 32': { rms: 0.055, max: 0.3, argmax: 0.87 },
    'blocks of 256': { rms: 0.057, max: 0.4, argmax: 0.81 },
  },
  q4_0: {
    odd: { rms: 0.11, max: 0.6, argmax: 0.87 },
    'blocks of 32': { rms: 0.54, max: 4.6, argmax: 0.3 },
    'blocks of 256': { rms: 0.57, max: 3.6, argmax: 0.3 },
  },
  q4_k: {
    odd: { rms: 0.11, max: 0.6, argmax: 0.87 },
    'blocks of 32': { rms: 0.54, max: 4.5, argmax: 0.3 },
    'blocks of 256': { rms: 0.44, max: 2.4, argmax: 0.3 },
  },
};

describe('with smaller weights', () => {
  for (const [type, ofType] of Object.entries(bounds)) {
    test.each(fixtureNames)(`%s in ${type} stays within its bounds`, async (name) => {
      const { rms, max, argmaxAgreement } = await errorOf(name, {
        type: type as TensorType,
      });
      const bound = ofType[kinds[name]];
      expect(rms).toBeLessThan(bound.rms);
      expect(max).toBeLessThan(bound.max);
      expect(argmaxAgreement).toBeGreaterThanOrEqual(bound.argmax);
    });
  }

  test.each(fixtureNames)(
    '%s in its own type stays within the bounds of that type',
    async (name) => {
      const { rms, max, config } = await errorOf(name, {});
      const own = { 'f16-sharded': 'f16', wide: 'f16', bf16: 'bf16' }[name as string] ?? 'f32';
      expect(config).toMatchObject({
        fileType: own,
        cacheType: own === 'f32' ? 'f32' : 'f16',
      });
      const bound = own === 'f32' ? { rms: 5e-6, max: 2e-5 } : bounds[own]?.[kinds[name]];
      expect(rms).toBeLessThan(bound?.rms ?? 0);
      expect(max).toBeLessThan(bound?.max ?? 0);
    },
  );

  test.each(fixtureNames)(
    '%s in f32 with keys and values in f16 has only their rounding errors',
    async (name) => {
      const { rms, max, argmaxAgreement, config } = await errorOf(name, {
        type: 'f32',
        cacheType: 'f16',
      });
      expect(config).toMatchObject({ fileType: 'f32', cacheType: 'f16' });
      expect(rms).toBeLessThan(0.0014);
      expect(max).toBeLessThan(0.01);
      // The option has an effect.
      expect(rms).toBeGreaterThan(1e-5);
      expect(argmaxAgreement).toBeGreaterThanOrEqual(0.97);
    },
  );
});

describe('the types in a converted file', () => {
  // Determined by the row length: the width for most matrices, the inner width for ffn_down.
  const vectors = {
    'blk.1.attn_norm.weight': 'f32',
    'blk.1.attn_qkv.bias': 'f32',
    'output_norm.bias': 'f32',
  };
  test.each<[FixtureName, TensorType, Record<string, string>]>([
    // rows of 256 and 1024
    [
      'wide',
      'q4_k',
      {
        token_embd: 'q8_0',
        position_embd: 'f16',
        ffn_up: 'q4_k',
        ffn_down: 'q4_k',
      },
    ],
    [
      'wide',
      'q6_k',
      {
        token_embd: 'q6_k',
        position_embd: 'f16',
        ffn_up: 'q6_k',
        ffn_down: 'q6_k',
      },
    ],
    [
      'wide',
      'q4_0',
      {
        token_embd: 'q8_0',
        position_embd: 'f16',
        ffn_up: 'q4_0',
        ffn_down: 'q4_0',
      },
    ],
    [
      'wide',
      'q8_0',
      {
        token_embd: 'q8_0',
        position_embd: 'f16',
        ffn_up: 'q8_0',
        ffn_down: 'q8_0',
      },
    ],
    [
      'wide',
      'bf16',
      {
        token_embd: 'bf16',
        position_embd: 'bf16',
        ffn_up: 'bf16',
        ffn_down: 'bf16',
      },
    ],
    // rows of 64 and 256: k-quants fit the second only
    [
      'bf16',
      'q4_k',
      {
        token_embd: 'q8_0',
        position_embd: 'f16',
        ffn_up: 'q4_0',
        ffn_down: 'q4_k',
      },
    ],
    [
      'bf16',
      'q6_k',
      {
        token_embd: 'q8_0',
        position_embd: 'f16',
        ffn_up: 'q8_0',
        ffn_down: 'q6_k',
      },
    ],
    [
      'bf16',
      'f16',
      {
        token_embd: 'f16',
        position_embd: 'f16',
        ffn_up: 'f16',
        ffn_down: 'f16',
      },
    ],
    // rows of 24 and 96
    [
      'odd-heads',
      'q4_k',
      {
        token_embd: 'f16',
        position_embd: 'f16',
        ffn_up: 'f16',
        ffn_down: 'q4_0',
      },
    ],
    [
      'odd-heads',
      'q8_0',
      {
        token_embd: 'f16',
        position_embd: 'f16',
        ffn_up: 'f16',
        ffn_down: 'q8_0',
      },
    ],
    // rows of 35 and 50: nothing fits
    [
      'head-size-5',
      'q5_1',
      {
        token_embd: 'f16',
        position_embd: 'f16',
        ffn_up: 'f16',
        ffn_down: 'f16',
      },
    ],
  ])(
    '%s as %s: matrices fall back if blocks do not fit, vectors stay f32',
    async (name, type, matrices) => {
      const path = join(cacheDir, `types-${name}-${type}.gguf`);
      await convert(fixtureFolder(name), path, { type });
      const { tensors } = await addon().inspectGguf(path);
      const types = Object.fromEntries(tensors.map((tensor) => [tensor.name, tensor.type]));
      expect(types).toMatchObject({
        ...vectors,
        'token_embd.weight': matrices.token_embd,
        'position_embd.weight': matrices.position_embd,
        'blk.0.attn_qkv.weight': matrices.ffn_up,
        'blk.1.attn_output.weight': matrices.ffn_up,
        'blk.0.ffn_up.weight': matrices.ffn_up,
        'blk.1.ffn_down.weight': matrices.ffn_down,
      });
    },
  );
});
