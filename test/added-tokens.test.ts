// Tokens added to GPT-2's vocabulary. The expected ids of words are GPT-2's, which tokenizer.test.ts checks against
// other sources. The ids of added tokens are those in the files.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  convert,
  type GenerationPart,
  loadModel,
  type Model,
  type Tokenizer,
} from '../dist/index.js';
import type { NativeVocabulary } from '../dist/native/types.js';
import { TextStreamDecoder } from '../dist/tokenizer/text-stream-decoder.js';
import { TokenSearch } from '../dist/tokenizer/token-search.js';
import { Gpt2Tokenizer, gpt2TokenizerFor } from '../dist/tokenizer/tokenizer.js';
import { plainSettings } from '../dist/tokenizer/vocabulary.js';
import {
  f32Tensor,
  uniformNumbers,
  writeSmallCheckpoint,
  writeTextCheckpoint,
} from './checkpoint-folder.js';
import { failure } from './failure.js';
import { readGguf } from './gguf-reader.js';
import { mergesTxt, vocabJson } from './gpt2-vocabulary.js';
import { readSafetensors, writeSafetensors } from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const normal = 1;
const unknown = 2;
const control = 3;
const userDefined = 4;
const unused = 5;

type Added = [text: string, kind: number, id?: number];

/** A tokenizer with added tokens from the id 50,257 on. */
function tokenizerWith(...added: Added[]): Tokenizer {
  const ids = Float64Array.from(added, ([, , id], index) => id ?? 50257 + index);
  const kinds = Int32Array.from(added, ([, kind]) => kind);
  const texts = added.map(([text]) => text);
  return new Gpt2Tokenizer(Math.max(50256, ...ids) + 1, { ids, kinds, texts });
}

describe('a text is split at the added tokens in it:', () => {
  // Without the pauses, which are undefined.
  const split = (tokens: string[], text: string) =>
    [...new TokenSearch(new Map(tokens.map((token, id) => [token, id]))).split(text)].filter(
      (part) => part !== undefined,
    );

  // The definition: at each position the longest token that starts there.
  function naiveSplit(tokens: string[], text: string): (string | number)[] {
    const parts: (string | number)[] = [];
    let start = 0;
    for (let at = 0; at < text.length; ) {
      const here = tokens.filter((token) => text.startsWith(token, at));
      const longest = here.sort((left, right) => right.length - left.length)[0];
      if (longest === undefined) {
        at++;
        continue;
      }
      if (at > start) parts.push(text.slice(start, at));
      parts.push(tokens.indexOf(longest));
      at += longest.length;
      start = at;
    }
    return start < text.length ? [...parts, text.slice(start)] : parts;
  }

  test.each<[string, string[], string, (string | number)[]]>([
    ['none', ['x'], 'abc', ['abc']],
    ['an empty text', ['x'], '', []],
    ['one that is the whole text', ['abc'], 'abc', [0]],
    ['two in a row', ['x'], 'xx', [0, 0]],
    ['the earliest, even if another is longer', ['ab', 'bcde'], 'abcde', [0, 'cde']],
    ['the longest of those that start at a position', ['a', 'abc', 'ab'], 'abcabd', [1, 2, 'd']],
    ['one inside an incomplete longer one', ['bc', 'abcd'], 'abce', ['a', 0, 'e']],
    ['an incomplete one', ['<|user|>'], 'a<|user|', ['a<|user|']],
    ['one with characters outside the BMP', ['😀', '😀😁'], '😁😀😁😀', ['😁', 1, 0]],
    ['one at the end', ['ab'], 'aab', ['a', 0]],
  ])('%s', (_, tokens, text, parts) => {
    expect(naiveSplit([...tokens], text)).toEqual(parts);
    expect(split(tokens, text)).toEqual(parts);
  });

  test('any tokens, according to the definition', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), maxLength: 40 });
    const token = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: 1, maxLength: 6 });
    const tokens = fc.uniqueArray(token, { maxLength: 12 });
    fc.assert(
      fc.property(tokens, letters, (all, text) => {
        expect(split(all, text)).toEqual(naiveSplit([...all], text));
      }),
      { numRuns: 3000 },
    );
  });

  test('in time linear in the text', () => {
    // A search that restarts at every position, or after every token, takes 10^10 steps for these.
    const long = 'a'.repeat(20_000);
    const text = 'a'.repeat(1_000_000);
    expect(split([`${long}b`], text)).toEqual([text]);
    expect(split(['a', `${long}b`], text)).toHaveLength(1_000_000);
    expect(split([`b${long}`], text)).toEqual([text]);
    const next = uniformNumbers(1);
    const many = Array.from(
      { length: 50_000 },
      (_, index) => `<${Math.floor(next() * 1e9)}:${index}>`,
    );
    expect(split(many, `${text}${many[7]}`)).toEqual([text, 7]);
  });
});

describe('special tokens', () => {
  const tokenizer = tokenizerWith(['<|user|>', control], ['<|pad|>', control], ['<unk>', unknown]);
  const encode = (text: string, allowedSpecial?: 'all' | string[]) => [
    ...tokenizer.encode(text, allowedSpecial && { allowedSpecial }),
  ];
  const text = '<|user|>Hello<|pad|> world<|endoftext|>';
  // < | user | >, < | pad | > and < | end of text | >
  const user = [27, 91, 7220, 91, 29];
  const pad = [27, 91, 15636, 91, 29];
  const endOfText = [27, 91, 437, 1659, 5239, 91, 29];

  test('are ordinary text unless they are allowed', () => {
    for (const allowed of [undefined, []]) {
      expect(encode(text, allowed)).toEqual([...user, 15496, ...pad, 995, ...endOfText]);
    }
    expect(tokenizer.count(text)).toBe(19);
    expect(tokenizer.decode(encode(text))).toBe(text);
  });

  test('may be allowed all, or by name', () => {
    const all = [50257, 15496, 50258, 995, 50256];
    expect(encode(text, 'all')).toEqual(all);
    expect(encode(text, ['<|pad|>', '<|endoftext|>', '<|user|>'])).toEqual(all);
    expect(encode(text, ['<|user|>'])).toEqual([50257, 15496, ...pad, 995, ...endOfText]);
    expect(encode(text, ['<|pad|>'])).toEqual([...user, 15496, 50258, 995, ...endOfText]);
    expect(encode(text, ['<|pad|>', '<|pad|>'])).toEqual(encode(text, ['<|pad|>']));
    expect(encode('<unk>', ['<unk>'])).toEqual([50259]);
    expect(tokenizer.decode(all)).toBe(text);
  });

  test('are found regardless of the lists in earlier calls', () => {
    const lists = [['<|user|>'], ['<|pad|>'], ['<unk>'], ['<|endoftext|>'], []];
    for (let round = 0; round < 3; round++) {
      for (const list of lists) {
        const ids = encode('<|user|><|pad|><unk><|endoftext|>', list);
        const special = ids.filter((id) => id >= 50256);
        expect(special).toEqual(list.map((name) => encode(name, 'all')[0]));
      }
      lists.reverse();
    }
  });

  test('cannot be allowed if the model does not have them', async () => {
    const { message } = await failure('INVALID_ARGUMENT', () => encode('a', ['<|sep|>']));
    expect(message).toBe(
      'Expected the special tokens in allowedSpecial to be the model\'s ("<|endoftext|>", "<|user|>", "<|pad|>", "<unk>") but received "<|sep|>"',
    );
    const many = Array.from({ length: 5000 }, (_, index): Added => [`<${index}>`, control]);
    const other = tokenizerWith(...many);
    const error = await failure('INVALID_ARGUMENT', () =>
      other.encode('a', { allowedSpecial: ['<5000>'] }),
    );
    expect(error.message).toContain('"<8>" and 4991 more) but received "<5000>"');
    expect([...other.encode('<4999>', { allowedSpecial: 'all' })]).toEqual([55256]);
  });

  test('must be named by their texts', async () => {
    for (const list of [[50257], [null], [['<|user|>']], [new String('<|user|>')], [undefined]]) {
      await failure('INVALID_ARGUMENT', () => encode('a', list as string[]));
    }
  });
});

describe('tokens that are not special', () => {
  const tokenizer = tokenizerWith(
    ['[SEP]', userDefined],
    ['[SEP][SEP]', userDefined],
    ['<|user|>', control],
    ['grüß dich', userDefined],
  );
  const encode = (text: string) => [...tokenizer.encode(text)];

  test('are always recognised', () => {
    expect(encode('Hello[SEP] world')).toEqual([15496, 50257, 995]);
    expect(encode('[SEP][SEP][SEP]')).toEqual([50258, 50257]);
    expect(encode('a grüß dich')).toEqual([64, 220, 50260]);
    expect(encode('[SEP')).toEqual([58, 5188, 47]);
    expect(tokenizer.count('Hello[SEP] world')).toBe(3);
    expect(tokenizer.decode([15496, 50258, 995, 50260])).toBe('Hello[SEP][SEP] worldgrüß dich');
  });

  test('are recognised together with allowed special tokens', () => {
    const ids = tokenizer.encode('<|user|>[SEP]<|endoftext|>', { allowedSpecial: 'all' });
    expect([...ids]).toEqual([50259, 50257, 50256]);
  });

  test('cannot be named in allowedSpecial', async () => {
    const { message } = await failure('INVALID_ARGUMENT', () =>
      tokenizer.encode('a', { allowedSpecial: ['[SEP]'] }),
    );
    expect(message).toContain('("<|endoftext|>", "<|user|>")');
  });

  test('do not affect other texts', () => {
    const plain = new Gpt2Tokenizer();
    const character = fc.constantFrom(...' \n[SEP]<|user>grüßdich😀\ud83d\ude00');
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 60 }), (text) => {
        fc.pre(!text.includes('[SEP]') && !text.includes('grüß dich'));
        expect(tokenizer.encode(text)).toEqual(plain.encode(text));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('added tokens of any kind', () => {
  test('are decoded to their names, and padding to nothing', () => {
    const tokenizer = tokenizerWith(['<|user|>', control], ['[SEP]', userDefined, 50260]);
    expect(tokenizer.vocabSize).toBe(50261);
    expect(tokenizer.endOfText).toBe(50256);
    expect(Buffer.from(tokenizer.decodeToken(50257)).toString()).toBe('<|user|>');
    expect([...tokenizer.decodeToken(50258)]).toEqual([]);
    expect(tokenizer.decode([50257, 50258, 50259, 15496, 50260])).toBe('<|user|>Hello[SEP]');
    expect(() => tokenizer.decode([50261])).toThrow('from 0 to 50260');
    tokenizer.decodeToken(50257).fill(0);
    expect(tokenizer.decode([50257])).toBe('<|user|>');
  });

  test('end the character before them in a stream', () => {
    // The token 12520 is a space and the first two bytes of an emoji.
    const decoder = new TextStreamDecoder(tokenizerWith(['<|user|>', control]));
    expect([12520, 50257, 64].map((id) => decoder.write(id))).toEqual([' ', '\ufffd<|user|>', 'a']);
  });

  // As in llama.cpp, the text of a normal token spells bytes and that of all others is plain, and normal tokens are not
  // recognised as a whole. Ġ stands for a space, Ċ for a line feed; Ã and ¼ are the bytes of ü.
  test.each<[string, number, string]>([
    ['ĠnewĊ', normal, ' new\n'],
    ['Ã¼', normal, 'ü'],
    ['two words', normal, 'two words'],
    ['Ġnew', control, 'Ġnew'],
    ['Ã¼', userDefined, 'Ã¼'],
    ['Ġnew', 6, 'Ġnew'],
  ])('%j of the kind %i is %j', (text, kind, decoded) => {
    const tokenizer = tokenizerWith([text, kind]);
    expect(tokenizer.decode([50257])).toBe(decoded);
    const isWhole = kind === control || kind === userDefined;
    const ids = [...tokenizer.encode(decoded, { allowedSpecial: 'all' })];
    expect(ids.includes(50257)).toBe(isWhole);
    expect(tokenizer.decode(ids)).toBe(decoded);
  });

  test('may have empty or duplicate names', () => {
    const tokenizer = tokenizerWith(
      ['', control],
      ['', userDefined],
      ['<x>', control],
      ['<x>', userDefined],
      ['<|endoftext|>', userDefined],
      ['Hello', userDefined],
    );
    const all = (text: string) => [...tokenizer.encode(text, { allowedSpecial: 'all' })];
    // The first duplicate counts. An added token takes precedence over a token of GPT-2 with the same text.
    expect(all('<x><|endoftext|>Hello world')).toEqual([50259, 50256, 50262, 995]);
    expect([...tokenizer.encode('<x>')]).toEqual([27, 87, 29]);
    expect(tokenizer.decode([50257, 50258, 50259, 50260, 50261, 50262])).toBe(
      '<x><x><|endoftext|>Hello',
    );
  });

  test('may be long', async () => {
    const long = 'x'.repeat(100_000);
    const tokenizer = tokenizerWith([long, userDefined]);
    expect([...tokenizer.encode(`a${long}${long}`)]).toEqual([64, 50257, 50257]);
  });

  test('leave a model without a tokenizer if there are too many', async () => {
    const vocabulary: NativeVocabulary = {
      count: 150_257,
      fingerprint: '9afb947b6443b4b9',
      mergeCount: 50_000,
    };
    const tokenizer = gpt2TokenizerFor(150_257, vocabulary, plainSettings);
    const { message } = await failure('TOKENIZER_MISSING', () => tokenizer?.encode('a'));
    expect(message).toContain('the 100000 tokens added');
  });
});

describe('a checkpoint with added tokens', () => {
  // The embedding, which is also the head, and the final norm are chosen such that the token 50,258 always wins.
  function writeModel(vocabulary: number): string {
    const folder = writeTextCheckpoint(freshFolder(root), vocabulary);
    const path = join(folder, 'model.safetensors');
    const tensors = new Map(readSafetensors(path));
    const embedding = tensors.get('wte.weight') as { bytes: Buffer };
    for (let column = 0; column < 8; column++) {
      embedding.bytes.writeFloatLE(100, (50258 * 8 + column) * 4);
    }
    tensors.set('ln_f.weight', f32Tensor([8], new Array(8).fill(0)));
    tensors.set('ln_f.bias', f32Tensor([8], new Array(8).fill(1)));
    writeSafetensors(path, tensors);
    return folder;
  }
  const write = (folder: string, name: string, content: unknown) =>
    writeFileSync(join(folder, name), JSON.stringify(content));
  const vocab = JSON.parse(vocabJson()) as Record<string, number>;
  const merges = mergesTxt().trimEnd().split('\n').slice(1);

  // In each form, [PAD] and <|user|> are special, [SEP] is not, and 50,260 is padding.
  const forms: Record<string, (folder: string) => void> = {
    'in added_tokens.json and special_tokens_map.json': (folder) => {
      write(folder, 'added_tokens.json', { '[PAD]': 50257, '<|user|>': 50258, '[SEP]': 50259 });
      write(folder, 'special_tokens_map.json', {
        bos_token: '<|endoftext|>',
        pad_token: '[PAD]',
        additional_special_tokens: [{ content: '<|user|>', lstrip: false }],
      });
    },
    'in added_tokens.json and tokenizer_config.json': (folder) => {
      write(folder, 'added_tokens.json', { '[PAD]': 50257, '<|user|>': 50258, '[SEP]': 50259 });
      write(folder, 'tokenizer_config.json', {
        add_bos_token: false,
        pad_token: { content: '[PAD]', __type: 'AddedToken' },
        additional_special_tokens: ['<|user|>'],
      });
    },
    // As written by fast tokenizers, whose added_tokens.json omits the first token.
    'in the added_tokens_decoder of tokenizer_config.json': (folder) => {
      write(folder, 'added_tokens.json', { '<|user|>': 50258, '[SEP]': 50259 });
      write(folder, 'tokenizer_config.json', {
        added_tokens_decoder: {
          50256: { content: '<|endoftext|>', special: true },
          50257: { content: '[PAD]', special: true },
          50258: { content: '<|user|>', special: true },
          50259: { content: '[SEP]', special: false },
        },
      });
    },
    'in tokenizer.json': (folder) => {
      for (const name of ['vocab.json', 'merges.txt']) rmSync(join(folder, name));
      const { '<|endoftext|>': _, ...words } = vocab;
      write(folder, 'tokenizer.json', {
        added_tokens: [
          { id: 50256, content: '<|endoftext|>', special: true },
          { id: 50257, content: '[PAD]', special: true },
          { id: 50258, content: '<|user|>', special: true },
          { id: 50259, content: '[SEP]', special: false },
        ],
        model: { type: 'BPE', vocab: words, merges },
      });
    },
  };

  describe.each(Object.entries(forms))('%s', (_, writeTokens) => {
    let folder: string;
    let model: Model;
    beforeAll(async () => {
      folder = writeModel(50261);
      writeTokens(folder);
      model = await loadModel(folder, { cacheDir: join(folder, 'cache'), threads: 1 });
    });
    afterAll(() => model?.dispose());

    test('has them in its GGUF file', async () => {
      const path = join(folder, 'model.gguf');
      await convert(folder, path);
      const { metadata } = readGguf(path);
      const tokens = metadata.get('tokenizer.ggml.tokens') as string[];
      const kinds = metadata.get('tokenizer.ggml.token_type') as number[];
      expect(tokens.slice(50255)).toEqual([
        'Ġgazed',
        '<|endoftext|>',
        '[PAD]',
        '<|user|>',
        '[SEP]',
        '[PAD50260]',
      ]);
      expect(kinds.slice(50255)).toEqual([1, 3, 3, 3, 4, 5]);
      expect(kinds.slice(0, 50256).every((kind) => kind === 1)).toBe(true);
      expect(metadata.get('tokenizer.ggml.bos_token_id')).toBe(50256);
      expect(metadata.get('tokenizer.ggml.eos_token_id')).toBe(50260); // as config.json says
    });

    test('encodes and decodes them', async () => {
      const { tokenizer } = model;
      const text = '<|user|>Hello[SEP] world[PAD]';
      expect(tokenizer.vocabSize).toBe(50261);
      expect(tokenizer.endOfText).toBe(50256);
      const all = [...tokenizer.encode(text, { allowedSpecial: 'all' })];
      expect(all).toEqual([50258, 15496, 50259, 995, 50257]);
      expect(tokenizer.decode(all)).toBe(text);
      // [ P AD ]
      expect([...tokenizer.encode('[PAD][SEP]')]).toEqual([58, 47, 2885, 60, 50259]);
      const { tokens } = await model.logits('Hello[SEP]');
      expect([...tokens]).toEqual([15496, 50259]);
    });

    test('generates and streams them', async () => {
      const options = { maxTokens: 3, temperature: 0 };
      const { text, tokens, finishReason } = await model.generate('Hello[SEP]', options);
      expect([...tokens]).toEqual([50258, 50258, 50258]);
      expect(text).toBe('<|user|><|user|><|user|>');
      expect(finishReason).toBe('length');
      const parts: GenerationPart[] = [];
      for await (const part of model.stream('Hello[SEP]', options)) parts.push(part);
      expect(parts.map((part) => part.text).join('')).toBe(text);
      expect(parts.flatMap((part) => part.tokens)).toEqual([...tokens]);
    });
  });

  test('without roles has no special tokens', async () => {
    const folder = writeModel(50259);
    write(folder, 'added_tokens.json', { '<|user|>': 50257, '[SEP]': 50258 });
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    const kinds = readGguf(path).metadata.get('tokenizer.ggml.token_type') as number[];
    expect(kinds.slice(50256)).toEqual([3, 4, 4]);
    await using model = await loadModel(path, { threads: 1 });
    expect([...model.tokenizer.encode('<|user|>Hello[SEP]')]).toEqual([50257, 15496, 50258]);
  });

  test('ignores tokens beyond the model’s vocabulary', async () => {
    const folder = writeTextCheckpoint(freshFolder(root));
    write(folder, 'added_tokens.json', { '[PAD]': 50257 });
    const cacheDir = join(folder, 'cache');
    await using model = await loadModel(folder, { cacheDir, threads: 1 });
    expect(model.tokenizer.vocabSize).toBe(50257);
    expect([...model.tokenizer.encode('Hello world')]).toEqual([15496, 995]);
    expect(() => model.tokenizer.decode([50257])).toThrow('from 0 to 50256');
  });

  test('is converted again when their definition has changed', async () => {
    const folder = writeModel(50260);
    write(folder, 'added_tokens.json', { '[PAD]': 50257, '<|user|>': 50258, '[SEP]': 50259 });
    const cacheDir = join(folder, 'cache');
    const recognised = async () => {
      await using model = await loadModel(folder, { cacheDir, threads: 1 });
      return model.tokenizer.encode('[PAD]').includes(50257);
    };
    expect(await recognised()).toBe(true);
    write(folder, 'special_tokens_map.json', { pad_token: '[PAD]' });
    expect(await recognised()).toBe(false);
    write(folder, 'tokenizer_config.json', {
      added_tokens_decoder: { 50257: { content: '[PAD]', special: false } },
    });
    expect(await recognised()).toBe(true);
  });

  test('keeps them when it is converted to another type', async () => {
    const folder = writeModel(50260);
    write(folder, 'added_tokens.json', { '[SEP]': 50259 });
    await convert(folder, join(folder, 'model.gguf'));
    await convert(join(folder, 'model.gguf'), join(folder, 'f16.gguf'), { type: 'f16' });
    await using model = await loadModel(join(folder, 'f16.gguf'), { threads: 1 });
    expect([...model.tokenizer.encode('Hello[SEP]')]).toEqual([15496, 50259]);
    expect(model.tokenizer.decode([50257, 50258, 50259])).toBe('[SEP]');
  });

  // The small checkpoint has the tokens 0 to 3 and one unused id.
  test.each<[string, string, unknown]>([
    ['tokenizer_config.json', 'a list', []],
    ['tokenizer_config.json', 'no id', { added_tokens_decoder: { x: { content: '<x>' } } }],
    [
      'tokenizer_config.json',
      'an id below 0',
      { added_tokens_decoder: { '-1': { content: 'x' } } },
    ],
    ['tokenizer_config.json', 'a taken id', { added_tokens_decoder: { 2: { content: '<x>' } } }],
    ['special_tokens_map.json', 'a number', 1],
    ['added_tokens.json', 'an invalid id', { '<x>': '4' }],
    ['added_tokens.json', 'a taken id', { '<x>': 2 }],
  ])('is rejected if %s has %s', async (name, _, content) => {
    const folder = writeSmallCheckpoint(freshFolder(root));
    write(folder, name, content);
    await failure('INVALID_FILE', () => convert(folder, join(folder, 'model.gguf')));
  });

  test.each<[string, unknown, number]>([
    ['tokenizer_config.json', { added_tokens_decoder: { 4: { content: '<x>' } } }, userDefined],
    ['tokenizer_config.json', { added_tokens_decoder: null }, unused],
    ['tokenizer_config.json', { added_tokens_decoder: 'text', pad_token: 7 }, unused],
    ['tokenizer_config.json', { added_tokens_decoder: { 4: null, 5: 'x', 6: [] } }, unused],
    ['tokenizer_config.json', { added_tokens_decoder: { 4: { content: 7 } } }, unused],
    ['tokenizer_config.json', { additional_special_tokens: [null, [[]], {}] }, unused],
    ['special_tokens_map.json', { pad_token: { content: {} }, eos_token: true }, unused],
  ])('opens if %s has %j', async (name, content, kind) => {
    const folder = writeSmallCheckpoint(freshFolder(root));
    write(folder, name, content);
    const path = join(folder, 'model.gguf');
    await convert(folder, path);
    expect(readGguf(path).metadata.get('tokenizer.ggml.token_type')).toEqual([1, 1, 1, 3, kind]);
  });

  test('may have names longer than GPT-2’s tokens', async () => {
    const folder = writeModel(50260);
    const long = 'x'.repeat(1000);
    write(folder, 'added_tokens.json', { [long]: 50257 });
    mkdirSync(join(folder, 'cache'));
    await using model = await loadModel(folder, { cacheDir: join(folder, 'cache'), threads: 1 });
    const { tokens } = await model.logits(long.repeat(64));
    expect([...tokens]).toEqual(new Array(64).fill(50257));
    await failure('CONTEXT_OVERFLOW', () => model.logits(long.repeat(65)));
  });
});
