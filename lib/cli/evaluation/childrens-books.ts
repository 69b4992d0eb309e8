// The Children's Book Test (Hill et al. 2015): a word that is left out of a sentence.

import { type DataLine, dataLines, invalidData } from './data-lines.js';
import { detokenizers } from './detokenize.js';
import { openExamples } from './open-examples.js';
import type { PublishedValues } from './published.js';
import { continuationLogprobs, largestIndex, type Question } from './questions.js';
import { accuracy, type Task, type TaskRun, type Totals } from './task.js';

interface BookQuestion extends Question {
  story: string[];
  /** With "XXXXX" in place of the answer. */
  sentence: string;
  choices: string[];
}

export function childrensBookTask(kind: 'CN' | 'NE', published: PublishedValues): Task {
  return {
    name: `cbt-${kind.toLowerCase()}`,
    data: `cbtest_${kind}_test_2500ex.txt`,
    detokenizer: 'quoted',
    method:
      'The context is the 20 sentences before. The prediction is the choice with which the question has the largest probability: the sum over the tokens of the choice and of the rest of the sentence.',
    metrics: [accuracy('accuracy', 'accuracy', published)],
    publishedCount: { total: 'examples', count: 2500 },
    open: (run) =>
      openExamples(run, { read: readBookQuestions, evaluate: evaluateBookQuestion, parallel: 4 }),
  };
}

/** 20 numbered sentences, the question with its answer and choices between tabs, and an empty line. */
async function* readBookQuestions(run: TaskRun): AsyncGenerator<BookQuestion, void, void> {
  let story: string[] = [];
  let last: DataLine | undefined;
  for await (const line of dataLines(run.paths, run.signal)) {
    if (line.text.trim() === '') continue;
    last = line;
    const { place, text } = line;
    const [, number, content] = /^(\d+) (.*)$/s.exec(text) ?? [];
    if (content === undefined || Number(number) !== story.length + 1 || story.length > 20) {
      throw invalidData(place, `a sentence with the number ${story.length + 1}`);
    }
    if (!content.includes('\t')) {
      story.push(content);
      continue;
    }
    const [sentence = '', right = '', , list = ''] = content.split('\t');
    const choices = list.split('|').filter((choice) => choice !== '');
    const answer = choices.indexOf(right);
    if (!sentence.includes('XXXXX') || answer === -1 || choices.length < 2 || story.length === 0) {
      throw invalidData(
        place,
        'a question after sentences, with XXXXX, an answer and choices with it among them',
      );
    }
    yield { place, story, sentence, choices, answer };
    story = [];
  }
  if (story.length > 0) throw invalidData(last?.place ?? '', 'a question after the sentences');
}

async function evaluateBookQuestion(
  run: TaskRun,
  { story, sentence, choices, answer }: BookQuestion,
): Promise<Totals> {
  const written = run.detokenizes ? detokenizers.quoted : (text: string) => text.trim();
  const logprobs = await continuationLogprobs(
    run,
    story.map(written).join(' '),
    choices.map((choice) => ` ${written(sentence.replace('XXXXX', () => choice))}`),
  );
  return { examples: 1, accuracy: Number(largestIndex(logprobs) === answer) };
}
