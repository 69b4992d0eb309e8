import { join } from 'node:path';
import { numbersOf, readSafetensors } from './safetensors-file.js';

export const checkpointsFolder = join(__dirname, 'fixtures', 'checkpoints');

export const fixtureNames = [
  'odd-heads',
  'head-size-5',
  'own-head-no-bias',
  'f16-sharded',
  'bf16',
  'wide',
] as const;
export type FixtureName = (typeof fixtureNames)[number];

export function fixtureFolder(name: FixtureName): string {
  return join(checkpointsFolder, name);
}

/** PyTorch's logits for a fixture, in double precision. */
export interface Golden {
  tokens: number[];
  /** [tokens, vocabSize] */
  logits: Float32Array;
  vocabSize: number;
}

export function readGolden(name: FixtureName): Golden {
  const tensors = readSafetensors(join(fixtureFolder(name), 'golden.safetensors'));
  const tokens = tensors.get('tokens');
  const logits = tensors.get('logits');
  if (!tokens || !logits) throw new Error(`${name} has no golden logits`);
  return {
    tokens: numbersOf(tokens),
    logits: Float32Array.from(numbersOf(logits)),
    vocabSize: logits.shape[1] as number,
  };
}

/** PyTorch's scores of a text by windows, in double precision; scripts/reference/scores.py describes the columns. */
export interface GoldenScores {
  contextLength: number;
  stride: number;
  startFromEndOfText: boolean;
  logprobs: number[];
  ranks: number[];
  entropies: number[];
  variances: number[];
  gaps: number[];
}

export function readGoldenScores(name: FixtureName): { tokens: number[]; cases: GoldenScores[] } {
  const tensors = readSafetensors(join(fixtureFolder(name), 'scores.safetensors'));
  const column = (key: string) => {
    const tensor = tensors.get(key);
    if (!tensor) throw new Error(`${name} has no golden ${key}`);
    return numbersOf(tensor);
  };
  const settings = column('cases');
  const cases = Array.from({ length: settings.length / 3 }, (_, index) => {
    const [contextLength, stride, start] = settings.slice(3 * index) as [number, number, number];
    return {
      ...{ contextLength, stride, startFromEndOfText: start === 1 },
      logprobs: column(`${index}.logprobs`),
      ranks: column(`${index}.ranks`),
      entropies: column(`${index}.entropies`),
      variances: column(`${index}.variances`),
      gaps: column(`${index}.gaps`),
    };
  });
  return { tokens: column('tokens'), cases };
}

/** The error of logits, in units of the standard deviation of the expected ones. */
export interface LogitsError {
  max: number;
  rms: number;
  /** The share of rows with the same argmax. */
  argmaxAgreement: number;
}

export function logitsError(
  actual: Float32Array,
  expected: Float32Array,
  vocabSize: number,
): LogitsError {
  if (actual.length !== expected.length || expected.length % vocabSize !== 0) {
    throw new Error(`${actual.length} logits cannot be compared with ${expected.length}`);
  }
  const deviation = standardDeviation(expected);
  let max = 0;
  let squares = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] as number) - (expected[i] as number));
    // NaN must not pass as an error below the bound.
    if (Number.isNaN(difference)) throw new Error(`the logit ${i} is NaN`);
    max = Math.max(max, difference);
    squares += difference ** 2;
  }
  const rows = expected.length / vocabSize;
  let agreeing = 0;
  for (let row = 0; row < rows; row++) {
    const [start, end] = [row * vocabSize, (row + 1) * vocabSize];
    if (argmax(actual.subarray(start, end)) === argmax(expected.subarray(start, end))) agreeing++;
  }
  return {
    max: max / deviation,
    rms: Math.sqrt(squares / expected.length) / deviation,
    argmaxAgreement: agreeing / rows,
  };
}

/** The index of the largest element, the first of equals. */
export function argmax(numbers: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) {
    if ((numbers[i] as number) > (numbers[best] as number)) best = i;
  }
  return best;
}

function standardDeviation(numbers: Float32Array): number {
  const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const squares = numbers.reduce((sum, number) => sum + (number - mean) ** 2, 0);
  return Math.sqrt(squares / numbers.length);
}
