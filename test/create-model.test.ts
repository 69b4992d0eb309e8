// Untrained models: their sizes, their initialisation and their seeds.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createModel, type Gpt2Config, type PresetName } from '../dist/index.js';
import { failure } from './failure.js';
import { runProcess } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const cacheDir = join(root, 'cache');
const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');

const small: Gpt2Config = {
  vocab_size: 1000,
  context_length: 32,
  emb_dim: 256,
  n_heads: 4,
  n_layers: 2,
  drop_rate: 0.1,
  qkv_bias: false,
};

function standardDeviation(numbers: Float32Array): number {
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const squares = numbers.reduce((sum, number) => sum + (number - mean) ** 2, 0);
  return Math.sqrt(squares / numbers.length);
}

const describePreset = async (...args: string[]) => {
  const { stdout, stderr, exitCode } = await runProcess([command, 'describe', ...args]);
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return stdout;
};

describe('createModel', () => {
  test('accepts the config of "Build a Large Language Model (From Scratch)"', async () => {
    await using model = await createModel(small, { cacheDir, threads: 1 });
    // Counted by hand: embeddings; per layer two norms, 256 × 768 without bias, and 256 × 256, 256 × 1024 and
    // 1024 × 256 with biases; the final norm.
    const layer = 4 * 256 + 256 * 768 + 257 * 256 + 257 * 1024 + 1025 * 256;
    expect(model.config).toMatchObject({
      vocabSize: 1000,
      contextLength: 32,
      embeddingLength: 256,
      headCount: 4,
      layerCount: 2,
      feedForwardLength: 1024,
      fileType: 'f32',
      headIsTied: true,
      parameterCount: 1032 * 256 + 2 * layer + 512,
    });
    expect(existsSync(cacheDir) ? readdirSync(cacheDir) : []).toEqual([]);
    const { tokens } = await model.generate([1, 2, 3], { maxTokens: 5 });
    expect(tokens).toHaveLength(5);
  });

  test('has query, key and value biases by default', async () => {
    const { qkv_bias: _, ...rest } = small;
    await using without = await createModel(small, { cacheDir });
    await using model = await createModel(rest, { cacheDir });
    expect(model.config.parameterCount - without.config.parameterCount).toBe(2 * 3 * 256);
  });

  test("has logits with the standard deviation that GPT-2's initialisation gives", async () => {
    // The final norm's output has a standard deviation of 1, the head's weights one of 0.02: √256 × 0.02 = 0.32.
    await using model = await createModel(small, { cacheDir, seed: 1 });
    const { data } = await model.logits([5, 6, 7], { positions: 'all' });
    expect(standardDeviation(data)).toBeGreaterThan(0.3);
    expect(standardDeviation(data)).toBeLessThan(0.34);
  });

  test('is reproducible with a seed and differs otherwise', async () => {
    const logits = async (seed?: number) => {
      await using model = await createModel(small, { cacheDir, seed });
      return (await model.logits([1, 2, 3])).data;
    };
    const [first, again, other, drawn, drawnAgain] = [
      await logits(7),
      await logits(7),
      await logits(8),
      await logits(),
      await logits(),
    ];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    expect(drawn).not.toEqual(drawnAgain);
  });

  test("tokenizes text with GPT-2's vocabulary", async () => {
    const config = { ...small, vocab_size: 50_257, emb_dim: 32 };
    await using model = await createModel(config, { cacheDir, type: 'q8_0' });
    const { text, tokens } = await model.generate('Hello world', { maxTokens: 4, seed: 1 });
    expect(tokens).toHaveLength(4);
    expect(model.tokenizer.decode(tokens)).toBe(text);
    expect(model.config.fileType).toBe('q8_0');
  });

  test('leaves nothing behind if it is aborted', async () => {
    const folder = freshFolder(root);
    const controller = new AbortController();
    const creating = createModel('124M', {
      cacheDir: folder,
      signal: controller.signal,
      onProgress: ({ done }) => {
        if (done > 0) controller.abort();
      },
    });
    await expect(creating).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each<[string, unknown, RegExp]>([
    ['no config', undefined, /the config to be an object or one of 124M, 355M, 774M, 1558M/],
    ['an unknown size', '125M', /the config to be .* but received "125M"/],
    ['a missing size', { ...small, n_heads: undefined }, /n_heads to be a whole number/],
    ['a size of 0', { ...small, n_layers: 0 }, /n_layers to be a whole number/],
    [
      'a width that is no multiple of the heads',
      { ...small, n_heads: 3 },
      /emb_dim to be a multiple/,
    ],
    ['a rate above 1', { ...small, drop_rate: 1.5 }, /drop_rate to be a number from 0 to 1/],
    ['a bias that is not a boolean', { ...small, qkv_bias: 1 }, /qkv_bias to be/],
  ])('rejects %s', async (_, config, message) => {
    const error = await failure('INVALID_ARGUMENT', () => createModel(config as PresetName));
    expect(error.message).toMatch(message);
  });

  test('rejects unknown settings and options', async () => {
    const config = { ...small, n_head: 4 } as Gpt2Config;
    await failure('UNKNOWN_OPTION', () => createModel(config));
    await failure('UNKNOWN_OPTION', () => createModel(small, { seeds: 1 } as object));
    await failure('INVALID_ARGUMENT', () => createModel(small, { seed: -1 }));
  });

  test('names a folder that it cannot write to', async () => {
    const options = { cacheDir: join(__filename, 'folder') };
    const { message } = await failure('FILE_UNWRITABLE', () => createModel(small, options));
    expect(message).toContain(options.cacheDir);
  });
});

describe('gpt2 describe', () => {
  // Counted in the weights that OpenAI published.
  test.each<[string, number]>([
    ['124M', 124_439_808],
    ['117M', 124_439_808],
    ['355M', 354_823_168],
    ['774M', 774_030_080],
    ['1558M', 1_557_611_200],
  ])('%s has %i parameters', async (preset, count) => {
    const { parameterCount, weightBytes, cache, contextLength } = JSON.parse(
      await describePreset(preset, '--json'),
    );
    expect(parameterCount).toBe(count);
    expect(weightBytes).toBe(4 * count);
    expect(contextLength).toBe(1024);
    expect(cache.tokens).toBe(1024);
  });

  test('shows the layers and the memory for weights and cache', async () => {
    const text = await describePreset('124M', '--context', '100');
    expect(text).toContain('12 layers of width 768, 12 heads of 64, context 1,024, 50,257 tokens');
    expect(text).toMatch(/token embedding +50,257 × 768 +38,597,376 +154 MB/);
    expect(text).toMatch(/queries, keys, values +768 → 2,304 +1,771,776 +7\.09 MB/);
    expect(text).toMatch(/head: the token embedding +768 → 50,257 +0$/m);
    expect(text).toContain('124,439,808 parameters, 498 MB');
    // 2 × 12 layers × 768 × 100 tokens × 4 bytes
    expect(text).toContain('keys and values of 100 tokens: 7.37 MB in f32, 3.69 MB in f16');
  });

  test('computes the size in other types', async () => {
    const { weightBytes } = JSON.parse(await describePreset('124M', '--type', 'q8_0', '--json'));
    expect(weightBytes).toBeGreaterThan(124_439_808);
    expect(weightBytes).toBeLessThan(124_439_808 * 1.08);
  });

  test('describes a file', async () => {
    const path = join(__dirname, '..', 'models', 'gpt2-books.gguf');
    const { parameterCount, layerCount, headCount } = JSON.parse(
      await describePreset(path, '--json'),
    );
    expect({ parameterCount, layerCount, headCount }).toEqual({
      parameterCount: 7_457_280,
      layerCount: 5,
      headCount: 4,
    });
  });
});
