// Tokens that were added to GPT-2's. The ids expected are worked out by hand: those of the words are GPT-2's, as
// tokenizer.test.ts has them from other sources, and those added are what the files say.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { NativeVocabulary } from '../dist/addon.js';
import type { Tokenizer } from '../dist/index.js';
import { TokenSearch } from '../dist/token-search.js';
import { Gpt2Tokenizer, TextStreamDecoder, tokenizerFor } from '../dist/tokenizer.js';
import { uniformNumbers } from './checkpoint-folder.js';
import { failure } from './failure.js';

const normal = 1;
const unknown = 2;
const control = 3;
const userDefined = 4;

type Added = [text: string, kind: number, id?: number];

/** A tokenizer with tokens added from 50,257 on. */
function tokenizerWith(...added: Added[]): Tokenizer {
  const ids = Float64Array.from(added, ([, , id], index) => id ?? 50257 + index);
  const kinds = Int32Array.from(added, ([, kind]) => kind);
  const texts = added.map(([text]) => text);
  return new Gpt2Tokenizer(Math.max(50256, ...ids) + 1, { ids, kinds, texts });
}

describe('a text is cut at the tokens in it:', () => {
  const split = (tokens: string[], text: string) => [
    ...new TokenSearch(new Map(tokens.map((token, id) => [token, id]))).split(text),
  ];

  // The definition: at each place the longest token that begins there.
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
    ['of an empty text', ['x'], '', []],
    ['one that is the text', ['abc'], 'abc', [0]],
    ['two in a row', ['x'], 'xx', [0, 0]],
    ['the earliest, though another is longer', ['ab', 'bcde'], 'abcde', [0, 'cde']],
    ['the longest of those that begin at a place', ['a', 'abc', 'ab'], 'abcabd', [1, 2, 'd']],
    [
      'one within the start of a longer one that is not there',
      ['bc', 'abcd'],
      'abce',
      ['a', 0, 'e'],
    ],
    ['one that only begins', ['<|user|>'], 'a<|user|', ['a<|user|']],
    ['one of characters beyond 16 bits', ['😀', '😀😁'], '😁😀😁😀', ['😁', 1, 0]],
    ['one at the end', ['ab'], 'aab', ['a', 0]],
  ])('%s', (_, tokens, text, parts) => {
    expect(naiveSplit([...tokens], text)).toEqual(parts);
    expect(split(tokens, text)).toEqual(parts);
  });

  test('as the definition has it, whatever the tokens', () => {
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

  test('in time that grows with the text alone', () => {
    // A search that begins anew at every place, or after every token, takes 10^10 steps for these.
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

  test('are all allowed, or those that are named', () => {
    const all = [50257, 15496, 50258, 995, 50256];
    expect(encode(text, 'all')).toEqual(all);
    expect(encode(text, ['<|pad|>', '<|endoftext|>', '<|user|>'])).toEqual(all);
    expect(encode(text, ['<|user|>'])).toEqual([50257, 15496, ...pad, 995, ...endOfText]);
    expect(encode(text, ['<|pad|>'])).toEqual([...user, 15496, 50258, 995, ...endOfText]);
    expect(encode(text, ['<|pad|>', '<|pad|>'])).toEqual(encode(text, ['<|pad|>']));
    expect(encode('<unk>', ['<unk>'])).toEqual([50259]);
    expect(tokenizer.decode(all)).toBe(text);
  });

  test('are found whichever lists came before', () => {
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

  test('that a model does not have cannot be allowed', async () => {
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

  test('go with those that are allowed', () => {
    const ids = tokenizer.encode('<|user|>[SEP]<|endoftext|>', { allowedSpecial: 'all' });
    expect([...ids]).toEqual([50259, 50257, 50256]);
  });

  test('are not among those that may be allowed', async () => {
    const { message } = await failure('INVALID_ARGUMENT', () =>
      tokenizer.encode('a', { allowedSpecial: ['[SEP]'] }),
    );
    expect(message).toContain('("<|endoftext|>", "<|user|>")');
  });

  test('leave other texts as they are', () => {
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
  test('are written out when they are decoded, and padding is not', () => {
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
    // 12520 is a space and the first two bytes of an emoji.
    const decoder = new TextStreamDecoder(tokenizerWith(['<|user|>', control]));
    expect([12520, 50257, 64].map((id) => decoder.write(id))).toEqual([' ', '\ufffd<|user|>', 'a']);
  });

  // As llama.cpp reads them: normal tokens are spelt in bytes, others are not, and only those that are not
  // normal are recognised as a whole. Ġ stands for a space, Ċ for a line feed; Ã and ¼ are the bytes of ü.
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

  test('may have names that are empty, or that others have', () => {
    const tokenizer = tokenizerWith(
      ['', control],
      ['', userDefined],
      ['<x>', control],
      ['<x>', userDefined],
      ['<|endoftext|>', userDefined],
      ['Hello', userDefined],
    );
    const all = (text: string) => [...tokenizer.encode(text, { allowedSpecial: 'all' })];
    // Of several the first; a token of GPT-2's is made of its bytes, and one added is found before that.
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

  test('that are too many leave a model without a tokenizer', async () => {
    const vocabulary: NativeVocabulary = {
      count: 150_257,
      fingerprint: '9afb947b6443b4b9',
      mergeCount: 50_000,
    };
    const tokenizer = tokenizerFor(150_257, vocabulary);
    const { message } = await failure('TOKENIZER_MISSING', () => tokenizer.encode('a'));
    expect(message).toContain('the 100000 tokens that were added');
  });
});
