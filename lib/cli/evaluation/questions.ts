// Tasks of choosing between continuations.

import type { TaskRun } from './task.js';

/** A question whose answers were read and checked. */
export interface Question {
  place: string;
  /** The index of the right answer. */
  answer: number;
}

/** The log-likelihoods of continuations of a context. One that is too long loses its beginning. */
export async function continuationLogprobs(
  { model, signal }: TaskRun,
  context: string,
  continuations: readonly string[],
): Promise<Float64Array> {
  const { tokenizer, config } = model;
  const candidates = continuations.map((text) => tokenizer.encode(text));
  const longest = Math.max(...candidates.map(({ length }) => length));
  // The last token is scored, but not evaluated.
  const room = config.contextLength + 1 - longest;
  const prompt = tokenizer.encode(context).slice(-Math.max(room, 1));
  return (await model.rank(prompt, candidates, { signal })).logprobs;
}

export function largestIndex(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    if ((values[i] as number) > (values[best] as number)) best = i;
  }
  return best;
}
