// The options of generate and stream: what they change, what ends a text, and what results hold.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { optionTable, stageNames } from '../dist/generation/option-table.js';
import {
  type GenerateOptions,
  type Generation,
  type GenerationPart,
  Gpt2Error,
  loadModel,
  type Model,
} from '../dist/index.js';
import { failure } from './failure.js';
import { fixtureFolder } from './golden.js';
import { runNode } from './node-process.js';
import { temporaryFolder } from './temporary-folder.js';

/** The bundled model: 256 positions, GPT-2's vocabulary. */
let model: Model;
/** 96 positions, no vocabulary. */
let idModel: Model;
let longText: Generation;
const prompt = 'The old man went to the window';
const greedy = { temperature: 0, maxTokens: 60 } as const;

beforeAll(async () => {
  model = await loadModel(undefined, { threads: 1 });
  idModel = await loadModel(fixtureFolder('wide'), { threads: 1, cacheDir: temporaryFolder() });
  longText = await model.generate(prompt, { maxTokens: 100, seed: 3, topK: 50 });
});
afterAll(async () => {
  await model.dispose();
  await idModel.dispose();
});

async function partsOf(
  stream: AsyncIterable<GenerationPart>,
): Promise<{ text: string; parts: GenerationPart[] }> {
  const parts: GenerationPart[] = [];
  for await (const part of stream) parts.push(part);
  return { text: parts.map(({ text }) => text).join(''), parts };
}

/** The log-probabilities of all tokens after each of the given ones, [tokens, vocabSize], in double precision. */
async function logSoftmax(one: Model, tokens: number[]): Promise<Float64Array[]> {
  const { data, shape } = await one.logits(tokens, { positions: 'all' });
  const [rows, vocabSize] = shape;
  return Array.from({ length: rows }, (_, row) => {
    const logits = Float64Array.from(data.subarray(row * vocabSize, (row + 1) * vocabSize));
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    return logits.map((logit) => logit - largest - Math.log(sum));
  });
}

describe('an option', () => {
  const garbage = [
    null,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '',
    'x',
    true,
    [],
    [null],
    [-1],
    [''],
    [[]],
    {},
    { x: 1 },
    () => 7,
    Symbol('s'),
    10n,
    new Map(),
    new Proxy({}, {}),
  ];

  test.each(Object.keys(optionTable))('%s takes any value or rejects it', async (name) => {
    for (const value of garbage) {
      const call = idModel.generate([1, 2], { maxTokens: 2, seed: 1, [name]: value } as never);
      const outcome = await call.then(
        () => 'done',
        (error: unknown) => error,
      );
      if (outcome === 'done') continue;
      expect(outcome, `${name}: ${String(value)}`).toBeInstanceOf(Gpt2Error);
      expect((outcome as Gpt2Error).code).toMatch(
        /^(INVALID_ARGUMENT|UNKNOWN_OPTION|TOKEN_OUT_OF_RANGE|TOKENIZER_MISSING)$/,
      );
      expect((outcome as Gpt2Error).message).toMatch(/^(Expected|This model works)/);
    }
  });

  test.each([
    ['tempurature', 'temperature'],
    ['top_k', 'topK'],
    ['TopP', 'topP'],
    ['maxtokens', 'maxTokens'],
    ['stop_tokens', 'stopTokens'],
    ['repetition_penalty', 'repetitionPenalty'],
  ])('that is misspelt as %s is named', async (given, meant) => {
    const error = await failure('UNKNOWN_OPTION', () =>
      model.generate('a', { [given]: 1 } as GenerateOptions),
    );
    expect(error.message).toMatch(new RegExp(`Did you mean "${meant}"\\?$`));
  });

  test('that resembles none is not', async () => {
    const error = await failure('UNKNOWN_OPTION', () =>
      model.generate('a', { zzzzzz: 1 } as GenerateOptions),
    );
    expect(error.message).not.toContain('Did you mean');
  });

  test.each([
    ['xtc', { probability: 0.5, treshold: 0.1 }, 'threshold'],
    ['dry', { multiplier: 1, allowed_length: 1 }, 'allowedLength'],
  ])('has fields, and %s names misspelt ones', async (name, value, meant) => {
    const error = await failure('UNKNOWN_OPTION', () => model.generate('a', { [name]: value }));
    expect(error.message).toContain(`Did you mean "${meant}"?`);
  });

  test('has required fields', async () => {
    await failure('INVALID_ARGUMENT', () => model.generate('a', { dry: {} as never }));
    await failure('INVALID_ARGUMENT', () => model.generate('a', { xtc: {} as never }));
    await model.generate('a', { maxTokens: 1, mirostat: {} });
  });

  test('with text needs a tokenizer', async () => {
    for (const options of [{ stop: 'x' }, { badWords: ['x'] }, { logitBias: { x: 1 } }]) {
      await failure('TOKENIZER_MISSING', () => idModel.generate([1], options));
    }
    await idModel.generate([1], { maxTokens: 3, dry: { multiplier: 1 } });
  });
});

describe('the sampler', () => {
  test('applies its stages in the given order', async () => {
    // Of the two likeliest tokens, the second is favoured so that it is the likeliest: before or after one is kept.
    const [logprobs] = (await logSoftmax(model, [...model.tokenizer.encode(prompt)])).slice(-1);
    const order = [...(logprobs as Float64Array).keys()].sort(
      (a, b) => (logprobs?.[b] as number) - (logprobs?.[a] as number),
    );
    const [first = 0, second = 0] = order;
    const options = { maxTokens: 1, topK: 1, logitBias: { [second]: 50 } };
    const tokensWith = async (samplers?: string[]) =>
      (await model.generate(prompt, { ...options, samplers })).tokens[0];
    expect(await tokensWith()).toBe(second);
    expect(await tokensWith(['logitBias', 'topK'])).toBe(second);
    expect(await tokensWith(['topK', 'logitBias'])).toBe(first);
  });

  test('refuses an order without a stage that is asked for', async () => {
    const error = await failure('INVALID_ARGUMENT', () =>
      model.generate('a', { topP: 0.9, samplers: ['topK'] }),
    );
    expect(error.message).toContain('"topP"');
    const misspelt = await failure('INVALID_ARGUMENT', () =>
      model.generate('a', { samplers: ['top_k'] }),
    );
    expect(misspelt.message).toContain('Did you mean "topK"?');
    await failure('INVALID_ARGUMENT', () => model.generate('a', { samplers: ['topK', 'topK'] }));
    expect(stageNames).toHaveLength(18);
  });

  test('refuses options that leave no token', async () => {
    const all = Array.from({ length: idModel.config.vocabSize }, (_, token) => token);
    const error = await failure('INVALID_ARGUMENT', () =>
      idModel.generate([1], { suppressTokens: all }),
    );
    expect(error.message).toContain('leave a token');
  });

  test('forces, suppresses and favours tokens', async () => {
    const { tokens } = await idModel.generate([1], { maxTokens: 5, forcedTokens: [7, 3, 7] });
    expect([...tokens.subarray(0, 3)]).toEqual([7, 3, 7]);
    const [likeliest = 0] = (await idModel.generate([1], { ...greedy, maxTokens: 1 })).tokens;
    for (const options of [
      { suppressTokens: [likeliest] },
      { badWords: [[likeliest]] },
      { logitBias: { [likeliest]: Number.NEGATIVE_INFINITY } },
    ]) {
      const { tokens: others } = await idModel.generate([1], { ...greedy, ...options });
      expect(others).not.toContain(likeliest);
    }
  });

  test('never completes bad words', async () => {
    for (const word of [' the', 'an', 's.', '\n']) {
      const { text } = await model.generate(prompt, { maxTokens: 100, seed: 1, badWords: [word] });
      expect(text).not.toContain(word);
    }
  });

  test('does not repeat n-grams', async () => {
    const { tokens } = await idModel.generate([1, 2], { ...greedy, noRepeatNgramSize: 2 });
    const pairs = Array.from(tokens, (token, i) => `${tokens[i - 1] ?? 2} ${token}`);
    expect(new Set(pairs).size).toBe(pairs.length);
  });
});

describe('a stop string', () => {
  test('ends the text before it, across the borders of tokens', async () => {
    const { text, seed } = longText;
    let across = 0;
    for (let at = 20; at < 220; at += 7) {
      const stop = text.slice(at, at + 1 + (at % 9));
      const cut = text.slice(0, text.indexOf(stop));
      using session = model.createSession();
      const result = await session.generate(prompt, { maxTokens: 100, seed, topK: 50, stop });
      expect(result.text).toBe(cut);
      expect(result.finishReason).toBe('stop');
      expect(result.stopMatched).toBe(stop);
      expect(model.tokenizer.decode(result.tokens)).toBe(cut);
      expect(session.tokens).toEqual(
        Uint32Array.from([...model.tokenizer.encode(prompt), ...result.tokens]),
      );
      if (result.tokens.some((token, i) => token !== longText.tokens[i])) across++;
    }
    expect(across).toBeGreaterThan(5);
  });

  test('of several is the first that is complete', async () => {
    const { text, seed } = longText;
    const stop = [text.slice(60, 64), text.slice(40, 45), 'never to be found'];
    const result = await model.generate(prompt, { maxTokens: 100, seed, topK: 50, stop });
    expect(result.text).toBe(text.slice(0, text.indexOf(stop[1] as string)));
    expect(result.stopMatched).toBe(stop[1]);
  });

  test('is held back by streams, and released when it does not come', async () => {
    const { text, seed } = longText;
    const stop = `${text.slice(50, 60)}☃`; // begins like the text and then differs
    let sampled = 0;
    const arrived: { end: number; sampled: number }[] = [];
    let end = 0;
    const result = await model.generate(prompt, {
      ...{ maxTokens: 100, seed, topK: 50, stop },
      logitsProcessor: (_, { step }) => {
        sampled = step;
      },
      onPart: (_, part) => {
        end += part.text.length;
        arrived.push({ end, sampled });
      },
    });
    expect(result.text).toBe(text);
    // What may begin the string came when the token after it had been sampled.
    const reaching = longText.offsets.findIndex((offset) => offset > 60) - 1;
    const held = arrived.filter(({ end }) => end > 50 && end < 60);
    expect(held.length).toBeGreaterThan(0);
    for (const part of held) expect(part.sampled).toBeGreaterThanOrEqual(reaching);
    const before = arrived.filter(({ end }) => end <= 50);
    expect(before.some((part) => part.sampled < reaching)).toBe(true);
  });

  test('leaves a session that goes on from the text', async () => {
    const { text, seed } = longText;
    const stop = text.slice(51, 58);
    using session = model.createSession();
    await session.generate(prompt, { maxTokens: 100, seed, topK: 50, stop });
    const next = await session.generate('', greedy);
    const fresh = await model.generate(session.tokens.slice(0, -60), greedy);
    expect(next.text).toBe(fresh.text);
  });

  test('is not looked for before the minimum of tokens', async () => {
    const { seed } = longText;
    const result = await model.generate(prompt, {
      ...{ maxTokens: 100, seed, topK: 50, stop: 'e', minTokens: 30 },
    });
    expect(result.tokens.length).toBeGreaterThanOrEqual(30);
  });

  test('may be characters of several bytes, within tokens of single bytes', async () => {
    const bytes = model.tokenizer.encode('a snow☃man');
    const result = await model.generate('x', {
      forcedTokens: [...bytes],
      maxTokens: bytes.length,
      stop: '☃m',
    });
    expect(result.text).toBe('a snow');
    expect(model.tokenizer.decode(result.tokens)).toBe('a snow');
  });
});

describe('a text ends', () => {
  test('at a stop token, which is not part of it', async () => {
    const { tokens, seed } = longText;
    const stopTokens = [tokens[20] as number];
    const result = await model.generate(prompt, { maxTokens: 100, seed, topK: 50, stopTokens });
    expect(result.tokens).toEqual(tokens.slice(0, tokens.indexOf(stopTokens[0] as number)));
    expect(result.finishReason).toBe('stop');
    expect(result.stopMatched).toBe(stopTokens[0]);
  });

  test('at the end of text, unless that is ignored', async () => {
    const { endOfText } = model.tokenizer;
    const options = { forcedTokens: [5, endOfText, 6], maxTokens: 3 };
    const ended = await model.generate(prompt, options);
    expect([...ended.tokens]).toEqual([5]);
    expect(ended.finishReason).toBe('endOfText');
    const ignored = await model.generate(prompt, { ...options, ignoreEndOfText: true });
    expect([...ignored.tokens]).toEqual([5, endOfText, 6]);
    expect(ignored.text).toContain('<|endoftext|>');
    const atLeast = await model.generate(prompt, {
      ...{ ...greedy, maxTokens: 10, minTokens: 10, logitBias: { [endOfText]: 1e6 } },
    });
    expect(atLeast.tokens.length).toBe(10);
  });

  test('after the part for which the predicate returns true', async () => {
    const seen: GenerationPart[] = [];
    const stopWhen = (part: GenerationPart) => {
      seen.push(part);
      return seen.length === 5;
    };
    using session = model.createSession();
    const result = await session.generate(prompt, { ...greedy, stopWhen });
    expect(seen.length).toBe(5);
    expect(result.text).toBe(seen.map(({ text }) => text).join(''));
    expect(result.finishReason).toBe('predicate');
    expect(session.length).toBe(model.tokenizer.count(prompt) + result.tokens.length);
    const { text } = await session.generate('', { ...greedy, maxTokens: 5 });
    expect(result.text + text).toBe(
      (await model.generate(prompt, greedy)).text.slice(0, (result.text + text).length),
    );
    await failure('INVALID_ARGUMENT', () =>
      model.generate(prompt, { ...greedy, stopWhen: (async () => false) as never }),
    );
  });

  test('when its time is used up', async () => {
    const result = await model.generate(prompt, { ...greedy, timeBudgetMs: 0 });
    expect(result.finishReason).toBe('time');
    expect(result.tokens.length).toBe(1);
  });
});

describe('log-probabilities', () => {
  test('are those of the model', async () => {
    const { tokens, logprobs, topLogprobs, offsets, text } = await model.generate(prompt, {
      ...{ maxTokens: 30, seed: 5, temperature: 0.7, topK: 20, logprobs: true, topLogprobs: 4 },
    });
    const start = model.tokenizer.encode(prompt);
    const rows = (await logSoftmax(model, [...start, ...tokens])).slice(start.length - 1, -1);
    expect(topLogprobs?.shape).toEqual([tokens.length, 4]);
    for (const [i, row] of rows.entries()) {
      expect(logprobs?.[i]).toBeCloseTo(row[tokens[i] as number] as number, 4);
      const order = [...row.keys()].sort((a, b) => (row[b] as number) - (row[a] as number));
      for (let j = 0; j < 4; j++) {
        expect(topLogprobs?.logprobs[4 * i + j]).toBeCloseTo(row[order[j] as number] as number, 4);
        expect(topLogprobs?.tokens[4 * i + j]).toBe(order[j]);
      }
      expect(text.slice(offsets[i])).toBe(model.tokenizer.decode(tokens.slice(i)));
    }
  });

  test('may be those of the sampler', async () => {
    const { tokens, logprobs, topLogprobs } = await model.generate(prompt, {
      ...{ maxTokens: 10, seed: 5, topK: 2, topLogprobs: 3, logprobsFrom: 'sampler' },
    });
    for (let i = 0; i < tokens.length; i++) {
      const top = [
        ...(topLogprobs as { logprobs: Float32Array }).logprobs.subarray(3 * i, 3 * i + 3),
      ];
      expect(Math.exp(top[0] as number) + Math.exp(top[1] as number)).toBeCloseTo(1, 5);
      expect(top[2]).toBe(Number.NEGATIVE_INFINITY);
      expect(top.slice(0, 2)).toContain(logprobs?.[i]);
    }
  });

  test('are absent unless asked for', async () => {
    const result = await model.generate(prompt, { maxTokens: 2 });
    expect(result).not.toHaveProperty('logprobs');
    expect(result).not.toHaveProperty('topLogprobs');
    const alone = await model.generate(prompt, { maxTokens: 2, topLogprobs: 1 });
    expect(alone.logprobs?.length).toBe(2);
  });

  test('of parts are those of the whole', async () => {
    const options = { maxTokens: 40, seed: 9, topLogprobs: 2, forcedTokens: [] };
    const whole = await model.generate('☃', options);
    const { text, parts } = await partsOf(model.stream('☃', options));
    const last = parts.pop();
    expect(text).toBe(whole.text);
    expect(parts.flatMap((part) => part.tokens)).toEqual([...whole.tokens]);
    expect(parts.flatMap((part) => [...(part.logprobs ?? [])])).toEqual([
      ...(whole.logprobs ?? []),
    ]);
    expect(parts.flatMap((part) => [...part.offsets])).toEqual([...whole.offsets]);
    expect(parts.flatMap((part) => [...(part.topLogprobs?.tokens ?? [])])).toEqual([
      ...(whole.topLogprobs?.tokens ?? []),
    ]);
    expect(last?.finishReason).toBe(whole.finishReason);
    expect(last?.usage).toEqual({ ...whole.usage, cachedTokens: last?.usage?.cachedTokens });
  });

  test('are NaN for the rest of a token that a stop string cut', async () => {
    const forcedTokens = [...model.tokenizer.encode(' and information')];
    const { tokens, logprobs, text } = await model.generate(prompt, {
      ...{ forcedTokens, maxTokens: 2, stop: 'format', logprobs: true },
    });
    expect(text).toBe(' and in');
    expect(tokens.length).toBe(2);
    expect(logprobs?.[0]).toBeLessThan(0);
    expect(logprobs?.[1]).toBeNaN();
  });
});

describe('samples', () => {
  test('are those of their seeds alone', async () => {
    const options = { maxTokens: 15, topK: 30 };
    const { samples, ...first } = await model.generate(prompt, { ...options, n: 4, seed: 10 });
    expect(samples?.map(({ seed }) => seed)).toEqual([10, 11, 12, 13]);
    for (const sample of samples ?? []) {
      const alone = await model.generate(prompt, { ...options, seed: sample.seed });
      expect(sample.text).toBe(alone.text);
      expect(sample.tokens).toEqual(alone.tokens);
    }
    expect(first.text).toBe(samples?.[0]?.text);
  });

  test('may be the best of more', async () => {
    const options = { maxTokens: 8, seed: 20 };
    const all = await model.generate(prompt, { ...options, n: 6, logprobs: true });
    const mean = ({ logprobs = new Float32Array() }: Generation) =>
      logprobs.reduce((a, b) => a + b, 0) / logprobs.length;
    const ranked = [...(all.samples ?? [])].sort((a, b) => mean(b) - mean(a));
    const best = await model.generate(prompt, { ...options, n: 2, bestOf: 6 });
    expect(best.samples?.map(({ seed }) => seed)).toEqual(
      ranked.slice(0, 2).map(({ seed }) => seed),
    );
    expect(best.text).toBe(ranked[0]?.text);
    expect(best).not.toHaveProperty('logprobs');
    await failure('INVALID_ARGUMENT', () => model.generate(prompt, { n: 3, bestOf: 2 }));
    await failure('INVALID_ARGUMENT', () => model.generate(prompt, { n: 2, onPart: () => {} }));
  });

  test('share the evaluation of the prompt', async () => {
    const { samples } = await model.generate(prompt, { maxTokens: 1, n: 3 });
    const count = model.tokenizer.count(prompt);
    for (const { usage } of samples ?? []) expect(usage.cachedTokens).toBe(count - 1);
  });

  test('of a session leave it with the first', async () => {
    using session = model.createSession();
    const { text } = await session.generate(prompt, { maxTokens: 10, n: 3, seed: 1 });
    expect(model.tokenizer.decode(session.tokens)).toBe(prompt + text);
    const next = await session.generate('', greedy);
    using other = model.createSession();
    await other.evaluate(session.tokens.slice(0, -next.tokens.length));
    expect((await other.generate('', greedy)).text).toBe(next.text);
  });

  test('are refused in streams', async () => {
    await failure('INVALID_ARGUMENT', () => model.stream(prompt, { n: 2 }).next());
    using session = model.createSession();
    await failure('INVALID_ARGUMENT', () => session.stream(prompt, { bestOf: 2 }).next());
  });
});

describe('several prompts', () => {
  const prompts = ['The sea', 'A house', prompt];

  test('get the texts that they get alone, in order', async () => {
    const options = { maxTokens: 20, seed: 4, topK: 20 };
    const all = await model.generate(prompts, options);
    for (const [i, one] of prompts.entries()) {
      expect(all[i]?.text).toBe((await model.generate(one, options)).text);
    }
  });

  test('without a seed get different ones', async () => {
    const all = await model.generate(['a', 'a', 'a'], { maxTokens: 1 });
    expect(new Set(all.map(({ seed }) => seed)).size).toBe(3);
  });

  test('are streamed together', async () => {
    const options = { maxTokens: 12, seed: 4 };
    const texts = ['', '', ''];
    const ends = [];
    for await (const { index, text, finishReason } of model.stream(prompts, options)) {
      texts[index] += text;
      if (finishReason) ends.push(index);
    }
    expect(ends.sort()).toEqual([0, 1, 2]);
    expect(texts).toEqual((await model.generate(prompts, options)).map(({ text }) => text));
  });

  test('that are left early or fail stop', async () => {
    for await (const _ of model.stream(prompts, { maxTokens: 200, ignoreEndOfText: true })) break;
    const error = await failure('TOKEN_OUT_OF_RANGE', async () => {
      for await (const _ of model.stream([prompt, [10 ** 6]], { maxTokens: 200 }));
    });
    expect(error.message).toContain('1000000');
  });

  test('have listeners for their parts', async () => {
    const texts = ['', '', ''];
    const all = await model.generate(prompts, {
      ...{ maxTokens: 12, seed: 4 },
      onPart: (index, { text }) => {
        texts[index] += text;
      },
    });
    expect(texts).toEqual(all.map(({ text }) => text));
    const thrown = new Error('mine');
    const call = model.generate(prompts, {
      onPart: () => {
        throw thrown;
      },
    });
    await expect(call).rejects.toBe(thrown);
  });
});

describe('a logits processor', () => {
  test('changes the logits before each token', async () => {
    const contexts: { length: number; promptLength: number; step: number }[] = [];
    const start = [...model.tokenizer.encode(prompt)];
    const { tokens } = await model.generate(prompt, {
      ...{ ...greedy, maxTokens: 6 },
      logitsProcessor: (logits, { tokens: before, promptLength, step }) => {
        contexts.push({ length: before.length, promptLength, step });
        expect([...before.subarray(0, start.length)]).toEqual(start);
        logits.fill(Number.NEGATIVE_INFINITY);
        logits[100 + step] = 0;
      },
    });
    expect([...tokens]).toEqual([100, 101, 102, 103, 104, 105]);
    expect(contexts).toEqual(
      Array.from({ length: 6 }, (_, step) => ({
        length: start.length + step,
        promptLength: start.length,
        step,
      })),
    );
  });

  test('that changes nothing leaves the text as it is', async () => {
    const options = { maxTokens: 30, seed: 8, topP: 0.9 };
    const expected = await model.generate(prompt, options);
    const { text } = await model.generate(prompt, {
      ...options,
      logitsProcessor: async () => {
        await new Promise((resolve) => setImmediate(resolve));
      },
    });
    expect(text).toBe(expected.text);
    const { text: streamed } = await partsOf(
      model.stream(prompt, { ...options, logitsProcessor: () => {} }),
    );
    expect(streamed).toBe(expected.text);
  });

  test('leaves the log-probabilities of the model', async () => {
    const options = { ...greedy, maxTokens: 3, logprobs: true };
    const expected = await model.generate(prompt, { ...options, forcedTokens: [7, 7, 7] });
    const { logprobs } = await model.generate(prompt, {
      ...options,
      logitsProcessor: (logits) => {
        logits[7] = 1e6;
      },
    });
    expect(logprobs).toEqual(expected.logprobs);
  });

  test('does not hold up others', async () => {
    let answer = () => {};
    const waiting = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const slow = model.generate(prompt, {
      ...greedy,
      maxTokens: 3,
      logitsProcessor: () => waiting,
    });
    const fast = await model.generate(prompt, { ...greedy, maxTokens: 3 });
    answer();
    expect((await slow).text).toBe(fast.text);
  });

  test.each([
    [
      'throws',
      () => {
        throw new RangeError('mine');
      },
    ],
    ['rejects', () => Promise.reject(new RangeError('mine'))],
  ])('that %s rejects the call with its error', async (_, logitsProcessor) => {
    using session = model.createSession();
    await session.evaluate('Before');
    await expect(session.generate(prompt, { logitsProcessor })).rejects.toThrow(RangeError);
    await expect(partsOf(session.stream(prompt, { logitsProcessor }))).rejects.toThrow('mine');
    expect(session.length).toBe(model.tokenizer.count('Before'));
    await session.generate(prompt, { maxTokens: 2 });
  });

  test('that transfers the logits or makes them NaN rejects the call', async () => {
    const moved = await failure('INVALID_ARGUMENT', () =>
      model.generate(prompt, {
        logitsProcessor: (logits) => {
          structuredClone(logits, { transfer: [logits.buffer as ArrayBuffer] });
        },
      }),
    );
    expect(moved.message).toContain('transferred');
    await failure('NOT_FINITE', () =>
      model.generate(prompt, { logitsProcessor: (logits) => void logits.fill(Number.NaN) }),
    );
    await failure('INVALID_ARGUMENT', () =>
      model.generate(prompt, {
        logitsProcessor: (logits) => void logits.fill(Number.NEGATIVE_INFINITY),
      }),
    );
  });

  test('that never answers does not keep a call from being aborted', async () => {
    const never = () => new Promise<void>(() => {});
    const controller = new AbortController();
    using session = model.createSession();
    const call = session.generate(prompt, { logitsProcessor: never, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await expect(call).rejects.toThrow('enough');
    await session.generate(prompt, { maxTokens: 2 });

    const other = model.createSession();
    const disposed = other.generate(prompt, { logitsProcessor: never });
    setTimeout(() => other.dispose(), 50);
    await failure('DISPOSED', () => disposed);

    const second = await loadModel(undefined, { threads: 1 });
    const stopped = second.generate(prompt, { logitsProcessor: never });
    setTimeout(() => void second.dispose(), 50);
    await failure('DISPOSED', () => stopped);
  });
});

describe('a call that ends while the engine asks the host', () => {
  // The event loop is busy until the engine waits for an answer that nobody will give.
  const busy = () => {
    for (const end = Date.now() + 30; Date.now() < end; );
  };

  test('leaves nothing that waits', async () => {
    const { exitCode, stdout } = await runNode(
      `const model = await gpt2.loadModel(undefined, { threads: 1 });
       globalThis.kept = model;
       const busy = ${busy};
       for (let i = 0; i < 5; i++) {
         for await (const _ of model.stream('Hello', { maxTokens: 50, logitsProcessor() {} })) { busy(); break; }
         const onPart = () => { busy(); throw new Error('mine'); };
         const session = model.createSession();
         await session.generate('Hello', { logitsProcessor() {}, onPart }).catch(({ message }) => console.log(message));
       }`,
      {},
    );
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'mine\n'.repeat(5) });
  });

  test('ends by its time budget', async () => {
    const { finishReason } = await model.generate(prompt, {
      timeBudgetMs: 50,
      logitsProcessor: () => new Promise(() => {}),
    });
    expect(finishReason).toBe('time');
  });
});

describe('a full context', () => {
  test('has room for the rest of a token that a stop string cuts', async () => {
    const small = await loadModel(undefined, { threads: 1, contextLength: 8 });
    using session = small.createSession();
    const forcedTokens = [...small.tokenizer.encode(' something')];
    const { text } = await session.generate('a a a a a a a', {
      ...{ maxTokens: 1, forcedTokens, stop: 'ing' },
    });
    expect(text).toBe(' someth');
    expect(session.length).toBeLessThanOrEqual(8);
    expect(small.tokenizer.decode(session.tokens).endsWith(text)).toBe(true);
    await session.generate('', { maxTokens: 1 });
    await small.dispose();
  });

  test('slides while tokens are held back', async () => {
    const small = await loadModel(undefined, { threads: 1, contextLength: 8 });
    const [a = 0] = small.tokenizer.encode(' a');
    const options = { maxTokens: 15, overflow: 'slide', ignoreEndOfText: true } as const;
    await failure('INVALID_ARGUMENT', () =>
      small.generate(' b', { ...options, stop: ' a'.repeat(10) }),
    );
    using session = small.createSession();
    const forcedTokens = Array(12).fill(a);
    const { text } = await session.generate(' b', { ...options, stop: ' a a ab', forcedTokens });
    expect(text.startsWith(' a'.repeat(12))).toBe(true);
    for (const at of [1, 3, 9]) {
      let count = 0;
      using other = small.createSession();
      const result = await other.generate(' b', {
        ...{ ...options, forcedTokens, stop: ' a a ab' },
        stopWhen: () => ++count === at,
      });
      expect(result.tokens.length).toBe(at);
      expect(` b${result.text}`.endsWith(small.tokenizer.decode(other.tokens))).toBe(true);
      expect(other.length).toBeGreaterThan(0);
      const next = await other.generate('', { temperature: 0, maxTokens: 2 });
      const fresh = await small.generate(other.tokens.slice(0, -2), {
        temperature: 0,
        maxTokens: 2,
      });
      expect(next.text).toBe(fresh.text);
    }
    await small.dispose();
  });
});

describe('extreme settings', () => {
  test.each([
    { temperature: 1e46, suppressTokens: [0] },
    { dry: { multiplier: 0, base: 1e300 }, suppressTokens: [0] },
    { frequencyPenalty: -1e308, suppressTokens: [0] },
  ])('never sample what is suppressed: %o', async (options) => {
    const { tokens } = await idModel.generate([0, 0, 0, 0], { maxTokens: 20, seed: 1, ...options });
    expect(tokens).not.toContain(0);
  });

  test('of many bad words take little time at each token', async () => {
    const badWords = Array.from({ length: 2000 }, (_, i) => `word${i}`);
    const { text } = await model.generate(prompt, { maxTokens: 20, seed: 1, badWords });
    expect(text).not.toMatch(/word\d/);
  });
});

describe('an asynchronous listener', () => {
  test('that rejects rejects the call', async () => {
    const mine = new Error('mine');
    const onPart = async () => {
      throw mine;
    };
    await expect(model.generate(prompt, { onPart })).rejects.toBe(mine);
    const stopWhen = (async () => {
      throw mine;
    }) as never;
    await failure('INVALID_ARGUMENT', () => model.generate(prompt, { stopWhen }));
  });
});

describe('a session', () => {
  test('slides over the context', async () => {
    const small = await loadModel(undefined, { threads: 1, contextLength: 32 });
    const options = { temperature: 0, ignoreEndOfText: true } as const;
    using session = small.createSession();
    const start = [...small.tokenizer.encode(prompt)];
    const { tokens } = await session.generate(prompt, {
      ...options,
      maxTokens: 70,
      overflow: 'slide',
    });
    expect(tokens.length).toBe(70);
    let window = [...start];
    for (const token of tokens) {
      if (window.length === 32) window = window.slice(16);
      const { tokens: next } = await small.generate(window, { ...options, maxTokens: 1 });
      expect(next[0]).toBe(token);
      window.push(token);
    }
    expect([...session.tokens]).toEqual(window);
    // An aborted or abandoned run leaves a session that goes on from its tokens.
    for await (const _ of session.stream('', { ...options, maxTokens: 50, overflow: 'slide' }))
      break;
    const controller = new AbortController();
    const aborted = session.generate(' and', {
      ...{ ...options, maxTokens: 5000, overflow: 'slide', signal: controller.signal },
      onPart: () => controller.abort(),
    });
    await expect(aborted).rejects.toThrow();
    const left = [...session.tokens];
    const text = (await session.generate(' then', { ...options, maxTokens: 3, overflow: 'slide' }))
      .text;
    const then = [...small.tokenizer.encode(' then')];
    const all = [...left, ...then];
    const expected = await small.generate(all.length > 32 ? all.slice(-16) : all, {
      ...options,
      maxTokens: 3,
      overflow: 'slide',
    });
    expect(text).toBe(expected.text);

    const full = await small.generate(prompt, { ...options, maxTokens: 100 });
    expect(full.tokens.length + start.length).toBe(33 - 1);
    expect(full.finishReason).toBe('length');
    await failure('CONTEXT_OVERFLOW', () =>
      small.generate(prompt, { ...options, maxTokens: 100, overflow: 'error' }),
    );
    await small.dispose();
  });

  test('is saved and restored', async () => {
    const folder = temporaryFolder();
    const path = `${folder}/text.session`;
    using session = model.createSession();
    await session.generate(prompt, { maxTokens: 20, seed: 2 });
    await session.save(path);
    const expected = await session.generate('', greedy);
    using restored = model.createSession();
    await restored.evaluate('Something else');
    await restored.restore(path);
    const next = await restored.generate('', greedy);
    expect(next.text).toBe(expected.text);
    expect(next.usage.cachedTokens).toBe(next.usage.promptTokens - 1);
    expect(restored.tokens).toEqual(session.tokens);
  });

  test('refuses other files', async () => {
    const folder = temporaryFolder();
    using session = model.createSession();
    await session.evaluate('Kept');
    const { tokens } = session;
    await session.save(`${folder}/a.session`);
    await failure('INVALID_FILE', () => idModel.createSession().restore(`${folder}/a.session`));
    await failure('INVALID_FILE', () => session.restore(`${fixtureFolder('wide')}/config.json`));
    await failure('FILE_NOT_FOUND', () => session.restore(`${folder}/none`));
    await failure('FILE_UNREADABLE', () => session.restore(folder));
    await failure('FILE_UNWRITABLE', () => session.save(`${folder}/a.session/b`));
    for (const path of ['', 'a\0b', 7, null, undefined]) {
      await failure('INVALID_ARGUMENT', () => session.save(path as string));
      await failure('INVALID_ARGUMENT', () => session.restore(path as string));
    }
    await failure('UNKNOWN_OPTION', () => session.save(`${folder}/b`, { x: 1 } as never));
    expect(session.tokens).toEqual(tokens);
    await session.generate('', { maxTokens: 2 });
  });
});

describe('a readable stream', () => {
  test('has the parts, and is cancelled', async () => {
    const options = { maxTokens: 12, seed: 4 };
    const { text } = await partsOf(model.readableStream(prompt, options));
    expect(text).toBe((await model.generate(prompt, options)).text);
    const reader = (model.readableStream(prompt, { maxTokens: 200 }) as ReadableStream).getReader();
    expect((await reader.read()).value).toHaveProperty('text');
    await reader.cancel();
    const failing = (model.readableStream([10 ** 6], options) as ReadableStream).getReader();
    await failure('TOKEN_OUT_OF_RANGE', () => failing.read());
  });
});
