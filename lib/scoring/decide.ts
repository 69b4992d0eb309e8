import { checkInteger, invalidArgument } from '../arguments.js';
import { type ClassifyOptions, classify } from './classify.js';
import type { ScoringModel } from './score-texts.js';

/** As for `classify`. The default template is 'Question: {text}\nAnswer: {label}'. */
export type DecideOptions = ClassifyOptions;

/** Whole numbers, both ends included. */
export interface Scale {
  from: number;
  to: number;
}

/** The base model's judgement of a question: which answer continues it best. */
export interface Decision<Answer> {
  /** The likeliest. */
  answer: Answer;
  /** All that were possible, in the order given. */
  answers: Answer[];
  /** In the order of the answers; they sum to 1. */
  probabilities: Float64Array;
  /** The indices of the answers, the likeliest first. */
  order: Uint32Array;
}

export interface Rating extends Decision<number> {
  /** Σ probability × number */
  mean: number;
}

const defaultTemplate = 'Question: {text}\nAnswer: {label}';

// Each answer is a forward pass.
const maxScale = 1000;

export async function decideQuestion(
  model: ScoringModel,
  question: string,
  answers: 'yesNo' | readonly string[] | Scale,
  options: DecideOptions | undefined,
): Promise<Decision<boolean> | Decision<string> | Rating> {
  const decide = async <Answer>(values: readonly Answer[], labels: readonly string[]) => {
    const call = { name: 'decide', argument: 'answers', defaultTemplate };
    const { probabilities, order } = await classify(model, call, question, labels, options);
    const answer = values[order[0] as number] as Answer;
    return { answer, answers: [...values], probabilities, order };
  };
  if (answers === 'yesNo') return await decide([true, false], ['yes', 'no']);
  if (Array.isArray(answers)) return await decide(answers, answers);
  const numbers = numbersOf(answers as Scale);
  const decision = await decide(numbers, numbers.map(String));
  const { probabilities } = decision;
  const mean = numbers.reduce((sum, number, i) => sum + number * (probabilities[i] as number), 0);
  return { ...decision, mean };
}

/** @throws INVALID_ARGUMENT */
function numbersOf(scale: Scale): number[] {
  if (typeof scale !== 'object' || scale === null) {
    throw invalidArgument(`answers to be 'yesNo', an array of texts or { from, to }`, scale);
  }
  const from = checkInteger('from', scale.from, -1_000_000, 1_000_000);
  const to = checkInteger('to', scale.to, from + 1, from + maxScale);
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}
