// Decisions are classifications with answers as labels, which test/classify.test.ts checks.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadModel, type Model } from '../dist/index.js';
import { failure } from './failure.js';

let model: Model;
beforeAll(async () => {
  model = await loadModel(undefined, { threads: 1 });
});
afterAll(() => model.dispose());

const template = 'Question: {text}\nAnswer: {label}';

test('yes and no are true and false', async () => {
  const decision = await model.decide('Is the sea wide?', 'yesNo');
  const { probabilities } = await model.classify('Is the sea wide?', ['yes', 'no'], { template });
  expect(decision.answers).toEqual([true, false]);
  expect(decision.probabilities).toEqual(probabilities);
  expect(decision.answer).toBe((probabilities[0] as number) > 0.5);
});

test('a choice has the probabilities of its texts after the prompt', async () => {
  const answers = ['red', 'green', 'blue'] as const;
  const options = { template: '{text}: {label}.', calibrate: false };
  const { answer, order, probabilities } = await model.decide('Leaves', answers, options);
  const ranking = await model.rank(
    'Leaves:',
    answers.map((one) => ` ${one}.`),
  );
  expect(order).toEqual(ranking.order);
  expect(answer).toBe(answers[order[0] as number]);
  expect(probabilities).toEqual(ranking.probabilities);
});

test('a scale has the mean of its numbers', async () => {
  const { answers, probabilities, mean, answer, order } = await model.decide('How warm?', {
    ...{ from: -1, to: 2 },
  });
  expect(answers).toEqual([-1, 0, 1, 2]);
  const [a, b, c, d] = probabilities as unknown as [number, number, number, number];
  expect(a + b + c + d).toBeCloseTo(1, 12);
  expect(mean).toBeCloseTo(-a + c + 2 * d, 12);
  expect(answer).toBe(answers[order[0] as number]);
});

test('wrong arguments are refused', async () => {
  const decide = (...args: unknown[]) => model.decide(...(args as [string, 'yesNo']));
  for (const answers of [undefined, null, 7, 'yes', [], ['a', ''], [1, 2], {}, { from: 1 }]) {
    await failure('INVALID_ARGUMENT', () => decide('Is it?', answers));
  }
  for (const [from, to] of [
    [1, 1],
    [2, 1],
    [0, 5000],
    [0.5, 2],
    [0, Number.NaN],
    ['0', '2'],
  ]) {
    await failure('INVALID_ARGUMENT', () => decide('Is it?', { from, to }));
  }
  await failure('INVALID_ARGUMENT', () => decide(7, 'yesNo'));
  await failure('UNKNOWN_OPTION', () => decide('Is it?', 'yesNo', { top: 1 }));
});
