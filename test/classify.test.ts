// Classification by the likelihood of labels, from the ranking that test/score.test.ts checks.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ClassifyOptions, loadModel, type Model } from '../dist/index.js';
import { failure } from './failure.js';

let model: Model;
beforeAll(async () => {
  model = await loadModel(undefined, { threads: 1 });
});
afterAll(() => model.dispose());

const text = 'The ship left the harbour and the waves broke over the deck.';
const labels = ['the sea', 'a garden', 'money'];

test('a text has the probabilities of its labels', async () => {
  const template = '{text} It was {label}!';
  const { order, probabilities, label } = await model.classify(text, labels, {
    template,
    calibrate: false,
  });
  const ranking = await model.rank(
    `${text} It was`,
    labels.map((one) => ` ${one}!`),
  );
  expect(order).toEqual(ranking.order);
  expect(label).toBe(labels[order[0] as number]);
  for (const [i, p] of probabilities.entries()) {
    expect(p).toBeCloseTo(ranking.probabilities[i] as number, 10);
  }
});

test('what is calibrated is divided by the probabilities after no text', async () => {
  const template = '{text} It was {label}!';
  const plain = await model.classify(text, labels, { template, calibrate: false });
  const prior = await model.classify('', labels, { template, calibrate: false });
  const { probabilities } = await model.classify(text, labels, { template });
  const ratios = plain.probabilities.map((p, i) => p / (prior.probabilities[i] as number));
  const sum = ratios.reduce((a, b) => a + b);
  for (const [i, p] of probabilities.entries()) {
    expect(p).toBeCloseTo((ratios[i] as number) / sum, 6);
  }
});

test('texts may contain what a template does', async () => {
  const { probabilities } = await model.classify('{label} and $& and {text}', labels);
  expect(probabilities.reduce((a, b) => a + b)).toBeCloseTo(1, 10);
});

test('wrong arguments are refused', async () => {
  await failure('INVALID_ARGUMENT', () => model.classify(7 as never, labels));
  await failure('INVALID_ARGUMENT', () => model.classify(text, []));
  await failure('INVALID_ARGUMENT', () => model.classify(text, ['a', '']));
  for (const template of ['{text}', '{label}', '{label} {text}', '{text} {label} {label}', 7]) {
    await failure('INVALID_ARGUMENT', () =>
      model.classify(text, labels, { template } as ClassifyOptions),
    );
  }
  await failure('UNKNOWN_OPTION', () => model.classify(text, labels, { x: 1 } as never));
});
