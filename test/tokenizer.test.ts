import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { BytePairEncodingCore } from 'gpt-tokenizer/BytePairEncodingCore';
import r50kBase from 'gpt-tokenizer/bpeRanks/r50k_base';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadModel, type Tokenizer } from '../dist/index.js';
import { addon } from '../dist/native/addon.js';
import type { NativeVocabulary } from '../dist/native/types.js';
import { TextStreamDecoder } from '../dist/tokenizer/text-stream-decoder.js';
import { Gpt2Tokenizer, gpt2TokenizerFor } from '../dist/tokenizer/tokenizer.js';
import { plainSettings } from '../dist/tokenizer/vocabulary.js';
import { changedFixture, writeTextCheckpoint } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { mergesTxt, rankedTokens, spelledTokens } from './gpt2-vocabulary.js';
import { temporaryFolder } from './temporary-folder.js';

const tokenizer: Tokenizer = new Gpt2Tokenizer();
const encode = (text: string) => [...tokenizer.encode(text)];

// With the flag u, \p{Surrogate} matches only lone surrogates.
const isWellFormed = (text: string) => !/\p{Surrogate}/u.test(text);
const wellFormed = (text: string) => text.replace(/\p{Surrogate}/gu, '\ufffd');

describe('the ids of Hugging Face’s tokenizer', () => {
  const folder = join(__dirname, 'fixtures', 'tokenizer');
  const texts = readFileSync(join(folder, 'gpt-2.inp'), 'utf8').split('\n__ggml_vocab_test__\n');
  texts.pop(); // the last text is followed by a separator too
  const lines = readFileSync(join(folder, 'gpt-2.out'), 'utf8').trimEnd().split('\n');

  test('are complete', () => {
    expect(texts.length).toBe(lines.length);
    expect(texts.length).toBeGreaterThan(40);
  });

  test.each(texts.map((text, index) => [text, lines[index] ?? '']))('%j', (text, line) => {
    const ids = line.split(' ').filter(Boolean).map(Number);
    expect(encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
    expect(tokenizer.count(text)).toBe(ids.length);
  });
});

describe('white space is defined as in Python:', () => {
  // Derived by hand from the published pattern
  //   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  // with the \s of Python's regex module, and from the ids of single bytes: ! to ~ are 0 to 93, ¡ to ¬ 94 to 105,
  // ® to ÿ 106 to 187, NUL to space 188 to 220, and DEL to 0xA0 221 to 254.
  // 'a' is 64, 'b' 65, a space 220, ' b' 275; U+0085 is C2 85, that is 126 227.
  test.each<[string, string, number[]]>([
    ['U+0085 (white space) between letters', 'a\u0085\u0085b', [64, 126, 227, 126, 227, 65]],
    // \s+(?!\S) matches the space, \s+ matches U+0085. If U+0085 were a symbol, ` ?[^\s\p{L}\p{N}]+` would match both,
    // and the space and C2 would become the token 1587.
    ['U+0085 after a space', 'a \u0085b', [64, 220, 126, 227, 65]],
    // The run of three is split before its last character, a space, which joins the letter.
    ['U+0085 before a space', 'a\u0085\u0085 b', [64, 126, 227, 126, 227, 275]],
    // U+FEFF is EF BB BF and not white space: it forms one word with the space before it. 27332 is ' ' + EF; 171, 119
    // and 123 are EF, BB and BF.
    ['U+FEFF (a symbol) between letters', 'a\uFEFFb', [64, 171, 119, 123, 65]],
    ['U+FEFF after a space', ' \uFEFF', [27332, 119, 123]],
    ['U+FEFF after a space and before a letter', 'a \uFEFFb', [64, 27332, 119, 123, 65]],
    ['U+FEFF at the start', '\uFEFFa', [171, 119, 123, 64]],
    // The information separators U+001C to U+001F are white space for str.isspace() but symbols for the pattern.
    // 216 and 217 are 1C and 1D.
    ['U+001C after a space', 'a \u001c\u001db', [64, 220, 216, 217, 65]],
    ['U+00A0 after a space', 'a \u00a0b', [64, 220, 1849, 65]],
  ])('%s', (_, text, ids) => {
    expect(encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
  });
});

describe('any text', () => {
  // All of Unicode except surrogates. Characters with special rules for splitting are frequent.
  const character = fc.oneof(
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((text) => isWellFormed(text)),
    fc.constantFrom(...' \n\t\u0085\u00a0\ufeff\u200b\u2003\u3000\'"stmdlvre019Éä漢字😀🏽'),
  );
  const text = fc.array(character, { maxLength: 60 }).map((parts) => parts.join(''));

  test('survives a round trip', () => {
    fc.assert(
      fc.property(text, (original) => {
        fc.pre(isWellFormed(original));
        const ids = tokenizer.encode(original);
        expect(tokenizer.decode(ids)).toBe(original);
        expect(tokenizer.count(original)).toBe(ids.length);
        expect(Buffer.concat([...ids].map((id) => tokenizer.decodeToken(id)))).toEqual(
          Buffer.from(original),
        );
      }),
      { numRuns: 2000 },
    );
  });

  test('with lone surrogates comes back with U+FFFD in their place', () => {
    const surrogate = fc
      .integer({ min: 0xd800, max: 0xdfff })
      .map((unit) => String.fromCharCode(unit));
    const mixed = fc.array(fc.oneof(character, surrogate), { maxLength: 30 });
    fc.assert(
      fc.property(mixed, (parts) => {
        const original = parts.join('');
        const ids = tokenizer.encode(original);
        expect(ids).toEqual(tokenizer.encode(wellFormed(original)));
        expect(tokenizer.decode(ids)).toBe(wellFormed(original));
      }),
      { numRuns: 1000 },
    );
    expect(tokenizer.decode(tokenizer.encode('a\ud83db\ude00'))).toBe('a\ufffdb\ufffd');
  });

  test('streamed token by token never contains part of a character', () => {
    fc.assert(
      fc.property(text, (original) => {
        fc.pre(isWellFormed(original));
        const decoder = new TextStreamDecoder(tokenizer);
        let streamed = '';
        for (const id of tokenizer.encode(original)) {
          const part = decoder.write(id);
          expect(isWellFormed(part)).toBe(true);
          streamed += part;
          // The output so far is a prefix of the text, without additional U+FFFD.
          expect(original.startsWith(streamed)).toBe(true);
        }
        expect(decoder.end()).toBe('');
        expect(streamed).toBe(original);
      }),
      { numRuns: 500 },
    );
  });

  test('of one long word survives a round trip', () => {
    const long = 'abc'.repeat(3000);
    expect(tokenizer.decode(tokenizer.encode(long))).toBe(long);
  });
});

describe('a stream of tokens', () => {
  test('holds back the bytes of an emoji until it is complete', () => {
    // 🦙 is F0 9F A6 99: the token 12520 is ' ' + F0 9F, 99 is A6 and 247 is 99.
    const decoder = new TextStreamDecoder(tokenizer);
    expect([12520, 99, 247].map((id) => decoder.write(id))).toEqual([' ', '', '🦙']);
    expect(decoder.end()).toBe('');
  });

  test('replaces an incomplete character at its end with U+FFFD', () => {
    const decoder = new TextStreamDecoder(tokenizer);
    expect(decoder.write(12520)).toBe(' ');
    expect(decoder.write(99)).toBe('');
    expect(decoder.end()).toBe('\ufffd');
    expect(tokenizer.decode([12520, 99])).toBe(' \ufffd');
  });

  test('replaces invalid bytes and continues', () => {
    const decoder = new TextStreamDecoder(tokenizer);
    expect([12520, 64, 247, 65].map((id) => decoder.write(id))).toEqual([
      ' ',
      '\ufffda',
      '\ufffd',
      'b',
    ]);
  });

  test('keeps a byte order mark, which is an ordinary character here', () => {
    expect(tokenizer.decode([171, 119, 123, 64])).toBe('\ufeffa');
  });
});

describe('<|endoftext|>', () => {
  const endOfText = '<|endoftext|>';

  test('is ordinary text unless it is allowed', () => {
    // < | end of text | >
    const asText = [27, 91, 437, 1659, 5239, 91, 29];
    expect(encode(endOfText)).toEqual(asText);
    expect([...tokenizer.encode(endOfText, {})]).toEqual(asText);
    expect([...tokenizer.encode(endOfText, { allowedSpecial: [] })]).toEqual(asText);
    expect(tokenizer.count(endOfText)).toBe(7);
    expect(tokenizer.decode(asText)).toBe(endOfText);
  });

  test.each([['all' as const], [[endOfText]]])(
    'is one token where %j is allowed',
    (allowedSpecial) => {
      const ids = (text: string) => [...tokenizer.encode(text, { allowedSpecial })];
      expect(tokenizer.endOfText).toBe(50256);
      expect(ids(endOfText)).toEqual([50256]);
      expect(ids(`a${endOfText} b${endOfText}${endOfText}`)).toEqual([
        64, 50256, 275, 50256, 50256,
      ]);
      expect(ids(`${endOfText}b`)).toEqual([50256, 65]);
      expect(ids('<|endoftext|')).toEqual([27, 91, 437, 1659, 5239, 91]);
      // The text before it is encoded separately: its last space does not join a next word.
      expect(ids(`a  ${endOfText}`)).toEqual([...encode('a  '), 50256]);
    },
  );

  test('is decoded to its name', () => {
    expect(tokenizer.decode([64, 50256, 65])).toBe(`a${endOfText}b`);
  });
});

describe('a single token', () => {
  test('decodes to its bytes, which may be part of a character', () => {
    expect(Buffer.from(tokenizer.decodeToken(15496)).toString()).toBe('Hello');
    expect([...tokenizer.decodeToken(247)]).toEqual([0x99]);
    expect([...tokenizer.decodeToken(220)]).toEqual([0x20]);
    expect(Buffer.from(tokenizer.decodeToken(50256)).toString()).toBe('<|endoftext|>');
  });

  test('is returned as a copy', () => {
    tokenizer.decodeToken(15496).fill(0);
    expect(tokenizer.decode([15496])).toBe('Hello');
  });

  test('must be in the vocabulary', async () => {
    expect(tokenizer.vocabSize).toBe(50257);
    for (const id of [-1, 50257, 1.5, Number.NaN]) {
      await failure('TOKEN_OUT_OF_RANGE', () => tokenizer.decodeToken(id));
      await failure('TOKEN_OUT_OF_RANGE', () => tokenizer.decode([64, id]));
    }
  });

  test('decodes to the bytes of its rank, and words that are tokens encode to one', () => {
    const ranks = rankedTokens();
    expect(ranks).toHaveLength(50256);
    for (const [id, bytes] of ranks.entries()) {
      expect(bytes.equals(tokenizer.decodeToken(id))).toBe(true);
    }
    for (const [word, id] of [
      [' the', 262],
      ['Hello', 15496],
      [' gazed', 50255],
    ] as const) {
      expect(encode(word)).toEqual([id]);
    }
  });
});

// gpt-tokenizer is an implementation that is independent of this one: it looks up the bytes of merged tokens, and finds
// words with a regular expression.
const wordPattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

describe('the ids of gpt-tokenizer', () => {
  const core = new BytePairEncodingCore({
    bytePairRankDecoder: r50kBase,
    tokenSplitRegex: wordPattern,
    mergeCacheSize: 0,
  });
  const expectSame = (text: string) => {
    expect(encode(text)).toEqual(core.encodeNative(text));
  };

  const codePoints = (min: number, max: number) =>
    fc.integer({ min, max }).map((codePoint) => String.fromCodePoint(codePoint));
  const oneOf = (characters: string) => fc.constantFrom(...characters);
  const scripts: Record<string, fc.Arbitrary<string>> = {
    ASCII: codePoints(0, 0x7f),
    'Latin, Greek and Cyrillic': codePoints(0x80, 0x52f),
    'Armenian, Hebrew and Arabic': codePoints(0x530, 0x8ff),
    'scripts of India and of South-East Asia': codePoints(0x900, 0x1fff),
    'punctuation, symbols and kana': codePoints(0x2000, 0x31ff),
    'Han, Yi and Hangul': codePoints(0x3200, 0xd7ff),
    'private use and compatibility characters': codePoints(0xe000, 0xffff),
    'the supplementary planes': codePoints(0x1_0000, 0x10_ffff),
    'emoji with modifiers': oneOf('😀🏽👩\u200d💻❤\ufe0f🇩🇪 '),
    'white space': oneOf(' \t\n\v\f\r\u0085\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000'),
    'characters that look like white space': oneOf(' \u001c\u001f\u180e\u200b\u2060\ufeff'),
    contractions: fc.constantFrom(..."'stmdlvre' ’x", "'ll", "'re", "'ve", "'s", " 's"),
    'digits of all scripts': oneOf('0123456789²½Ⅷ٣१๓９𝟘 '),
    'combining marks': oneOf('e\u0301\u0300\u0308\u20dd \u093eक'),
    'lone surrogates': codePoints(0xd800, 0xdfff),
    'tokens of GPT-2': fc.nat(50_255).map((id) => tokenizer.decode([id])),
  };

  test.each(Object.keys(scripts))('for %s', (name) => {
    const texts = fc.array(scripts[name] as fc.Arbitrary<string>, { maxLength: 120 });
    fc.assert(
      fc.property(texts, (parts) => expectSame(parts.join(''))),
      { numRuns: 300 },
    );
  });

  test('for mixtures of them', () => {
    const texts = fc.array(fc.oneof(...Object.values(scripts)), { maxLength: 120 });
    fc.assert(
      fc.property(texts, (parts) => expectSame(parts.join(''))),
      { numRuns: 1000 },
    );
  });

  // From 128 bytes and from 1,024 characters on, words are encoded in other ways.
  test('for words of all lengths, with words around them', { timeout: 60_000 }, () => {
    const letters = fc.constantFrom('a', 'e', 'n', 't', 'th', 'ing', 'é', '漢', 'ß', '\u0300');
    const words = fc.oneof(
      ...[letters, oneOf('aaaab'), oneOf(' \n'), oneOf('1234'), oneOf('-=_*🙂')].map((part) =>
        fc.array(part, { minLength: 1, maxLength: 1500, size: 'max' }).map((all) => all.join('')),
      ),
    );
    const around = fc.constantFrom('', ' ', '  ', '\n\n', 'a', '1', "'s", '\t\tx', ' Hello  ', '-');
    fc.assert(
      fc.property(around, words, around, (before, word, after) =>
        expectSame(before + word + after),
      ),
      { numRuns: 100 },
    );
    for (const length of [127, 128, 129, 1022, 1023, 1024, 1025, 4095, 4096, 4097, 5119, 5120]) {
      for (const unit of ['a', ' ', '\n', '=', '0', 'ab', '\u3000']) {
        for (const after of ['', 'a', ' a', ' ']) expectSame(unit.repeat(length) + after);
      }
      expectSame('😀'.repeat(length));
    }
  });
});

describe('long texts', () => {
  test('of a million characters without a space take seconds, not minutes', {
    timeout: 60_000,
  }, () => {
    for (const text of [
      'a'.repeat(1e6),
      ' '.repeat(1e6),
      'né'.repeat(5e5),
      '漢字'.repeat(5e5),
      '𐌰𐌱'.repeat(3e5),
    ]) {
      const tokens = tokenizer.encode(text);
      expect(tokenizer.decode(tokens)).toBe(text);
    }
  });

  test('may be five million emoji', { timeout: 60_000 }, () => {
    // 😀 is F0 9F 98 80: 47249 is F0 9F 98, 222 is 80.
    const tokens = tokenizer.encode('😀'.repeat(5e6));
    expect(tokens.length).toBe(1e7);
    expect(tokens.every((token, at) => token === (at % 2 === 0 ? 47249 : 222))).toBe(true);
  });

  test('are encoded in turns as at once', async () => {
    const { signal } = new AbortController();
    const gpt2 = new Gpt2Tokenizer();
    for (const text of ['', 'Hello world', 'Hello  world\n'.repeat(20_000), 'ab'.repeat(50_000)]) {
      const expected = gpt2.encode(text);
      expect(await gpt2.encodeInTurns(text, expected.length, signal)).toEqual(expected);
      if (text === '') continue;
      expect(await gpt2.encodeInTurns(text, expected.length - 1, signal)).toBeUndefined();
    }
  });

  test('of several calls are encoded at the same time', async () => {
    const { signal } = new AbortController();
    const gpt2 = new Gpt2Tokenizer();
    const texts = ['ab', '漢字', 'x ', '123'].map((unit) => unit.repeat(100_000));
    const all = await Promise.all(texts.map((text) => gpt2.encodeInTurns(text, 1e6, signal)));
    expect(all).toEqual(texts.map((text) => gpt2.encode(text)));
  });

  test('let other work run meanwhile, and can be aborted', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    setTimeout(() => controller.abort(reason), 0);
    const encoding = new Gpt2Tokenizer().encodeInTurns('ab '.repeat(5e6), 1e8, controller.signal);
    await expect(encoding).rejects.toBe(reason);
  });
});

test('texts leave nothing in memory', { timeout: 60_000 }, () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const word = (seed: number) => Math.imul(seed, 0x9e37_79b1).toString(36);
  encode('Hello');
  collect();
  const before = process.memoryUsage();
  for (let at = 0; at < 70_000; at += 1000) {
    encode(Array.from({ length: 1000 }, (_, i) => word(at + i)).join(' '));
  }
  // A text of 96 kB with a long word that it alone has.
  for (let at = 0; at < 300; at++) encode(`${word(at).repeat(100)} ${'x '.repeat(48_000)}`);
  collect();
  const after = process.memoryUsage();
  expect(after.heapUsed - before.heapUsed).toBeLessThan(5e6);
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(5e6);
});

// The SHA-256 sums of encoder.json and vocab.bpe are from https://github.com/openai/tiktoken,
// tiktoken_ext/openai_public.py.
describe('the vocabulary files derived from the ranks equal OpenAI’s:', () => {
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

  test('encoder.json', () => {
    const inAscii = (token: string) =>
      JSON.stringify(token).replace(
        /[\u007f-\uffff]/g,
        (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
      );
    const entries = spelledTokens().map((token, id) => `${inAscii(token)}: ${id}`);
    expect(sha256(`{${entries.join(', ')}}`)).toBe(
      '196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783',
    );
  });

  test('vocab.bpe', () => {
    expect(sha256(mergesTxt())).toBe(
      '1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5',
    );
  });
});

describe('the vocabulary in a model’s file', () => {
  const cacheDir = temporaryFolder();
  let reported: NativeVocabulary | undefined;
  let path: string;

  // 64-bit FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) over the tokens as GGUF spells them, each followed by a
  // zero byte.
  const expected = (() => {
    let hash = 0xcbf29ce484222325n;
    for (const token of spelledTokens()) {
      for (const byte of [...Buffer.from(token), 0]) {
        hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
      }
    }
    return hash.toString(16).padStart(16, '0');
  })();

  const gpt2: NativeVocabulary = {
    count: 50257,
    fingerprint: expected,
    mergeCount: 50000,
    added: { ids: new Float64Array(0), kinds: new Int32Array(0), texts: [] },
  };

  beforeAll(async () => {
    path = writeTextCheckpoint(join(cacheDir, 'text'));
    await using model = await loadModel(path, { cacheDir, threads: 1 });
    const file = readdirSync(cacheDir).find((name) => name.endsWith('.gguf'));
    const native = await addon().openModel(join(cacheDir, file as string), {
      device: 'cpu',
      threads: 1,
      contextLength: 0,
      cacheType: undefined,
      cacheBytes: undefined,
      machineBytes: 2 ** 30,
      prefixCache: true,
      mmap: true,
    });
    reported = native.describe().vocabulary;
    await native.dispose();
    expect(model.tokenizer.vocabSize).toBe(50257);
  });

  const tokenizerFor = (vocabSize: number, vocabulary: NativeVocabulary) =>
    gpt2TokenizerFor(vocabSize, vocabulary, plainSettings) as Tokenizer;

  test('has the fingerprint of GPT-2’s tokens', () => {
    expect(reported).toEqual(gpt2);
  });

  test('is recognised by that fingerprint, and has no merges of its own', () => {
    const known = tokenizerFor(50257, gpt2);
    expect([...known.encode('Hello world')]).toEqual([15496, 995]);
    expect(tokenizerFor(50257, { ...gpt2, fingerprint: '0123456789abcdef' })).toBeUndefined();
    expect(tokenizerFor(50257, { ...gpt2, mergeCount: 50001 })).toBeUndefined();
    const unsaid = tokenizerFor(50257, { ...gpt2, mergeCount: 0 });
    expect([...unsaid.encode('Hello world')]).toEqual([15496, 995]);
  });

  test('determines the model’s tokenizer', async () => {
    await using model = await loadModel(path, { cacheDir, threads: 1 });
    expect([...model.tokenizer.encode('Hello world')]).toEqual([15496, 995]);
    expect(model.tokenizer.decode([15496, 995])).toBe('Hello world');
    expect(model.tokenizer.endOfText).toBe(50256);
  });

  test('may be padded to a larger embedding with ids that have no text', async () => {
    const padded = tokenizerFor(50304, gpt2);
    expect(padded.vocabSize).toBe(50304);
    expect(padded.endOfText).toBe(50256);
    expect([...padded.encode('Hello world')]).toEqual([15496, 995]);
    expect(padded.decode([15496, 50257, 50303, 995])).toBe('Hello world');
    expect(() => padded.decode([50304])).toThrow('from 0 to 50303');
    expect(tokenizerFor(50256, gpt2)).toBeUndefined();
  });

  test('may be missing, and the tokenizer says so', async () => {
    const folder = changedFixture(join(cacheDir, 'without'), 'odd-heads', {});
    await using model = await loadModel(folder, { cacheDir, threads: 1 });
    expect(model.tokenizer.vocabSize).toBe(97);
    for (const call of [
      () => model.tokenizer.encode('a'),
      () => model.tokenizer.decode([1]),
      () => model.tokenizer.decodeToken(1),
      () => model.tokenizer.count('a'),
      () => model.tokenizer.endOfText,
      () => model.logits('a'),
      () => model.generate('a'),
      () => model.stream('a').next(),
    ]) {
      const { message } = await failure('TOKENIZER_MISSING', call);
      expect(message).toContain('vocab.json');
    }
  });
});

describe('spans', () => {
  test('begin with the characters of the text', () => {
    // 🦙 is F0 9F A6 99: the token 12520 is ' ' + F0 9F, 99 is A6 and 247 is 99.
    expect(tokenizer.spans([64, 12520, 99, 247, 65])).toEqual({
      text: 'a 🦙b',
      offsets: Uint32Array.of(0, 1, 2, 2, 4),
      byteOffsets: Uint32Array.of(0, 1, 4, 5, 6),
      byteCount: 7,
    });
    expect(tokenizer.spans([])).toEqual({
      ...{ text: '', offsets: new Uint32Array(0), byteOffsets: new Uint32Array(0), byteCount: 0 },
    });
  });

  test('divide any text as its bytes do', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (original) => {
        const tokens = tokenizer.encode(original);
        const { text: same, offsets, byteOffsets, byteCount } = tokenizer.spans(tokens);
        expect(same).toBe(wellFormed(original));
        const bytes = Buffer.from(same);
        expect(byteCount).toBe(bytes.length);
        for (const [i, token] of tokens.entries()) {
          const at = byteOffsets[i] as number;
          const own = tokenizer.decodeToken(token);
          expect(bytes.subarray(at, at + own.length)).toEqual(Buffer.from(own));
          const before = new TextDecoder().decode(bytes.subarray(0, at), { stream: true });
          expect(offsets[i]).toBe(before.length);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('need token ids', () => {
    for (const wrong of ['12', 7, null, undefined, {}]) {
      expect(() => tokenizer.spans(wrong as never)).toThrow('Expected the tokens to be an array');
    }
    expect(() => tokenizer.spans([50257])).toThrow('Expected token ids from 0 to 50256');
  });
});
