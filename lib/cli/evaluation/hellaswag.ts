// HellaSwag (Zellers et al. 2019): how an activity goes on.

import { dataObjects, invalidData } from './data-lines.js';
import { openExamples } from './open-examples.js';
import { harness } from './published.js';
import { continuationLogprobs, largestIndex, type Question } from './questions.js';
import { accuracy, type Task, type TaskRun, type Totals } from './task.js';

interface Ending extends Question {
  context: string;
  endings: string[];
}

export const hellaSwag: Task = {
  name: 'hellaswag',
  data: 'hellaswag_val.jsonl',
  method:
    'The context is the label of the activity, a colon and the two beginnings; remarks in brackets are removed. The prediction is the ending with the largest log-likelihood, or with the largest one for each of its characters.',
  metrics: [
    accuracy('accuracy', 'accuracy', undefined, harness.hellaSwag),
    accuracy('accuracyByLength', 'accuracy by length', undefined, harness.hellaSwagByLength),
  ],
  publishedCount: { total: 'examples', count: 10042 },
  open: (run) => openExamples(run, { read: readEndings, evaluate: evaluateEnding, parallel: 4 }),
};

async function* readEndings(run: TaskRun): AsyncGenerator<Ending, void, void> {
  for await (const { place, value } of dataObjects(run.paths, run.signal)) {
    const { activity_label: label, ctx_a: a, ctx_b: b, endings, label: right } = value;
    const areTexts = [label, a, b].every((text) => typeof text === 'string');
    const list = Array.isArray(endings) ? endings : [];
    const answer = /^\d+$/.test(String(right)) ? Number(right) : -1;
    if (
      !areTexts ||
      list.length < 2 ||
      !list.every((ending) => typeof ending === 'string' && ending !== '') ||
      !(answer in list)
    ) {
      throw invalidData(place, 'texts activity_label, ctx_a and ctx_b, endings, and label of one');
    }
    const beginning = `${a} ${(b as string).charAt(0).toUpperCase()}${(b as string).slice(1).toLowerCase()}`;
    const context = withoutRemarks(`${label}: ${beginning}`);
    yield { place, answer, context, endings: list.map(withoutRemarks) };
  }
}

/** The texts from WikiHow have "[title]" and "[step]". */
function withoutRemarks(text: string): string {
  return text
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[[^[\]]*\]/g, '')
    .replaceAll('  ', ' ');
}

async function evaluateEnding(run: TaskRun, { context, endings, answer }: Ending): Promise<Totals> {
  const logprobs = await continuationLogprobs(
    run,
    context,
    endings.map((ending) => ` ${ending}`),
  );
  const byLength = logprobs.map((logprob, i) => logprob / (endings[i] as string).length);
  return {
    examples: 1,
    accuracy: Number(largestIndex(logprobs) === answer),
    accuracyByLength: Number(largestIndex(byLength) === answer),
  };
}
