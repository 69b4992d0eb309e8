// gpt2 eval, with a model whose tokens are independent and have chosen probabilities: what it measures can be worked out by
// hand.

import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { detokenizers } from '../dist/cli/evaluation/detokenize.js';
import { evaluateAll } from '../dist/cli/evaluation/evaluate.js';
import { continuationLogprobs } from '../dist/cli/evaluation/questions.js';
import { reportOf } from '../dist/cli/evaluation/report.js';
import type { Task, TaskRun } from '../dist/cli/evaluation/task.js';
import { tasks } from '../dist/cli/evaluation/tasks.js';
import { loadModel, type Model } from '../dist/index.js';
import { gpt2Tokenizer as tokenizer } from '../dist/tokenizer.js';
import { writeTextCheckpoint } from './checkpoint-folder.js';
import { runProcess } from './node-process.js';
import { readSafetensors, writeSafetensors } from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
const folder = temporaryFolder();
const environment = { GPT2_NATIVE_CACHE: join(folder, 'cache') };
let checkpoint: string;
let model: Model;

/** The probabilities of these tokens, times `total`. All others have the weight 1. */
const weights: Record<string, number> = {
  ' the': 5000,
  ' house': 1000,
  ' king': 400,
  ' dog': 100,
};
const vocabSize = 50257;
const total = vocabSize + Object.values(weights).reduce((sum, weight) => sum + weight - 1, 0);

/** The log-probability of a text and its number of tokens. */
function expected(text: string): { logprob: number; count: number } {
  const tokens = [...tokenizer.encode(text)];
  const weightOf = (token: number) => weights[tokenizer.decode([token])] ?? 1;
  const logprob = tokens.reduce((sum, token) => sum + Math.log(weightOf(token) / total), 0);
  return { logprob, count: tokens.length };
}

// The final norm returns (1, 0, …), so the logits are the first column of the token embedding.
beforeAll(async () => {
  checkpoint = writeTextCheckpoint(join(folder, 'unigram'));
  const path = join(checkpoint, 'model.safetensors');
  const tensors = new Map(readSafetensors(path));
  const change = (name: string, fill: (values: Float32Array) => void) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(name);
    const values = new Float32Array(tensor.bytes.length / 4);
    fill(values);
    tensors.set(name, { ...tensor, bytes: Buffer.from(values.buffer) });
  };
  change('ln_f.weight', () => {});
  change('ln_f.bias', (values) => {
    values[0] = 1;
  });
  change('wte.weight', (values) => {
    const width = values.length / vocabSize;
    for (const [text, weight] of Object.entries(weights)) {
      const [token] = tokenizer.encode(text) as unknown as [number];
      values[token * width] = Math.log(weight);
    }
  });
  writeSafetensors(path, tensors);
  model = await loadModel(checkpoint, { cacheDir: environment.GPT2_NATIVE_CACHE, threads: 1 });
});
afterAll(() => model?.dispose());

function file(content: string | Buffer, name = 'data.txt'): string {
  const path = join(freshFolder(folder), name);
  writeFileSync(path, content);
  return path;
}

const hashOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

const evaluate = (task: string, data: string, args: string[] = []) =>
  runProcess([command, 'eval', task, '-m', checkpoint, '--data', data, ...args], { environment });

type RunOptions = Partial<Pick<TaskRun, 'window' | 'stride' | 'detokenizes' | 'limit'>>;

const taskOf = (name: string) => tasks.find((task) => task.name === name) as Task;
const { signal } = new AbortController();

async function openTask(name: string, data: string, options: RunOptions = {}, one: Model = model) {
  const defaults = { window: 64, stride: 64, detokenizes: true, limit: Number.POSITIVE_INFINITY };
  return await taskOf(name).open({ model: one, paths: [data], signal, ...defaults, ...options });
}

/** What the command reports of a task. */
async function report(name: string, data: string, options: RunOptions = {}, one?: Model) {
  const task = await openTask(name, data, options, one);
  const totals = await evaluateAll({ task, settings: '', file: undefined, flags: {}, signal });
  const method = { description: '', detokenizer: null };
  const files = {
    model: { source: null, files: [], config: model.config, device: 'cpu' },
    data: [],
  };
  return reportOf(taskOf(name), totals, { method, ...files });
}

async function failureOf(task: string, data: string, args: string[] = []): Promise<string> {
  const { stdout, stderr, exitCode } = await evaluate(task, data, args);
  expect(stdout).toBe('');
  expect(exitCode).toBeGreaterThan(0);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  return stderr;
}

const books = (questions: [answer: string, choices: string][]) =>
  questions
    .map(([answer, choices]) => {
      const story = Array.from({ length: 20 }, (_, i) => `${i + 1} He did n't see .\n`).join('');
      return `${story}21 Then the XXXXX went , away .\t${answer}\t\t${choices}\n\n`;
    })
    .join('');

const ending = (fields: object) =>
  `${JSON.stringify({ activity_label: 'Roof', ctx_a: 'A man sits.', ctx_b: 'he', ...fields })}\n`;

const schema = (pronoun: string, answer: string) => `<schema><text>
  <txt1>The king &amp; queen saw</txt1><pron>${pronoun}</pron><txt2>house.</txt2></text>
  <answers><answer>The zxqv zxqv</answer><answer>The king</answer></answers>
  <correctAnswer> ${answer}.</correctAnswer></schema>`;

describe('a long text', () => {
  const lines = [' = A Title = ', ' The king , who was 10 @-@ years old , saw the house . ', ' '];
  const written = '= A Title =\nThe king, who was 10-years old, saw the house.\n\n';

  test('has the perplexity by the words of the data', async () => {
    const data = file(`${lines.join('\n')}\n`);
    const { logprob, count } = expected(written);
    const words = 4 + 14 + 0 + 3; // with the ends of lines
    const bytes = Buffer.byteLength(`${lines.join('\n')}\n`);
    const { metrics, totals, published, isPublishedCount } = await report('wikitext-2', data);
    expect(totals).toMatchObject({ words, bytes, lines: 3, tokens: count });
    expect(metrics.wordPerplexity).toBeCloseTo(Math.exp(-logprob / words), 0);
    expect(metrics.tokenPerplexity).toBeCloseTo(Math.exp(-logprob / count), 0);
    expect(metrics.bitsPerByte).toBeCloseTo(-logprob / Math.LN2 / bytes, 5);
    expect(published.wordPerplexity).toEqual({
      ...{ '117M': 29.41, '345M': 22.76, '762M': 19.93, '1542M': 18.34 },
    });
    expect(isPublishedCount).toBe(false);
  });

  test('may be taken as it is, in windows, and in part', async () => {
    const data = file(`${lines.join('\n')}\n`);
    const { logprob, count } = expected(`${lines.slice(0, 2).join('\n')}\n`);
    const options = { detokenizes: false, limit: 2, window: 8, stride: 3 };
    const { metrics, totals } = await report('wikitext-103', data, options);
    expect(totals).toMatchObject({ words: 20, tokens: count });
    expect(Math.log(metrics.wordPerplexity ?? 0)).toBeCloseTo(-logprob / 20, 5);
  });

  test('of the Penn Treebank has contractions and amounts', async () => {
    const data = file(" it did n't cost $ N \n");
    const { logprob } = expected("it didn't cost $N\n");
    const { metrics } = await report('ptb', data);
    expect(Math.log(metrics.wordPerplexity ?? 0)).toBeCloseTo(-logprob / 7, 5);
  });

  test('is measured in bits by the end of a file of 100 MB', async () => {
    const text = 'the king saw the dog';
    const { logprob } = expected(text);
    const bits = -logprob / Math.LN2 / text.length;
    const own = await report('text8', file(text));
    expect(own.metrics.bitsPerByte).toBeCloseTo(bits, 5);

    const whole = Buffer.alloc(100_000_000, 'zz');
    whole.write(`\u{1f600}${text}`, 95_000_000 - 2); // half of the first character belongs to the training set
    const { totals, metrics } = await report('enwik8', file(whole), { limit: 1 });
    const tail = text + 'z'.repeat(1000 - 2 - text.length);
    const tailScore = expected(tail);
    expect(totals).toMatchObject({ bytes: tail.length, tokens: tailScore.count });
    expect(metrics.bitsPerByte).toBeCloseTo(-tailScore.logprob / Math.LN2 / tail.length, 5);
  });
});

test('sentences are scored by themselves', async () => {
  const data = file('The king said , " No . "\n\nHe did n\'t see the house ( today ) .\n');
  const [a, b] = [expected('The king said, "No."'), expected("He didn't see the house (today).")];
  const { metrics, totals } = await report('1bw', data);
  expect(totals).toMatchObject({ examples: 2, words: 9 + 11, tokens: a.count + b.count });
  expect(Math.log(metrics.wordPerplexity ?? 0)).toBeCloseTo(-(a.logprob + b.logprob) / 20, 5);
});

test('the last word has a perplexity, and is predicted with and without stop words', async () => {
  const passages = ['He saw the house', 'It was not in the', 'They had a dog'];
  const data = file(passages.map((text) => `${JSON.stringify({ text })}\n`).join(''), 'a.jsonl');
  const { metrics, totals, reproduced } = await report('lambada', data);
  const logprob = Math.log(1000 / total) + Math.log(5000 / total) + Math.log(100 / total);
  expect(metrics.perplexity).toBeCloseTo(Math.exp(-logprob / 3), 2);
  expect(metrics.accuracy).toBeCloseTo(1 / 3); // " the" is the likeliest token
  expect(metrics.filteredAccuracy).toBeCloseTo(1 / 3); // " house" is the likeliest of the others
  expect(totals).toMatchObject({ examples: 3, accuracy: 1, filteredAccuracy: 1 });
  expect(reproduced.perplexity).toEqual({ '117M': 40.06 });

  const plain = file("he did n't see the house\n");
  expect((await report('lambada', plain)).totals.filteredAccuracy).toBe(1);
});

test('a question of a book is answered by the likeliest choice', async () => {
  const data = file(
    books([
      ['king', 'queen|king|cat'],
      ['queen', 'queen|king'],
      ['zxqv', 'zxqv|cat'],
    ]),
  );
  const { metrics } = await report('cbt-cn', data);
  expect(metrics.accuracy).toBeCloseTo(1 / 3); // " zxqv" has several tokens
  expect((await report('cbt-ne', data, { limit: 1 })).metrics.accuracy).toBe(1);
});

test('an activity goes on with the likeliest ending, or the likeliest for its length', async () => {
  // Three tokens, four letters for each of them; and two tokens of two letters.
  const endings = ['walks [sic]home now.', 'is.'];
  const data = file(ending({ endings, label: 1 }) + ending({ endings, label: '0' }));
  const { metrics } = await report('hellaswag', data, { limit: 1 });
  expect(metrics).toEqual({ accuracy: 1, accuracyByLength: 0 });
  expect((await report('hellaswag', data)).metrics).toEqual({
    accuracy: 0.5,
    accuracyByLength: 0.5,
  });
  // −2.4 for " the" and −4.0 for " house": −6.5 in all, and −0.72 and −0.81 for each character.
  const alike = file(ending({ endings: ['the house', 'the'], label: 0 }));
  expect((await report('hellaswag', alike)).metrics).toEqual({ accuracy: 0, accuracyByLength: 1 });
});

test('a pronoun stands for the likelier candidate', async () => {
  // What follows has the same probability after each, so the first one wins; the second one has fewer tokens.
  const data = file(`<collection>${schema('its', 'A')}\n${schema('it', 'B')}</collection>`);
  const { metrics, totals } = await report('winograd', data);
  expect(metrics).toEqual({ partialAccuracy: 0.5, fullAccuracy: 0.5 });
  expect(totals.examples).toBe(2);
});

test.each<[name: keyof typeof detokenizers, line: string, expected: string]>([
  ['wikitext', ' = = = Career , in part = = = ', '=== Career, in part ==='],
  ['wikitext', ' = ', '='],
  [
    'wikitext',
    ' He said " I don \'t know , " and paid $ 4 @,@ 000 @.@ 5 ( 10 % ) ; ok . ',
    'He said "I don\'t know," and paid $4,000.5 (10%); ok.',
  ],
  ['wikitext', " Shakespeare 's plays [ sic ] : two . . . ", "Shakespeare's plays [sic]: two..."],
  ['wikitext', ' ( $ 4 @.@ 5 or " ¥ 5 " or US $ 6 ) ', '($4.5 or "¥5" or US $6)'],
  ['wikitext', ' " Two " " Three " ( " Four " ) [ " five " ] ', '"Two" "Three" ("Four") ["five"]'],
  [
    'wikitext',
    ' ( 1990 – 91 ) at 3 : 15 , 40 km / h , 12 ° C : hot ',
    '(1990–91) at 3:15, 40 km/h, 12 °C: hot',
  ],
  [
    'wikitext',
    " players ' union , ' 90s , rock ' n ' roll , O 'Brien ",
    "players' union, '90s, rock 'n' roll, O'Brien",
  ],
  [
    'pennTreebank',
    " the <unk> 's did n't rise N N % to $ N ",
    "the <unk>'s didn't rise N N% to $N",
  ],
  ['pennTreebank', " companies ' n\\/a profits ", "companies' n/a profits"],
  [
    'quoted',
    "`` Well , '' said he , `` it 's -LRB- almost -RRB- done ! ''",
    '"Well," said he, "it\'s (almost) done!"',
  ],
  ['quoted', "`` ` No , ' he said . '' sons ' gon na ''.", "\"'No,' he said.\" sons' gonna ''."],
  ['quoted', '" yes " , " no " ( $ 5 ) ', '"yes", "no" ($5)'],
])('%s writes %j as people do', (name, line, expected) => {
  expect(detokenizers[name](line)).toBe(expected);
});

describe('the context', () => {
  const context = Array.from({ length: 40 }, (_, i) => `The king saw house number ${i} .`);
  let books: Model;
  beforeAll(async () => {
    books = await loadModel(undefined, { threads: 1, contextLength: 96 });
  });
  afterAll(() => books.dispose());

  /** ln p of tokens after the end of a text. */
  async function logprobAfter(text: string, continuation: string): Promise<number> {
    const tokens = [...tokenizer.encode(continuation)];
    const all = [...tokenizer.encode(text), ...tokens];
    const { data } = await books.logits(all.slice(-97, -1), { positions: 'all' });
    const rows = data.subarray(-tokens.length * vocabSize);
    return tokens.reduce((sum, token, i) => {
      const row = Float64Array.from(rows.subarray(i * vocabSize, (i + 1) * vocabSize));
      const largest = row.reduce((a, b) => Math.max(a, b));
      const total = row.reduce((a, logit) => a + Math.exp(logit - largest), 0);
      return sum + (row[token] as number) - largest - Math.log(total);
    }, 0);
  }

  test('of a question is its end, if it is too long', async () => {
    const endings = ['saw the house.', 'went away.', 'and, [step]the king'];
    const run = { model: books, signal } as TaskRun;
    const continuations = endings.map((one) => ` ${one}`);
    const logprobs = await continuationLogprobs(run, context.join(' '), continuations);
    for (const [i, continuation] of continuations.entries()) {
      // All candidates have the context of the longest.
      const longest = Math.max(...continuations.map((one) => tokenizer.encode(one).length));
      const cut = tokenizer.decode(tokenizer.encode(context.join(' ')).slice(-(97 - longest)));
      expect(logprobs[i]).toBeCloseTo(await logprobAfter(cut, continuation), 4);
    }
  });

  test('of a word is the passage before it', async () => {
    const passage = `${context.slice(0, 20).join(' ')} They saw the house`;
    const { totals } = await openAndReport('lambada', `${JSON.stringify({ text: passage })}\n`);
    const before = tokenizer.encode(passage.slice(0, -' house'.length));
    const expected = await logprobAfter(tokenizer.decode(before.slice(-95)), ' house');
    expect(totals.logprob).toBeCloseTo(expected, 5);
  });

  test('of a token in a long text is its window', async () => {
    const lines = context.map((line) => line.replace(' .', '.'));
    const { totals } = await openAndReport('wikitext-2', `${lines.join('\n')}\n`);
    const score = await books.score(`${lines.join('\n')}\n`, { contextLength: 64, stride: 64 });
    expect(totals.logprob).toBeCloseTo(score.logprob, 3);
  });

  test('of a pronoun is the text before it, with the candidate in its place', async () => {
    const { totals } = await openAndReport('winograd', schema('Its', 'A'));
    const [a, b] = await Promise.all(
      ["The zxqv zxqv's", "The king's"].map((candidate) =>
        books.score(`The king & queen saw ${candidate} house.`),
      ),
    );
    const better = (a?.logprob ?? 0) > (b?.logprob ?? 0) ? 1 : 0;
    expect(totals.fullAccuracy).toBe(better);
  });

  async function openAndReport(name: string, content: string) {
    return await report(name, file(content), {}, books);
  }
});

test('the report says how it was made', async () => {
  const data = file('A word .\n');
  const args = ['--json', '--window', '8', '--limit', '5'];
  const { stdout, stderr, exitCode } = await evaluate('ptb', data, args);
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  const { method, model: described, data: files, totals } = JSON.parse(stdout);
  expect(method).toMatchObject({ window: 8, stride: 8, limit: 5, detokenizer: 'pennTreebank' });
  expect(files).toEqual([{ file: 'data.txt', bytes: 9, sha256: hashOf(data) }]);
  expect(described.files).toEqual([
    {
      file: expect.stringMatching(/\.gguf$/),
      bytes: expect.any(Number),
      sha256: expect.any(String),
    },
  ]);
  expect(described).toMatchObject({ source: 'unigram', config: model.config, device: 'cpu' });
  expect(totals).toMatchObject({ lines: 1, words: 4, bytes: 9 });
});

test('the report goes to what a link names, and to pipes', async () => {
  const data = file('A word .\n');
  const [target, link] = [file(''), join(freshFolder(folder), 'link')];
  symlinkSync(target, link);
  await evaluate('ptb', data, ['--report', link]);
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(JSON.parse(readFileSync(target, 'utf8')).task).toBe('ptb');
  const { stdout } = await evaluate('ptb', data, ['--report', '/dev/stderr']);
  expect(stdout).toContain('perplexity by word');
});

test('the table has the published values beside the measured ones', async () => {
  const { stdout } = await evaluate('cbt-ne', file(books([['king', 'queen|king']])));
  const [head, row] = stdout.split('\n');
  expect(head).toBe('cbt-ne                         measured     117M     345M     762M    1542M');
  expect(row).toBe('accuracy                       100.00 %  83.40 %  87.10 %  88.00 %  89.05 %');
  expect(stdout).toMatch(/1\sexample. The\spublished data has 2,500 examples. The values of 117M/);
});

describe('an interrupted run', () => {
  const data = () =>
    file(books(Array.from({ length: 8 }, (_, i) => [i % 2 ? 'king' : 'cat', 'king|cat'])));

  test('goes on with the same results and report', async () => {
    const questions = data();
    const [output, first, second] = ['out.jsonl', 'a.json', 'b.json'].map((name) =>
      join(freshFolder(folder), name),
    ) as [string, string, string];
    const args = ['--output', output, '--report'];
    await evaluate('cbt-cn', questions, [...args, first]);
    const whole = readFileSync(output, 'utf8');
    expect(whole.trim().split('\n')).toHaveLength(8);
    const lines = whole.split('\n');
    writeFileSync(output, `${lines.slice(0, 3).join('\n')}\n${lines[3]?.slice(0, 20)}`);
    const { stderr } = await evaluate('cbt-cn', questions, [...args, second, '--resume']);
    expect(stderr).toBe('');
    expect(readFileSync(output, 'utf8')).toBe(whole);
    expect(readFileSync(second, 'utf8')).toBe(readFileSync(first, 'utf8'));
    expect(JSON.parse(readFileSync(first, 'utf8')).metrics).toEqual({ accuracy: 0.5 });

    const other = file(books([['king', 'king|cat']]));
    expect(await failureOf('cbt-cn', other, ['-o', output, '--resume'])).toContain(
      'expected the result of',
    );
    writeFileSync(output, whole.replace('"accuracy":0', '"accuracy":"0"'));
    expect(await failureOf('cbt-cn', questions, ['-o', output, '--resume'])).toContain(
      'it is not a result of gpt2 eval --output',
    );
  });
});

describe('what is wrong is said', () => {
  test.each<[task: string, content: string, name: string, message: string]>([
    ['lambada', '{"text": 7}\n', 'a.jsonl', ':1: expected {"text": …} with a passage'],
    ['lambada', '{"text": "one"}\n', 'a.jsonl', ':1: expected at least two words'],
    ['lambada', '{]\n', 'a.jsonl', ':1: expected a JSON object'],
    ['lambada', 'one\n', 'a.txt', ':1: expected at least two words'],
    ['cbt-cn', '1 A\n3 B\n', 'a.txt', ':2: expected a sentence with the number 2'],
    [
      'cbt-cn',
      '1 A\n2 XXXXX\tb\t\ta|c\n',
      'a.txt',
      ':2: expected a question after sentences, with XXXXX',
    ],
    ['cbt-cn', '1 A\n', 'a.txt', ':1: expected a question after the sentences'],
    ['hellaswag', ending({ endings: ['a', 'b'], label: 2 }), 'a.jsonl', ':1: expected texts'],
    ['hellaswag', ending({ endings: 'ab', label: 0 }), 'a.jsonl', ':1: expected texts'],
    ['hellaswag', ending({ endings: ['a', 'b'], label: '' }), 'a.jsonl', ':1: expected texts'],
    ['hellaswag', '\n', 'a.jsonl', ': expected at least one example'],
    ['winograd', schema('it', 'C'), 'a.xml', ': schema 1: expected pron, txt2'],
    ['winograd', '<collection/>', 'a.xml', ': expected at least one example'],
    ['winograd', '\xff', 'a.xml', ': expected XML in UTF-8'],
    ['text8', '\xff\xff', 'a.txt', ': expected a text in UTF-8'],
    ['lambada', '\ufeff', 'a.txt', ': expected at least one example'],
    ['wikitext-2', '', 'a.txt', ': expected a text'],
    ['1bw', '\xff', 'a.txt', ':1: expected a line in UTF-8'],
  ])('%s, case %#', async (task, content, name, message) => {
    const path = file(Buffer.from(content, content.startsWith('\xff') ? 'latin1' : 'utf8'), name);
    const error = await openTask(task, path).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'INVALID_FILE' });
    expect(error.message).toContain(`${path}${message}`);
    expect(error.message).not.toContain('cannot be read');
  });

  test('about the command line', async () => {
    const data = file('A b.\n');
    const missing = join(folder, 'missing');
    expect(await failureOf('ptb', missing)).toContain('[FILE_NOT_FOUND]');
    expect(await failureOf('ptb', folder)).toContain('expected a file, which is read twice');
    expect(await failureOf('1bw', data, ['--window', '9'])).toContain('Expected --window');
    expect(await failureOf('ptb', data, ['--window', '99'])).toContain('from 2 to 64');
    expect(await failureOf('ptb', data, ['--stride', '65'])).toContain('at most the window, 64');
    expect(await failureOf('ptb', data, ['--resume'])).toContain('Expected --output with --resume');
    expect(await failureOf('squad', data)).toContain('Allowed choices are lambada');
    for (const unwritable of [join(data, 'report.json'), folder]) {
      expect(await failureOf('ptb', data, ['--report', unwritable])).toContain('[FILE_UNWRITABLE]');
    }
    expect(await failureOf('ptb', data, ['--report', data])).toContain('that of the data');
    expect(await failureOf('ptb', data, ['-o', data, '--overwrite'])).toContain('that of the data');
    expect(readFileSync(data, 'utf8')).toBe('A b.\n');
    const results = join(folder, 'results');
    expect(await failureOf('ptb', data, ['-o', results, '--report', results])).toContain(
      'that of the results',
    );
  });
});
