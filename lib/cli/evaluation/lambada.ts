// LAMBADA: the last word of a passage.

import type { Model } from '../../model.js';
import { dataLines, invalidData, parseObject } from './data-lines.js';
import { detokenizers } from './detokenize.js';
import { openExamples } from './open-examples.js';
import { harness, paper } from './published.js';
import { stopWords } from './stop-words.js';
import { accuracy, ratio, type Task, type TaskRun, type Totals } from './task.js';

interface Passage {
  place: string;
  context: string;
  word: string;
  isDetokenized: boolean;
}

/** So many of the likeliest tokens may begin stop words. */
const alternatives = 50;

/** In tokens. */
const longestWord = 8;

export const lambada: Task = {
  name: 'lambada',
  data: 'lambada_test.jsonl of OpenAI, {"text": …}, or lambada_test_plain_text.txt',
  detokenizer: 'quoted',
  method: `The context is all but the last word of a passage, without <|endoftext|>. Perplexity is that of the last words: the log-probabilities of their tokens are summed for each word. A word is right if each of its tokens is the likeliest. With the filter, the prediction is the likeliest word that is not a stop word: of the ${alternatives} likeliest tokens, those that begin a word are taken in order, and each is continued by the likeliest tokens to the end of the word, up to ${longestWord}.`,
  metrics: [
    {
      ...{ name: 'perplexity', title: 'perplexity of the word' },
      valueOf: (totals) => Math.exp(-ratio(totals, 'logprob', 'examples')),
      published: paper.lambadaPerplexity,
      reproduced: harness.lambadaPerplexity,
    },
    accuracy('accuracy', 'accuracy', undefined, harness.lambadaAccuracy),
    accuracy('filteredAccuracy', 'accuracy, stop words filtered', paper.lambadaAccuracy),
  ],
  publishedCount: { total: 'examples', count: 5153 },
  async open(run) {
    let isDetokenized = false;
    async function* read() {
      for await (const passage of readPassages(run)) {
        isDetokenized ||= passage.isDetokenized;
        yield passage;
      }
    }
    const opened = await openExamples(run, { read, evaluate, parallel: 16 });
    return { ...opened, isDetokenized };
  },
};

async function* readPassages(run: TaskRun): AsyncGenerator<Passage, void, void> {
  for await (const { place, text } of dataLines(run.paths, run.signal)) {
    if (text.trim() === '') continue;
    if (text.startsWith('{')) {
      const { text: passage } = parseObject(text, place);
      if (typeof passage !== 'string') throw invalidData(place, '{"text": …} with a passage');
      yield { ...passageOf(passage, place), isDetokenized: false };
    } else {
      const passage = run.detokenizes ? detokenizers.quoted(text) : text;
      yield { ...passageOf(passage, place), isDetokenized: run.detokenizes };
    }
  }
}

function passageOf(text: string, place: string): Omit<Passage, 'isDetokenized'> {
  const [, context, word] = /^(.*\S)\s+(\S+)\s*$/su.exec(text) ?? [];
  if (context === undefined || word === undefined) throw invalidData(place, 'at least two words');
  return { place, context, word };
}

async function evaluate({ model, signal }: TaskRun, { context, word }: Passage): Promise<Totals> {
  const { contextLength } = model.config;
  const target = model.tokenizer.encode(` ${word}`);
  const room = contextLength - target.length;
  const before = model.tokenizer.encode(context).slice(-Math.max(room, 1));
  const { logprobs, ranks } = await model.score([...before, ...target], {
    ...{ startFromEndOfText: false, signal },
  });
  const beginning = before.slice(-Math.max(contextLength - longestWord, 1));
  const predicted = await likeliestWord(model, beginning, signal);
  return {
    ...{ examples: 1, tokens: target.length, contextTokens: before.length },
    logprob: logprobs.slice(-target.length).reduce((sum, logprob) => sum + logprob, 0),
    accuracy: Number(ranks.slice(-target.length).every((rank) => rank === 0)),
    filteredAccuracy: Number(predicted === word),
  };
}

/** The likeliest word that is not a stop word. undefined: there is none among the alternatives. */
async function likeliestWord(
  model: Model,
  context: Uint32Array,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { topLogprobs } = await model.generate(context, {
    ...{ maxTokens: 1, temperature: 0, ignoreEndOfText: true, signal },
    topLogprobs: Math.min(alternatives, model.config.vocabSize),
  });
  for (const token of topLogprobs?.tokens ?? []) {
    const beginning = model.tokenizer.decode([token]);
    if (!/^ [\p{L}\p{N}]/u.test(beginning)) continue;
    const tokens = Uint32Array.from([...context, token]);
    const word = beginning.slice(1) + (await restOfWord(model, tokens, signal));
    if (!stopWords.has(word.toLowerCase())) return word;
  }
  return undefined;
}

async function restOfWord(model: Model, tokens: Uint32Array, signal: AbortSignal): Promise<string> {
  let rest = '';
  const options = { maxTokens: longestWord - 1, temperature: 0, signal };
  for await (const { text } of model.stream(tokens, options)) {
    const [letters = ''] = /^[\p{L}\p{N}\p{M}'’-]*/u.exec(text) ?? [];
    rest += letters;
    if (letters.length < text.length) break;
  }
  return rest.replace(/['’-]+$/, '');
}
