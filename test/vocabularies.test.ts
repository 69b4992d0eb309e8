// Tokenizers with vocabularies of their own. The expected ids are those of a plain implementation beside the vocabularies
// (applyMerges); npm run test:tokenizers compares both with Hugging Face's library.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { convert, loadModel, type Tokenizer } from '../dist/index.js';
import { gpt2Tokenizer, loadTokenizer } from '../dist/tokenizer.js';
import { seededRandom } from '../scripts/random-checkpoint.mjs';
import { writeRandomModel } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { readGguf } from './gguf-reader.js';
import { mergesTxt, vocabJson } from './gpt2-vocabulary.js';
import { runProcess } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';
import { randomText } from './vocabularies/random-text.mjs';
import { applyMerges, spelledWords } from './vocabularies/train.mjs';
import { vocabularies, writeTokenizerJson, writeVocabJson } from './vocabularies/vocabularies.mjs';

const root = temporaryFolder();
type Vocabulary = (typeof vocabularies)['like GPT-2’s'];
const named = Object.entries(vocabularies) as [string, Vocabulary][];

/** The ids of a text by definition, without special and added tokens. */
function expectedIds({ json }: Vocabulary, text: string): number[] {
  const { vocab, merges, unk_token: unknown } = json.model;
  const ids = vocab as Record<string, number>;
  const ranks = new Map(
    (merges as (string | string[])[]).map((merge, rank) => [[merge].flat().join(' '), rank]),
  );
  const isPrefixed = json.pre_tokenizer.add_prefix_space && text !== '' && !text.startsWith(' ');
  return spelledWords(isPrefixed ? ` ${text}` : text).flatMap((word: string[]) => {
    const known = word.filter((byte) => unknown !== null || ids[byte] !== undefined);
    return applyMerges(known, ranks).map(
      (token: string) => ids[token] ?? (ids[unknown as unknown as string] as number),
    );
  });
}

const random = seededRandom(7);
const added = /<\|?\w+\|?>|<\/s>|\n {2}|=>|\[TODO\]/;
const texts = Array.from({ length: 500 }, () => randomText(random, 80)).filter(
  (text) => !added.test(text),
);

describe.each(named)('a vocabulary %s', (_, vocabulary) => {
  const folder = freshFolder(root);
  const { vocab } = vocabulary.json.model as unknown as { vocab: Record<string, number> };
  const size = Object.keys(vocab).length;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    writeRandomModel(folder, { vocabulary: size + 3, context: 16, width: 8 });
    tokenizer = await loadTokenizer(writeTokenizerJson(folder, vocabulary));
  });

  test('encodes texts as defined', () => {
    expect(tokenizer.vocabSize).toBe(size);
    for (const text of texts) {
      expect([...tokenizer.encode(text)]).toEqual(expectedIds(vocabulary, text));
    }
  });

  // From 128 bytes and from 1,024 characters on, words are encoded in other ways.
  test('encodes long words as defined', () => {
    for (const unit of ['a', 'и', 'ab', 'den', ' ', 'όν', '道', 'der Weg ', '\n', '😀', 'ἀλλ’ ']) {
      for (const length of [100, 300, 1100]) {
        const text = `x ${unit.repeat(length)} y`;
        expect([...tokenizer.encode(text)]).toEqual(expectedIds(vocabulary, text));
      }
    }
  });

  test('is the same in the model’s GGUF file', { timeout: 60_000 }, async () => {
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    await convert(path, join(folder, 'again.gguf'), { type: 'f16' });
    const opened = [await loadTokenizer(path), await loadTokenizer(join(folder, 'again.gguf'))];
    await using model = await loadModel(path, { threads: 1 });
    await using fromFolder = await loadModel(folder, { cacheDir: join(folder, 'cache') });
    for (const other of [...opened, model.tokenizer, fromFolder.tokenizer]) {
      expect(other.vocabSize).toBe(size + 3);
      for (const options of [{}, { allowedSpecial: 'all', addSpecial: true } as const]) {
        for (const text of texts.slice(0, 50)) {
          const ids = tokenizer.encode(`${text}<s></s>=>`, options);
          expect(other.encode(`${text}<s></s>=>`, options)).toEqual(ids);
          expect(other.decode(ids)).toBe(tokenizer.decode(ids));
        }
      }
      expect(other.decode([size, size + 2])).toBe('');
      for (const id of Object.values(vocab)) {
        expect(other.decodeToken(id)).toEqual(tokenizer.decodeToken(id));
      }
    }
    const text = 'der Weg ist 道';
    const expected = tokenizer.encode(text).slice(0, 16);
    expect((await model.logits(text)).tokens).toEqual(expected);
    await model.generate('道 e', { maxTokens: 2 });
  });

  test('decodes what it encodes', () => {
    const { unk_token: unknown } = vocabulary.json.model;
    if (unknown !== null || Object.keys(vocab).length < 700) return; // bytes are lost
    const isPrefixed = vocabulary.json.pre_tokenizer.add_prefix_space;
    for (const text of texts) {
      const decoded = tokenizer.decode(tokenizer.encode(text));
      const whole = text.replace(/\p{Surrogate}/gu, '\ufffd');
      expect(decoded).toBe(isPrefixed && whole !== '' && whole[0] !== ' ' ? ` ${whole}` : whole);
    }
  });
});

describe('vocab.json and merges.txt', () => {
  test('give the same ids as tokenizer.json', async () => {
    for (const [, vocabulary] of named) {
      if (vocabulary.json.model.unk_token) continue; // only tokenizer.json has it
      const one = await loadTokenizer(writeTokenizerJson(freshFolder(root), vocabulary));
      const two = await loadTokenizer(writeVocabJson(freshFolder(root), vocabulary));
      for (const text of texts) expect(two.encode(text)).toEqual(one.encode(text));
    }
  });

  test('of GPT-2 give GPT-2’s ids', async () => {
    const folder = freshFolder(root);
    writeFileSync(join(folder, 'vocab.json'), vocabJson());
    writeFileSync(join(folder, 'merges.txt'), mergesTxt());
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.vocabSize).toBe(50257);
    expect(tokenizer.endOfText).toBe(50256);
    for (const text of texts) {
      expect(tokenizer.encode(text)).toEqual(gpt2Tokenizer.encode(text));
    }
  });

  test('of GPT-2 in a GGUF file give GPT-2’s ids', async () => {
    const tokenizer = await loadTokenizer(join(__dirname, '..', 'models', 'gpt2-books.gguf'));
    expect(tokenizer.vocabSize).toBe(50257);
    for (const text of texts) {
      expect(tokenizer.encode(text)).toEqual(gpt2Tokenizer.encode(text));
    }
  });
});

describe('special tokens', () => {
  const open = (name: string) =>
    loadTokenizer(
      writeTokenizerJson(freshFolder(root), vocabularies[name as keyof typeof vocabularies]),
    );

  test('are added around a text on request', async () => {
    const roberta = await open('like RoBERTa’s');
    const plain = [...roberta.encode('нот')];
    expect([...roberta.encode('нот', { addSpecial: true })]).toEqual([0, ...plain, 2]);
    expect([...roberta.encode('', { addSpecial: true })]).toEqual([0, 2]);
    expect(roberta.count('нот')).toBe(plain.length);
    const code = await open('for source code');
    expect([...code.encode('', { addSpecial: true })]).toEqual([1]);
    expect([...gpt2Tokenizer.encode('Hello', { addSpecial: true })]).toEqual([15496]);
    for (const addSpecial of [1, null, 'yes']) {
      await failure('INVALID_ARGUMENT', () =>
        roberta.encode('a', { addSpecial: addSpecial as unknown as boolean }),
      );
    }
  });

  test('start and end texts', async () => {
    const roberta = await open('like RoBERTa’s');
    expect([roberta.startOfText, roberta.endOfText]).toEqual([0, 2]);
    const code = await open('for source code');
    expect([code.startOfText, code.endOfText]).toEqual([1, 0]);
    expect([gpt2Tokenizer.startOfText, gpt2Tokenizer.endOfText]).toEqual([50256, 50256]);
    const without = await open('without some bytes');
    await failure('TOKENIZER_MISSING', () => without.endOfText);
    await failure('TOKENIZER_MISSING', () => without.startOfText);
  });

  test('of the model start a text from nothing', async () => {
    for (const [name, start] of [
      ['like RoBERTa’s', 0],
      ['for source code', 1],
      ['without some bytes', undefined],
    ] as const) {
      const folder = freshFolder(root);
      const { json } = vocabularies[name];
      const size = Object.keys(json.model.vocab).length;
      writeRandomModel(folder, { vocabulary: size, context: 8, width: 8 });
      const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
      const { eos_token_id: _, ...silent } = config;
      writeFileSync(join(folder, 'config.json'), JSON.stringify(silent));
      writeTokenizerJson(folder, vocabularies[name]);
      await using model = await loadModel(folder, { cacheDir: join(folder, 'cache'), threads: 1 });
      if (start === undefined) {
        await failure('TOKENIZER_MISSING', () => model.logits(''));
        await failure('TOKENIZER_MISSING', () => model.generate(''));
        expect((await model.logits('道')).tokens.length).toBeGreaterThan(0);
      } else {
        expect([...(await model.logits('')).tokens]).toEqual([start]);
        using session = model.createSession();
        await session.generate('', { maxTokens: 1 });
        expect(session.tokens[0]).toBe(start);
      }
    }
  });

  test('are written with GGUF’s keys', async () => {
    const folder = freshFolder(root);
    const vocabulary = vocabularies['like RoBERTa’s'];
    const size = Object.keys(vocabulary.json.model.vocab).length;
    writeRandomModel(folder, { vocabulary: size, context: 8, width: 8 });
    await convert(writeTokenizerJson(folder, vocabulary), join(folder, 'model.gguf'));
    const { metadata } = readGguf(join(folder, 'model.gguf'));
    expect(metadata.get('tokenizer.ggml.bos_token_id')).toBe(0);
    expect(metadata.get('tokenizer.ggml.eos_token_id')).toBe(2);
    expect(metadata.get('tokenizer.ggml.add_bos_token')).toBe(true);
    expect(metadata.get('tokenizer.ggml.add_eos_token')).toBe(true);
    expect(metadata.get('tokenizer.ggml.add_space_prefix')).toBe(true);
    // config.json names another id, which ends a text as well.
    expect(metadata.get('gpt2_native.end_of_text_ids')).toEqual([size - 1]);
  });
});

describe('a tokenizer is refused with the reason if', () => {
  const { json, config } = vocabularies['like GPT-2’s'];
  type Change = [what: string, reason: string, json: object, config?: object];
  const split = (Regex: string) => ({
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
      { ...json.pre_tokenizer, use_regex: false },
    ],
  });
  const gpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
  const model = (change: object) => ({ model: { ...json.model, ...change } });
  const { vocab, merges } = json.model as unknown as {
    vocab: Record<string, number>;
    merges: string[];
  };
  const last = merges.at(-1) as string;
  const template = (...single: object[]) => ({
    post_processor: { type: 'TemplateProcessing', single, special_tokens: {} },
  });

  test.each<Change>([
    ['it normalises', 'normalizer "NFC"', { normalizer: { type: 'NFC' } }],
    [
      'it lower-cases',
      'normalizer "NFD", "Lowercase"',
      { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFD' }, { type: 'Lowercase' }] } },
    ],
    ['it splits in another way', "GPT-2's pattern", { pre_tokenizer: split('\\p{L}+|\\p{N}') }],
    [
      'it splits digits',
      '"Digits", "ByteLevel"',
      {
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [{ type: 'Digits' }, json.pre_tokenizer],
        },
      },
    ],
    [
      'it does not split',
      "GPT-2's pattern",
      { pre_tokenizer: { ...json.pre_tokenizer, use_regex: false } },
    ],
    ['it is not byte-level', 'not byte-level', { pre_tokenizer: { type: 'Metaspace' } }],
    ['it ignores merges', 'ignore_merges', model({ ignore_merges: true })],
    ['it has suffixes', 'end_of_word_suffix', model({ end_of_word_suffix: '</w>' })],
    ['it has prefixes', 'continuing_subword_prefix', model({ continuing_subword_prefix: '##' })],
    ['its unknown token is not in it', 'unk_token "<u>"', model({ unk_token: '<u>' })],
    [
      'a merge forms no token',
      'needs the token',
      model({ vocab: { ...vocab, [last.replace(' ', '')]: undefined } }),
    ],
    ['a merge joins no token', 'needs the token "道"', model({ merges: ['道 a'] })],
    [
      'a merge joins what no merge forms',
      'not formed of bytes',
      model({ vocab: { ...vocab, zq: 857, zqa: 858 }, merges: ['zq a'] }),
    ],
    ['a merge is one token', 'does not name two tokens', model({ merges: ['ab'] })],
    ['a merge has three parts', 'does not name two tokens', model({ merges: ['a b c'] })],
    ['a merge is half empty', 'does not name two tokens', model({ merges: [' a'] })],
    [
      'its tokens are characters',
      'the token "道" spells none',
      model({ vocab: { a: 0, b: 1, 道: 2 }, merges: [] }),
    ],
    ['it has no bytes', 'for 256 of 256 bytes', model({ vocab: { 道: 0 }, merges: [] })],
    ['it adds unknown steps', 'post_processor', { post_processor: { type: 'Magic' } }],
    [
      'it adds a token without an id',
      'without an id',
      template({ SpecialToken: { id: 'x' } }, { Sequence: { id: 'A' } }),
    ],
    ['it adds tokens to nothing', 'no place for the text', template()],
    [
      'it adds two tokens',
      'more than one special token',
      {
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ SpecialToken: { id: 'x' } }, { Sequence: { id: 'A' } }],
          special_tokens: { x: { ids: [1, 2] } },
        },
      },
    ],
    [
      'it adds a token that is not in it',
      'does not have',
      { post_processor: { type: 'BertProcessing', sep: ['x', 9999], cls: ['y', 1] } },
    ],
  ])('%s', async (_, reason, change) => {
    const folder = freshFolder(root);
    writeTokenizerJson(folder, { json: { ...json, ...change } as typeof json, config });
    const { message } = await failure('TOKENIZER_MISSING', () => loadTokenizer(folder));
    expect(message).toContain(reason);
    // A model with it works with token ids, and gives the same reason.
    writeRandomModel(folder, { vocabulary: 900, context: 8, width: 8 });
    await using opened = await loadModel(folder, { cacheDir: join(folder, 'cache'), threads: 1 });
    expect((await opened.logits([1])).shape).toEqual([1, 900]);
    const error = await failure('TOKENIZER_MISSING', () => opened.tokenizer.encode('a'));
    expect(error.message).toContain(reason);
  });

  test.each<Change>([
    ['GPT-2’s pattern is written out', '', { pre_tokenizer: split(gpt2Pattern) }],
    ['there is dropout', '', model({ dropout: 0.1 })],
    [
      'there are empty prefixes',
      '',
      model({ continuing_subword_prefix: '', end_of_word_suffix: '' }),
    ],
    ['the steps are left out', '', { pre_tokenizer: null, decoder: null, post_processor: null }],
    ['the model has no type', '', model({ type: undefined })],
  ])('but not if %s', async (_, _reason, change) => {
    const folder = freshFolder(root);
    writeTokenizerJson(folder, { json: { ...json, ...change } as typeof json, config });
    const tokenizer = await loadTokenizer(folder);
    expect([...tokenizer.encode('Der Weg')]).toEqual(
      expectedIds(vocabularies['like GPT-2’s'] as Vocabulary, 'Der Weg'),
    );
  });

  test.each([
    ['CLIPTokenizer', 'tokenizer_class is "CLIPTokenizer"'],
    ['GPT2TokenizerFast', undefined],
  ])('vocab.json has the class %s', async (name, reason) => {
    const folder = writeVocabJson(freshFolder(root), {
      json,
      config: { ...config, tokenizer_class: name },
    });
    if (reason === undefined) {
      expect((await loadTokenizer(folder)).vocabSize).toBe(Object.keys(vocab).length);
    } else {
      const { message } = await failure('TOKENIZER_MISSING', () => loadTokenizer(folder));
      expect(message).toContain(reason);
    }
  });

  test.each([
    ['tokenizer.ggml.pre', 'gpt-2', 'llama-bpe', 'the pattern "llama-bpe"'],
    ['tokenizer.ggml.model', 'gpt2', 'llama', 'tokenizer.ggml.model is "llama"'],
  ])('%s in a GGUF file is not %s', async (key, usual, other, reason) => {
    const folder = freshFolder(root);
    writeRandomModel(folder, { vocabulary: 900, context: 8, width: 8 });
    const path = join(folder, 'model.gguf');
    await convert(writeTokenizerJson(folder, { json, config }), path);
    writeFileSync(path, withString(readFileSync(path), key, usual, other));
    const { message } = await failure('TOKENIZER_MISSING', () => loadTokenizer(path));
    expect(message).toContain(reason);
  });
});

/** Changes a string in the metadata of a GGUF file. Only for readers of the metadata: the tensors move. */
function withString(file: Buffer, key: string, from: string, to: string): Buffer {
  const sized = (text: string) => {
    const length = Buffer.alloc(8);
    length.writeUInt32LE(Buffer.byteLength(text));
    return Buffer.concat([length, Buffer.from(text)]);
  };
  const before = Buffer.concat([sized(key), Buffer.from([8, 0, 0, 0]), sized(from)]);
  const at = file.indexOf(before);
  expect(at).toBeGreaterThan(0);
  const after = Buffer.concat([sized(key), Buffer.from([8, 0, 0, 0]), sized(to)]);
  return Buffer.concat([file.subarray(0, at), after, file.subarray(at + before.length)]);
}

test('of a vocabulary that is not there, the error says so', async () => {
  await failure('FILE_NOT_FOUND', () => loadTokenizer(join(root, 'nothing')));
  await failure('FILE_NOT_FOUND', () => loadTokenizer(freshFolder(root)));
  await failure('INVALID_ARGUMENT', () => loadTokenizer(7 as unknown as string));
  const path = join(root, 'text.txt');
  writeFileSync(path, 'a text that is not a GGUF file');
  await failure('INVALID_FILE', () => loadTokenizer(path));
});

describe('vocabularies of 2^18 tokens', () => {
  // Bytes, all pairs of bytes, and pairs with a third one.
  function largeVocabulary(count: number) {
    const { vocab } = vocabularies['like RoBERTa’s'].json.model;
    const bytes = Object.keys(vocab).filter((token) => [...token].length === 1);
    const tokens = [...bytes];
    const merges: string[] = [];
    for (let at = 0; tokens.length < count; at++) {
      const left = tokens[Math.floor(at / 256)] as string;
      const right = bytes[at % 256] as string;
      tokens.push(left + right);
      merges.push(`${left} ${right}`);
    }
    return { tokens, merges };
  }

  test('are read, and larger ones are not', { timeout: 120_000 }, async () => {
    const { tokens, merges } = largeVocabulary(2 ** 18);
    const folder = freshFolder(root);
    const write = (all: string[]) =>
      writeFileSync(
        join(folder, 'vocab.json'),
        JSON.stringify(Object.fromEntries(all.map((token, id) => [token, id]))),
      );
    writeFileSync(join(folder, 'merges.txt'), merges.join('\n'));
    write(tokens);
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.vocabSize).toBe(2 ** 18);
    const ids = new Map(tokens.map((token, id) => [token, id]));
    const ranks = new Map(merges.map((merge, rank) => [merge, rank]));
    for (const text of texts.slice(0, 100)) {
      const expected = spelledWords(text).flatMap((word: string[]) =>
        applyMerges(word, ranks).map((token: string) => ids.get(token)),
      );
      expect([...tokenizer.encode(text)]).toEqual(expected);
    }
    expect(tokenizer.decode(tokenizer.encode('der Weg 道 '.repeat(10_000)))).toBe(
      'der Weg 道 '.repeat(10_000),
    );
    write(
      [...tokens, ...Array.from({ length: 2 ** 18 }, (_, id) => `zz${id}`)].slice(0, 2 ** 18 + 1),
    );
    const { message } = await failure('TOKENIZER_MISSING', () => loadTokenizer(folder));
    expect(message).toContain('262144');
  });
});

test('long texts take seconds with merges in disorder', { timeout: 60_000 }, async () => {
  const vocabulary = vocabularies['with merges in disorder'];
  const tokenizer = await loadTokenizer(writeTokenizerJson(freshFolder(root), vocabulary));
  for (const text of ['n'.repeat(1e6), 'дер'.repeat(3e5), ' '.repeat(1e6), 'enn'.repeat(3e5)]) {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  }
});

test('the entry gpt2-native/tokenizer does not load the addon', async () => {
  const vocabulary = vocabularies['like GPT-2’s'];
  const folder = freshFolder(root);
  writeRandomModel(folder, { vocabulary: 900, context: 8, width: 8 });
  await convert(writeTokenizerJson(folder, vocabulary), join(folder, 'model.gguf'));
  const entry = JSON.stringify(join(__dirname, '..', 'dist', 'tokenizer'));
  const program = `
    process.dlopen = () => { throw new Error('an addon was loaded'); };
    (async () => {
      const required = require(${entry});
      const imported = await import(${entry} + '.mjs');
      console.log(imported.gpt2Tokenizer === required.gpt2Tokenizer, required.gpt2Tokenizer.count('Hello world'));
      for (const path of process.argv.slice(1)) {
        const tokenizer = await imported.loadTokenizer(path);
        console.log(tokenizer.decode(tokenizer.encode('Der Weg')));
      }
    })();`;
  const paths = [folder, join(folder, 'model.gguf')];
  const { stdout, stderr } = await runProcess(['-e', program, ...paths]);
  expect({ stdout, stderr }).toEqual({ stdout: 'true 2\nDer Weg\nDer Weg\n', stderr: '' });
});
