// examples/compress: files by an arithmetic coder on a model's probabilities. The encoder evaluates many tokens in a call
// and the decoder one, so every round trip is also a test of equal logits.

import { createHash, randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadModel, type Model } from '../dist/index.js';
import { gpt2Tokenizer, loadTokenizer } from '../dist/tokenizer.js';
import {
  ArithmeticDecoder,
  ArithmeticEncoder,
  total,
} from '../examples/compress/arithmetic-coder.mjs';
import { decodeBytes, encodeBytes } from '../examples/compress/byte-tokens.mjs';
import { compress, decompress } from '../examples/compress/compressor.mjs';
import { type Coded, headerLength, readContainer } from '../examples/compress/container.mjs';
import { cumulativeFrequencies, exp } from '../examples/compress/frequencies.mjs';
import { uniformNumbers, writeRandomModel } from './checkpoint-folder.js';
import { runProcess } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';
import { german } from './vocabularies/texts.mjs';
import { vocabularies, writeTokenizerJson } from './vocabularies/vocabularies.mjs';

const folder = temporaryFolder();
const cacheDir = join(folder, 'cache');

/** Logits from −20 to 0, in any engine the same. */
function randomLogits(count: number, seed: number): Float32Array {
  const next = uniformNumbers(seed);
  return Float32Array.from({ length: count }, () => -20 * next() ** 2);
}

function encode(cumulative: Float64Array, symbols: readonly number[]): Uint8Array {
  const encoder = new ArithmeticEncoder();
  for (const symbol of symbols) encoder.encode(cumulative, symbol);
  return encoder.finish();
}

function decode(cumulative: Float64Array, bytes: Uint8Array, count: number): number[] {
  const decoder = new ArithmeticDecoder(bytes);
  return Array.from({ length: count }, () => decoder.decode(cumulative));
}

const frequencyOf = (cumulative: Float64Array, symbol: number) =>
  (cumulative[symbol + 1] as number) - (cumulative[symbol] as number);

describe('the arithmetic coder', () => {
  test('codes the example of Witten, Neal and Cleary', () => {
    const letters = 'aeiou!';
    const cumulative = Float64Array.from([0, 0.2, 0.5, 0.6, 0.8, 0.9, 1], (end) =>
      Math.round(end * total),
    );
    const message = [...'eaii!'].map((letter) => letters.indexOf(letter));
    const bytes = encode(cumulative, message);
    const number = bytes.reduceRight((value, byte) => (value + byte) / 256, 0);
    expect(number).toBeGreaterThan(0.23354 - 1e-7);
    expect(number).toBeLessThan(0.2336 + 1e-7);
    expect(decode(cumulative, bytes, message.length)).toEqual(message);
  });

  test('needs as many bits as the symbols have surprisal, and at most one byte more', () => {
    const cumulative = cumulativeFrequencies(randomLogits(500, 1));
    const next = uniformNumbers(2);
    const draw = () => {
      const place = next() * total;
      return cumulative.findIndex((end) => end > place) - 1;
    };
    for (const count of [1, 10, 1000, 5000]) {
      const symbols = Array.from({ length: count }, draw);
      const surprisal = symbols.reduce(
        (bits, symbol) => bits - Math.log2(frequencyOf(cumulative, symbol) / total),
        0,
      );
      const bytes = encode(cumulative, symbols);
      expect(8 * bytes.length - surprisal).toBeGreaterThan(-1);
      expect(8 * bytes.length - surprisal).toBeLessThan(9);
      expect(decode(cumulative, bytes, count)).toEqual(symbols);
    }
  });

  test('restores symbols of every frequency, with carries', () => {
    const ends = fc.uniqueArray(fc.integer({ min: 1, max: total - 1 }), { maxLength: 6 });
    const extremes = fc.constantFrom([1], [total - 1], [1, total - 1], [1, 2, 3], [total / 2]);
    fc.assert(
      fc.property(
        fc.oneof(ends, extremes),
        fc.array(fc.nat(6), { maxLength: 60 }),
        (parts, raw) => {
          const cumulative = Float64Array.of(0, ...parts.toSorted((a, b) => a - b), total);
          const symbols = raw.map((symbol) => symbol % (cumulative.length - 1));
          expect(decode(cumulative, encode(cumulative, symbols), symbols.length)).toEqual(symbols);
        },
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  test('does not read beyond the end', () => {
    const cumulative = Float64Array.of(0, total / 2, total);
    expect(() => decode(cumulative, encode(cumulative, [0, 1]), 100)).toThrow('end too early');
    expect(() => new ArithmeticDecoder(new Uint8Array(0))).toThrow('end too early');
  });
});

describe('frequencies', () => {
  test('have an exponential function that is exact enough', () => {
    for (let x = 0; x > -16.6; x -= 0.0137) {
      expect(Math.abs(exp(x) / Math.exp(x) - 1)).toBeLessThan(2e-7);
    }
    expect([exp(0), exp(-17), exp(-1e9), exp(Number.NEGATIVE_INFINITY)]).toEqual([1, 0, 0, 0]);
  });

  test('are those of the softmax, at least 1, and add up to the total', () => {
    for (const [count, seed] of [
      [2, 1],
      [300, 2],
      [50_257, 3],
    ] as const) {
      const logits = randomLogits(count, seed);
      const largest = logits.reduce((a, b) => Math.max(a, b));
      const sum = logits.reduce((all, logit) => all + Math.exp(logit - largest), 0);
      const cumulative = cumulativeFrequencies(logits);
      expect(cumulative).toHaveLength(count + 1);
      expect([cumulative[0], cumulative[count]]).toEqual([0, total]);
      const differences = [...logits].map(
        (logit, token) =>
          frequencyOf(cumulative, token) -
          (1 + ((total - count) * Math.exp(logit - largest)) / sum),
      );
      const likeliest = logits.indexOf(largest);
      expect(differences[likeliest]).toBeLessThan(count);
      differences[likeliest] = 0;
      expect(Math.max(...differences.map(Math.abs))).toBeLessThan(1 + 2e-7 * total);
      expect(cumulative.every((end, i) => i === 0 || end > (cumulative[i - 1] as number))).toBe(
        true,
      );
    }
  });

  test('of extreme logits', () => {
    expect(cumulativeFrequencies(Float32Array.of(-Infinity, 3e38, -3e38))).toEqual(
      Float64Array.of(0, 1, total - 1, total),
    );
    expect(cumulativeFrequencies(new Float32Array(4))).toEqual(
      Float64Array.of(0, 1, 2, 3, 4).map((share) => (share * total) / 4),
    );
    for (const bad of [Number.NaN, Infinity]) {
      expect(() => cumulativeFrequencies(Float32Array.of(0, bad, 0))).toThrow('finite');
    }
  });

  // If this fails, files of other machines or of earlier versions cannot be read: the format needs a new version.
  test('are the same on every platform', () => {
    const cumulative = cumulativeFrequencies(randomLogits(50_257, 4));
    expect(createHash('sha256').update(cumulative.join()).digest('hex')).toBe(
      'd824422c17ed2e1cbfe8ef818e138fbfcb82750ee330ec15e2ae4124f1158e3c',
    );
  });
});

describe('bytes as tokens', () => {
  const restore = (bytes: Buffer) => {
    const tokens = encodeBytes(gpt2Tokenizer, bytes);
    expect(decodeBytes(gpt2Tokenizer, tokens).equals(bytes)).toBe(true);
    return tokens;
  };

  test.each<[string, Buffer]>([
    ['NUL', Buffer.from('a\0b\0')],
    ['a byte order mark', Buffer.from('\ufeffa')],
    ['line ends', Buffer.from('a\r\nb\rc\n')],
    ['a lone surrogate', Buffer.from('61eda08062', 'hex')],
    ['overlong forms', Buffer.from('c080e08080f0808080', 'hex')],
    ['code points beyond the last', Buffer.from('f4908080f8808080', 'hex')],
    ['characters that are cut', Buffer.from('e282f09f98', 'hex')],
    ['the replacement character', Buffer.from('\ufffd\ufffd')],
    ['a special token', Buffer.from('a<|endoftext|>b')],
  ])('restore %s', (_, bytes) => {
    restore(bytes);
  });

  test('are those of the text if they are UTF-8', () => {
    const text = 'The ship – “Espoir” – left. 🙂';
    expect(restore(Buffer.from(text))).toEqual([...gpt2Tokenizer.encode(text)]);
  });

  test('restore random bytes, random text, and both in turns', () => {
    const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
    const text = fc.string({ unit: 'binary', maxLength: 40 }).map((string) => Buffer.from(string));
    fc.assert(
      fc.property(fc.array(fc.oneof(bytes, text), { maxLength: 4 }), (parts) => {
        restore(Buffer.concat(parts));
      }),
      { seed: 1, numRuns: 60 },
    );
  });

  test('are refused if the tokenizer adds a space', async () => {
    const place = freshFolder(folder);
    writeRandomModel(place, { vocabulary: 2000, context: 16, width: 8 });
    const tokenizer = await loadTokenizer(
      writeTokenizerJson(place, vocabularies['like RoBERTa’s']),
    );
    expect(() => encodeBytes(tokenizer, Buffer.from('der Weg'))).toThrow('changes the text');
  });
});

describe('with a small vocabulary', () => {
  // 857 tokens and a context of 16, so that thousands of tokens take no time.
  const text = Buffer.from(german.repeat(10)).subarray(0, 16_000);
  const place = freshFolder(folder);
  let model: Model;
  let file: Buffer;
  let short: Buffer;
  beforeAll(async () => {
    writeRandomModel(place, { vocabulary: 857, context: 16, width: 32 });
    writeTokenizerJson(place, vocabularies['like GPT-2’s']);
    model = await loadModel(place, { cacheDir, threads: 1 });
    file = await compress(model, text);
    short = await compress(model, text.subarray(0, 900));
    return () => model.dispose();
  });

  test('several segments are the same alone and in company, with any threads', async () => {
    const { segments } = readContainer(file) as Coded;
    expect(segments).toHaveLength(2);
    await using other = await loadModel(place, { cacheDir, threads: 2, prefixCache: false });
    expect(await compress(other, text, { inFlight: 1 })).toEqual(file);
    expect(await decompress(other, file)).toEqual(text);
    expect(await decompress(model, file, { inFlight: 1 })).toEqual(text);
  });

  test.each(['f16', 'bf16', 'q8_0', 'q5_1', 'q4_0'] as const)('weights in %s', async (type) => {
    await using one = await loadModel(place, { cacheDir, type, threads: 1 });
    await using two = await loadModel(place, { cacheDir, type, threads: 2 });
    const part = text.subarray(0, 900);
    expect(await decompress(two, await compress(one, part))).toEqual(part);
  });

  test('empty and random content is stored', async () => {
    for (const content of [Buffer.alloc(0), randomBytes(500)]) {
      const stored = await compress(model, content);
      expect(stored).toHaveLength(headerLength + content.length);
      expect(await decompress(model, stored)).toEqual(content);
    }
  });

  test('another type of the weights is refused', async () => {
    await using other = await loadModel(place, { cacheDir, threads: 1, type: 'f16' });
    await expect(decompress(other, file)).rejects.toThrow('compressed with another model');
  });

  test('damaged files are refused', async () => {
    const places = [0, 4, 5, 6, 10, 14, 30, 46, headerLength, headerLength + 9, file.length - 1];
    for (const index of places) {
      const damaged = Buffer.from(file);
      damaged[index] = (damaged[index] as number) ^ 0x41;
      expect(() => readContainer(damaged)).toThrow(/damaged|version|not a file/);
    }
    for (const length of [0, 3, 4, headerLength - 1, headerLength, file.length - 1]) {
      expect(() => readContainer(file.subarray(0, length))).toThrow(/not a file|truncated/);
    }
    expect(() => readContainer(Buffer.concat([file, Buffer.alloc(1)]))).toThrow('damaged');
  });

  // As a hostile program would write them: the checksum of the file is right.
  test.each<[string, RegExp, (file: Buffer) => void]>([
    ['an unknown mode', /do not agree/, (file) => file.writeUInt8(7, 5)],
    ['a stored length', /do not agree/, (file) => file.writeUInt8(0, 5)],
    ['another length', /checksum/, (file) => file.writeUInt32LE(2 ** 32 - 1, 6)],
    ['more tokens than bytes', /do not agree/, (file) => file.writeUInt32LE(2 ** 32 - 1, 10)],
    ['fewer tokens', /checksum/, (file) => file.writeUInt32LE(file.readUInt32LE(10) - 1, 10)],
    ['another checksum of the content', /checksum/, (file) => file.fill(0, 14, 30)],
    ['another fingerprint', /another model/, (file) => file.fill(0, 30, 46)],
    ['another length of a segment', /do not agree/, (file) => file.writeUInt16LE(1, headerLength)],
    ['zeros for data', /checksum|too early/, (file) => file.fill(0, headerLength + 2)],
  ])('%s in a file is refused', async (_, message, change) => {
    const changed = Buffer.from(short);
    change(changed);
    const checksum = crc32(changed.subarray(headerLength), crc32(changed.subarray(0, 46)));
    changed.writeUInt32LE(checksum, 46);
    await expect(decompress(model, changed)).rejects.toThrow(message);
  });
});

describe('with the bundled model', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(undefined, { threads: 1, contextLength: 48 });
  });
  afterAll(() => model.dispose());

  test('a text longer than the context has the size of its surprisal', async () => {
    const text = Buffer.from(
      'She looked at him for a moment without speaking, and then she turned away and went slowly ' +
        'down the stairs. He did not know what to say. The old man shook his head, and looked out of ' +
        'the window at the garden, where the children were playing in the last light of the day. "I ' +
        'do not think that he will come back," said the old man. "He has gone to London."',
    );
    const file = await compress(model, text);
    expect(await decompress(model, file)).toEqual(text);
    // The same windows as those of the compressor, but scored by the engine.
    const { logprob } = await model.score(text.toString(), { stride: 24 });
    const bits = -logprob / Math.LN2;
    expect(8 * (file.length - headerLength - 2)).toBeGreaterThan(0.95 * bits);
    expect(8 * (file.length - headerLength - 2)).toBeLessThan(1.05 * bits);
    expect(file.length - headerLength).toBeLessThan(0.3 * text.length);
  });
});

describe('the command', () => {
  const place = freshFolder(folder);
  const run = (...args: string[]) => runProcess([join(place, 'compress.mjs'), ...args]);
  const at = (name: string) => join(place, name);
  beforeAll(() => {
    cpSync(join(__dirname, '..', 'examples', 'compress'), place, { recursive: true });
    mkdirSync(at('node_modules'));
    symlinkSync(join(__dirname, '..'), at('node_modules/gpt2-native'), 'junction');
    writeFileSync(at('text'), 'He shook his head, and went down to the sea.');
  });

  test('compresses, decompresses and compares', async () => {
    for (const args of [
      ['compress', at('text'), at('small')],
      ['decompress', at('small'), at('restored'), '--threads', '1'],
    ]) {
      expect(await run(...args)).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
    }
    expect(readFileSync(at('restored'))).toEqual(readFileSync(at('text')));
    const { stdout, exitCode } = await run('compare', at('text'));
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^\| text \| 44 \| 8\.000 \|\n\| gpt2-native .*\n\| gzip -9 .*\n/m);
    expect(stdout).toContain('Restored without loss.');
  });

  test.each([
    [2, [], 'received nothing'],
    [2, ['compress', 'a', 'b', '--thread', '1'], "Unknown option '--thread'"],
    [1, ['compress', at('absent'), at('out')], 'no such file'],
    [1, ['compress', at('text'), at('node_modules')], 'node_modules'],
    [1, ['compress', at('text'), at('out'), '--model', at('text')], 'expected a GGUF file'],
    [1, ['decompress', at('text'), at('out')], 'not a file'],
  ])('ends with code %i after %j', async (exitCode, args, message) => {
    const before = readdirSync(place);
    const result = await run(...args);
    expect(result).toMatchObject({ exitCode, stdout: '' });
    expect(result.stderr).toMatch(/^compress: .*\n$/);
    expect(result.stderr).toContain(message);
    expect(readdirSync(place)).toEqual(before);
  });
});
