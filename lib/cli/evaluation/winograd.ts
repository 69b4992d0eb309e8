// Winograd schemas (Levesque et al. 2012): what a pronoun stands for.

import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { reading } from '../../files.js';
import { invalidData } from './data-lines.js';
import { openExamples } from './open-examples.js';
import { paper } from './published.js';
import { largestIndex, type Question } from './questions.js';
import { accuracy, type Task, type TaskRun, type Totals } from './task.js';

interface Schema extends Question {
  /** Up to the end of each candidate that stands for the pronoun. */
  beginnings: [string, string];
  rest: string;
}

export const winograd: Task = {
  name: 'winograd',
  data: 'WSCollection.xml (its first 273 are WSC273: --limit 273)',
  method:
    'Each of the two candidates takes the place of the pronoun, in a text after <|endoftext|>. The prediction is the one after which the rest of the text has the larger log-likelihood (partial scoring, Trinh and Le 2018), or with which the whole text has.',
  metrics: [
    accuracy('partialAccuracy', 'accuracy, partial', paper.winograd),
    accuracy('fullAccuracy', 'accuracy, whole text'),
  ],
  publishedCount: { total: 'examples', count: 273 },
  open: (run) => openExamples(run, { read: readSchemas, evaluate: evaluateSchema, parallel: 4 }),
};

async function* readSchemas({ paths }: TaskRun): AsyncGenerator<Schema, void, void> {
  for (const path of paths) {
    const bytes = await reading(path, async () => await readFile(path));
    if (!isUtf8(bytes)) throw invalidData(path, 'XML in UTF-8');
    for (const [index, schema] of elements(bytes.toString(), 'schema').entries()) {
      yield schemaOf(schema, `${path}: schema ${index + 1}`);
    }
  }
}

function schemaOf(xml: string, place: string): Schema {
  const textOf = (name: string) => plainText(elements(xml, name)[0] ?? '');
  const [before, pronoun, after] = [textOf('txt1'), textOf('pron'), textOf('txt2')];
  const [a, b] = elements(xml, 'answer').map(plainText);
  const answer = ['A', 'B'].indexOf(textOf('correctAnswer').replace('.', ''));
  if (!pronoun || !after || !a || !b || answer === -1) {
    throw invalidData(place, 'pron, txt2, two answers and correctAnswer, A or B');
  }
  const beginning = (candidate: string) => `${before} ${inPlaceOf(pronoun, candidate)}`.trim();
  const rest = /^[.,;:!?')]/.test(after) ? after : ` ${after}`;
  return { place, answer, beginnings: [beginning(a), beginning(b)], rest };
}

/** The contents of the elements with a name. They do not nest. */
function elements(xml: string, name: string): string[] {
  const [, ...parts] = xml.split(`<${name}>`);
  return parts.map((part) => part.split(`</${name}>`, 1)[0] as string);
}

const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

function plainText(xml: string): string {
  return xml
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/&(lt|gt|quot|apos|amp);/g, (_, entity: string) => entities[entity] ?? '');
}

/**
 * A candidate with the case of the pronoun: "the trophy's" for "its". "her" counts as a possessive, as in
 * lm-evaluation-harness.
 */
function inPlaceOf(pronoun: string, candidate: string): string {
  const text = /^\p{Lu}/u.test(pronoun)
    ? candidate.replace(/^\p{Ll}/u, (letter) => letter.toUpperCase())
    : candidate.replace(/^(?:The|An?|My|His|Her|Its|Their|Our)\b/, (word) => word.toLowerCase());
  return /^(?:his|her|its|their|my|our)$/i.test(pronoun) ? `${text}'s` : text;
}

async function evaluateSchema(
  { model, signal }: TaskRun,
  { beginnings, rest, answer }: Schema,
): Promise<Totals> {
  const after = model.tokenizer.encode(rest);
  const scores = await model.score(
    beginnings.map((beginning) => [...model.tokenizer.encode(beginning), ...after]),
    { signal },
  );
  const sum = (logprobs: Float32Array) => logprobs.reduce((total, logprob) => total + logprob, 0);
  const whole = scores.map(({ logprobs }) => sum(logprobs));
  const partial = scores.map(({ logprobs }) => sum(logprobs.slice(-after.length)));
  return {
    examples: 1,
    partialAccuracy: Number(largestIndex(partial) === answer),
    fullAccuracy: Number(largestIndex(whole) === answer),
  };
}
