// Perplexity: of one long text by windows, and of sentences by themselves.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { checkTextSize, reading } from '../../files.js';
import { scoreWindow } from '../../scoring/score-texts.js';
import { windowsOf } from '../../scoring/windows.js';
import { type DataLine, dataLines, first, invalidData } from './data-lines.js';
import { type DetokenizerName, detokenizers } from './detokenize.js';
import { openExamples } from './open-examples.js';
import type { PublishedValues } from './published.js';
import {
  type Example,
  type Metric,
  type OpenTask,
  ratio,
  type Task,
  type TaskRun,
} from './task.js';

interface CorpusOptions {
  name: string;
  data: string;
  published: PublishedValues;
  detokenizer?: DetokenizerName;
  publishedWords?: number;
}

const wordPerplexity = (published?: PublishedValues): Metric => ({
  ...{ name: 'wordPerplexity', title: 'perplexity by word' },
  valueOf: (totals) => Math.exp(-ratio(totals, 'logprob', 'words')),
  ...(published && { published }),
});

const tokenPerplexity: Metric = {
  ...{ name: 'tokenPerplexity', title: 'perplexity by token' },
  valueOf: (totals) => Math.exp(-ratio(totals, 'logprob', 'tokens')),
};

const bitsPerByte = (title: string, published?: PublishedValues): Metric => ({
  ...{ name: 'bitsPerByte', title },
  valueOf: (totals) => -ratio(totals, 'logprob', 'bytes') / Math.LN2,
  ...(published && { published }),
});

const normalisation =
  'The sum of the log-probabilities of all tokens is divided by the number of words of the data, with one more for the end of each line.';

/** A text of lines whose words are separated by spaces. */
export function corpusTask(options: CorpusOptions): Task {
  const { name, data, published, detokenizer, publishedWords } = options;
  return {
    ...{ name, data, hasWindows: true },
    ...(detokenizer && { detokenizer }),
    method: `The text is one sequence after <|endoftext|>, scored by windows. ${normalisation}`,
    metrics: [wordPerplexity(published), tokenPerplexity, bitsPerByte('bits per byte')],
    ...(publishedWords !== undefined && {
      publishedCount: { total: 'words', count: publishedWords },
    }),
    async open(run) {
      const lines: string[] = [];
      const totals = { words: 0, bytes: 0, lines: 0 };
      for await (const { place, text } of first(dataLines(run.paths, run.signal), run.limit)) {
        totals.lines++;
        totals.words += wordsOf(text) + 1;
        totals.bytes += Buffer.byteLength(text) + 1;
        checkTextSize(place, totals.bytes);
        lines.push(written(text, detokenizer, run));
      }
      return await openText(run, lines.map((line) => `${line}\n`).join(''), totals);
    },
  };
}

/** Sentences in a random order, a line each. */
export function sentencesTask(options: CorpusOptions): Task {
  const { name, data, published, detokenizer } = options;
  return {
    ...{ name, data },
    ...(detokenizer && { detokenizer }),
    method: `Each sentence is scored by itself after <|endoftext|>, by windows that overlap by half if it is longer than the context. ${normalisation}`,
    metrics: [wordPerplexity(published), tokenPerplexity, bitsPerByte('bits per byte')],
    open: (run) =>
      openExamples(run, {
        read: ({ paths, signal }) => filled(dataLines(paths, signal)),
        evaluate: (_, { text }) => scoreSentence(run, text, detokenizer),
        parallel: 32,
      }),
  };
}

async function scoreSentence(
  run: TaskRun,
  text: string,
  detokenizer: DetokenizerName | undefined,
): Promise<Record<string, number>> {
  const { logprob, tokenCount } = await run.model.score(written(text, detokenizer, run), {
    signal: run.signal,
  });
  const bytes = Buffer.byteLength(text) + 1;
  return { examples: 1, logprob, tokens: tokenCount, words: wordsOf(text) + 1, bytes };
}

async function* filled(lines: AsyncIterable<DataLine>): AsyncGenerator<DataLine, void, void> {
  for await (const line of lines) if (line.text.trim() !== '') yield line;
}

function written(text: string, detokenizer: DetokenizerName | undefined, run: TaskRun): string {
  return run.detokenizes && detokenizer ? detokenizers[detokenizer](text) : text;
}

const wordsOf = (text: string) => text.match(/\S+/g)?.length ?? 0;

interface TailOptions {
  name: string;
  data: string;
  published: PublishedValues;
  /** The unit, for the table. */
  title: string;
}

/** The whole of enwik8 and text8, of which the last 5 % are the test set. */
const wholeBytes = 100_000_000;
const testBytes = 5_000_000;

/** A text by bits per byte: the test set alone, or the end of the whole. */
export function tailTask({ name, data, published, title }: TailOptions): Task {
  return {
    ...{ name, data, hasWindows: true },
    method:
      'The last 5,000,000 bytes of a file of 100,000,000, or all of another file, are one sequence after <|endoftext|>, scored by windows. The sum of the log-probabilities of all tokens in bits is divided by the number of bytes.',
    metrics: [bitsPerByte(title, published), tokenPerplexity],
    publishedCount: { total: 'bytes', count: testBytes },
    async open(run) {
      const limit = run.limit * 1000;
      const parts: string[] = [];
      for (const path of run.paths) parts.push(await readTail(path, limit));
      const text = parts.join('');
      return await openText(run, text, { bytes: Buffer.byteLength(text) });
    },
  };
}

async function readTail(path: string, limit: number): Promise<string> {
  const { size } = await reading(path, async () => await stat(path));
  const start = size === wholeBytes ? size - testBytes : 0;
  const length = Math.min(size - start, limit);
  checkTextSize(path, length);
  if (length === 0) return '';
  const parts: Buffer[] = [];
  await reading(path, async () => {
    const end = start + length - 1;
    for await (const part of createReadStream(path, { start, end })) parts.push(part);
  });
  return wholeCharacters(Buffer.concat(parts), path);
}

/** UTF-8 without the characters that are cut off at its ends. */
function wholeCharacters(bytes: Buffer, path: string): string {
  let start = 0;
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    return decoder.decode(bytes.subarray(start), { stream: true });
  } catch (cause) {
    throw invalidData(path, 'a text in UTF-8', cause);
  }
}

async function openText(
  { model, window: size, stride, signal, paths }: TaskRun,
  text: string,
  totals: Record<string, number>,
): Promise<OpenTask> {
  const encoded = await model.textTokenizer?.encodeInTurns(text, Number.MAX_SAFE_INTEGER, signal);
  if (!encoded || encoded.length === 0) throw invalidData(paths.join(', '), 'a text');
  const tokens = new Uint32Array(encoded.length + 1);
  tokens[0] = model.tokenizer.startOfText;
  tokens.set(encoded, 1);
  const windows = windowsOf(tokens.length, size, stride);
  return {
    ...{ count: windows.length, totals, parallel: 2 },
    async *examples(): AsyncGenerator<Example, void, void> {
      for (const [index, window] of windows.entries()) {
        yield {
          place: `window ${index + 1}`,
          async evaluate() {
            const { logprobs } = await scoreWindow(model, tokens, window, 0, signal);
            const logprob = logprobs.reduce((sum, each) => sum + each, 0);
            return { logprob, tokens: logprobs.length };
          },
        };
      }
    },
  };
}
