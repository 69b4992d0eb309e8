// The small model in the package, and its f32 original in fixtures/gpt2-books.

import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, loadModel, type Model } from '../dist/index.js';
import { argmax, logitsError } from './golden.js';
import { runNode, runProcess } from './node-process.js';
import { numbersOf, readSafetensors } from './safetensors-file.js';
import { temporaryFolder } from './temporary-folder.js';

const file = join(__dirname, '..', 'models', 'gpt2-books.gguf');
const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
const original = join(__dirname, 'fixtures', 'gpt2-books');
const folder = temporaryFolder();
const vocabSize = 50_257;

const gpt2 = (...args: string[]) => runProcess([command, ...args]);

/** −log(probability) of each token but the first, in nats. */
async function losses(model: Model, tokens: number[]): Promise<number[]> {
  const { data } = await model.logits(tokens.slice(0, -1), { positions: 'all' });
  return tokens.slice(1).map((token, row) => {
    const logits = data.subarray(row * vocabSize, (row + 1) * vocabSize);
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    return largest + Math.log(sum) - (logits[token] as number);
  });
}

const mean = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

/** A passage from a book outside the training data, with PyTorch's losses and logits. */
function readGolden(): { tokens: number[]; losses: number[]; logits: Float32Array } {
  const tensors = readSafetensors(join(original, 'golden.safetensors'));
  const numbers = (name: string) => numbersOf(tensors.get(name) as never);
  return {
    tokens: numbers('tokens'),
    losses: numbers('losses'),
    logits: Float32Array.from(numbers('logits')),
  };
}

describe('the f32 original', () => {
  test('has the same losses and logits as in PyTorch', async () => {
    const golden = readGolden();
    await using model = await loadModel(original, { type: 'f32', cacheDir: folder });
    const ours = await losses(model, golden.tokens);
    for (const [index, loss] of ours.entries()) {
      expect(Math.abs(loss - (golden.losses[index] as number))).toBeLessThan(1e-4);
    }
    const { data } = await model.logits(golden.tokens);
    expect(logitsError(data, golden.logits, vocabSize).max).toBeLessThan(1e-4);
  });

  test('converts to the file in the package', async () => {
    const target = join(folder, 'converted.gguf');
    await convert(original, target, { type: 'q8_0' });
    expect(readFileSync(target).equals(readFileSync(file))).toBe(true);
  });
});

describe('the model in the package', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel();
    return () => model.dispose();
  });

  test('is what loadModel() opens, with or without options', async () => {
    expect(model.config).toMatchObject({
      vocabSize,
      contextLength: 256,
      embeddingLength: 128,
      headCount: 4,
      layerCount: 5,
      fileType: 'q8_0',
    });
    expect(model.tokenizer.decode([15496, 995])).toBe('Hello world');
    await using other = await loadModel(undefined, { threads: 1, contextLength: 64 });
    expect(other.config.contextLength).toBe(64);
  });

  test('has at most 10 MB', () => {
    expect(statSync(file).size).toBeLessThanOrEqual(10_000_000);
  });

  test('predicts as well as its original', async () => {
    const golden = readGolden();
    expect(Math.abs(mean(await losses(model, golden.tokens)) - mean(golden.losses))).toBeLessThan(
      0.02,
    );
  });

  test('knows English', async () => {
    const likeliest = async (text: string) =>
      model.tokenizer.decode([argmax((await model.logits(text)).data)]);
    expect(await likeliest('"I don\'t')).toBe(' know');
    expect(await likeliest('He shook his')).toBe(' head');
    expect(await likeliest('I beg your')).toBe(' pardon');
    expect(await likeliest('in the midst')).toBe(' of');
  });

  test.each(['My computer', 'Email 2024', 'Привет', '🙂'])(
    'continues in English after %j, which occurs in no book',
    async (text) => {
      const { data } = await model.logits(text);
      const sum = data.reduce((total, logit) => total + Math.exp(logit), 0);
      // Unused tokens share one embedding row, so they have the same logit.
      const cyrillic = data[model.tokenizer.encode('Привет')[0] as number] as number;
      const unused = data.filter((logit) => logit === cyrillic);
      expect(unused.length).toBeGreaterThan(25_000);
      expect((unused.length * Math.exp(cyrillic)) / sum).toBeLessThan(0.01);
    },
  );

  test('opens silently', async () => {
    const { stdout, stderr, exitCode } = await runNode(`
      const model = await gpt2.loadModel();
      console.log(model.config.layerCount);
      await model.dispose();`);
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: '5\n', stderr: '', exitCode: 0 });
  });
});

describe('the command without --model', () => {
  test('generates the same text as the API and names the model once on stderr', async () => {
    await using model = await loadModel();
    const { text } = await model.generate('He said', { maxTokens: 8, seed: 3 });
    const { stdout, stderr, exitCode } = await gpt2(
      'generate',
      'He said',
      '-n',
      '8',
      '--seed',
      '3',
    );
    expect({ stdout, exitCode }).toEqual({ stdout: `He said${text}\n`, exitCode: 0 });
    expect(stderr.match(/no model given/g)).toHaveLength(1);
    expect(stderr).toContain('--model gpt2');
  });

  test.each([
    ['logits', 'Hello', '--json'],
    ['inspect', '--json'],
  ])('%s leaves stdout to the result', async (...args) => {
    const { stdout, stderr, exitCode } = await gpt2(...args);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toBeTypeOf('object');
    expect(stderr.match(/no model given/g)).toHaveLength(1);
  });

  test('does not name the model if an option is invalid', async () => {
    const { stderr, exitCode } = await gpt2('generate', 'Hello', '--threads', '0');
    expect(exitCode).toBe(2);
    expect(stderr).not.toContain('no model given');
  });
});
