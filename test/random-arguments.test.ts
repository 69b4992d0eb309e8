// Arbitrary values as the arguments of every call: it succeeds or fails with a Gpt2Error.

import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import {
  convert,
  crossEntropy,
  Gpt2Error,
  loadModel,
  type Model,
  type Session,
  type Tokenizer,
} from '../dist/index.js';
import { writeSmallCheckpoint, writeTextCheckpoint } from './checkpoint-folder.js';
import { fuzzRuns, fuzzTimeout } from './fuzz-runs.js';
import { temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const loading = { cacheDir: join(root, 'cache'), threads: 1 };
process.env.GPT2_NATIVE_CACHE = loading.cacheDir;
let folder: string;
let model: Model;
let textModel: Model;
let session: Session;

beforeAll(async () => {
  folder = writeSmallCheckpoint(join(root, 'small'));
  model = await loadModel(folder, loading);
  textModel = await loadModel(writeTextCheckpoint(join(root, 'text')), loading);
});
afterAll(async () => {
  await model.dispose();
  await textModel.dispose();
});

// biome-ignore lint/suspicious/noExplicitAny: these tests pass what the types forbid
type Wrong = any;

const anything = fc.anything({
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
});
// Strings are excluded where they would create folders anywhere.
const noString = anything.filter((value) => typeof value !== 'string');

/** Options with these names, some of them with valid values. */
function options(valid: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> {
  const values = Object.entries(valid).map(
    ([name, value]) => [name, name === 'cacheDir' ? noString : fc.oneof(value, anything)] as const,
  );
  return fc.oneof(
    { weight: 3, arbitrary: fc.record(Object.fromEntries(values), { requiredKeys: [] }) },
    { weight: 1, arbitrary: anything },
  );
}

const nothing = fc.constant(undefined);
const type = fc.constantFrom('f32', 'f16', 'q8_0', 'q4_k');
const tokens = fc.oneof(
  fc.array(fc.nat(4), { maxLength: 9 }),
  fc.uint32Array({ max: 5, maxLength: 9 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const input = fc.oneof(tokens, fc.array(tokens, { maxLength: 3 }), anything);
const evaluation = options({
  positions: fc.oneof(fc.constantFrom('last', 'all'), fc.array(fc.nat(9))),
  signal: nothing,
});
const generation = options({
  maxTokens: fc.maxSafeNat(),
  temperature: fc.double({ min: 0, noNaN: true }),
  topK: fc.maxSafeNat(),
  topP: fc.double({ min: 0, max: 1, noNaN: true }),
  seed: fc.maxSafeNat(),
  signal: nothing,
});
const adapters = fc.constantFrom<unknown[]>([], ['absent'], [{ path: root, scale: 2 }]);
const conversion = { type, adapters, signal: nothing, onProgress: fc.constant(() => {}) };
const load = options({
  ...conversion,
  device: fc.constantFrom('auto', 'cpu', 'cuda'),
  threads: fc.constantFrom(1, 2),
  contextLength: fc.nat(10),
  cacheType: fc.constantFrom('f32', 'f16'),
  cacheMemory: fc.nat(1_000_000),
  prefixCache: fc.boolean(),
  mmap: fc.boolean(),
  cacheDir: nothing,
});
const windows = {
  startFromEndOfText: fc.boolean(),
  contextLength: fc.nat(9),
  stride: fc.nat(9),
  signal: nothing,
};
const scoring = options({
  ...windows,
  topK: fc.nat(5),
  spans: fc.array(fc.tuple(fc.nat(9), fc.nat(9)), { maxLength: 3 }),
  onProgress: fc.constant(() => {}),
});
const ranking = options({ pmi: fc.boolean(), signal: nothing });
const embedding = options({
  layer: fc.nat(1),
  pooling: fc.constantFrom('mean', 'last', 'max'),
  normalize: fc.boolean(),
  signal: nothing,
});
const template = fc.constantFrom('{text}: {label}', '{label}', '{text} {label}{text}');
const classification = options({ template, calibrate: fc.boolean(), signal: nothing });
const answers = fc.oneof(
  fc.array(fc.string({ maxLength: 9 }), { maxLength: 4 }),
  fc.constant('yesNo'),
  fc.record({ from: fc.oneof(fc.integer(), fc.nat(9)), to: fc.oneof(fc.integer(), fc.nat(20)) }),
  anything,
);
const encoding = options({ allowedSpecial: fc.constantFrom('all', ['<|endoftext|>']) });

async function firstParts(stream: AsyncGenerator<unknown>): Promise<void> {
  await stream.next();
  await stream.next();
  await stream.return(undefined);
}

async function disposeOf(loaded: Promise<Model>): Promise<void> {
  await (await loaded).dispose();
}

const tokenizers = (): Tokenizer[] => [model.tokenizer, textModel.tokenizer];

/** Every call with arguments, and the arbitraries for them. */
const calls: Record<
  string,
  [
    first: fc.Arbitrary<Wrong>,
    second: fc.Arbitrary<Wrong>,
    (first: Wrong, second: Wrong) => unknown,
  ]
> = {
  'loadModel, its source': [anything, nothing, (source) => disposeOf(loadModel(source, loading))],
  'loadModel, its options': [load, nothing, (given) => disposeOf(loadModel(folder, given))],
  'convert, its folder': [anything, nothing, (from) => convert(from, join(root, 'out.gguf'))],
  'convert, its target': [nothing, noString, (_, target) => convert(folder, target)],
  'convert, its options': [
    options(conversion),
    nothing,
    (given) => convert(folder, join(root, 'out.gguf'), given),
  ],
  logits: [input, evaluation, (prompt, given) => model.logits(prompt, given)],
  'logits of text': [input, evaluation, (prompt, given) => textModel.logits(prompt, given)],
  generate: [input, generation, (prompt, given) => model.generate(prompt, given)],
  'generate text': [input, generation, (prompt, given) => textModel.generate(prompt, given)],
  stream: [input, generation, (prompt, given) => firstParts(model.stream(prompt, given))],
  evaluate: [input, evaluation, (prompt, given) => session.evaluate(prompt, given)],
  'session generate': [input, generation, (prompt, given) => session.generate(prompt, given)],
  'session stream': [
    input,
    generation,
    (prompt, given) => firstParts(session.stream(prompt, given)),
  ],
  score: [input, scoring, (text, given) => model.score(text, given)],
  'score text': [input, scoring, (text, given) => textModel.score(text, given)],
  rank: [input, ranking, (candidates, given) => model.rank([1, 2], candidates, given)],
  'rank, its prompt': [input, input, (prompt, candidates) => model.rank(prompt, candidates)],
  embed: [input, embedding, (text, given) => model.embed(text, given)],
  classify: [answers, classification, (labels, given) => textModel.classify('A b', labels, given)],
  decide: [answers, classification, (given, chosen) => textModel.decide('Is it?', given, chosen)],
  'crossEntropy, its models': [
    fc.oneof(fc.constant(undefined), anything),
    input,
    (other, text) => crossEntropy(model, other ?? model, text),
  ],
  crossEntropy: [input, options(windows), (text, given) => crossEntropy(model, model, text, given)],
  rewind: [anything, nothing, (length) => session.rewind(length)],
  encode: [input, encoding, (text, given) => tokenizers().map((each) => each.encode(text, given))],
  spans: [input, nothing, (ids) => tokenizers().map((each) => each.spans(ids))],
  count: [input, nothing, (text) => tokenizers().map((each) => each.count(text))],
  decode: [input, nothing, (ids) => tokenizers().map((each) => each.decode(ids))],
  decodeToken: [anything, nothing, (id) => tokenizers().map((each) => each.decodeToken(id))],
};

test.each(Object.entries(calls))('%s', { timeout: fuzzTimeout }, (_, [first, second, call]) =>
  fc.assert(
    fc.asyncProperty(first, second, async (one, other) => {
      using fresh = model.createSession();
      await fresh.evaluate([1, 2]);
      session = fresh;
      try {
        await call(one, other);
      } catch (error) {
        if (!(error instanceof Gpt2Error) || error.code === 'INTERNAL') throw error;
      }
    }),
    fuzzRuns(100),
  ),
);
