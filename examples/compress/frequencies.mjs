// Logits to integer frequencies, with the same result in every JavaScript engine. The encoder and the decoder may run in
// different ones, and a difference of 1 in a frequency would garble everything after it.

import { total } from './arithmetic-coder.mjs';

const lowestExponent = -24; // a smaller weight would get less than 1 of 2 ** 24

const powersOfTwo = [1];
for (let i = 1; i <= -lowestExponent; i++) powersOfTwo.push(powersOfTwo[i - 1] / 2);

/**
 * e to the power x, for x ≤ 0; 0 below about 2 ** -24. ECMAScript leaves the last bits of Math.exp to the engine, but
 * rounds +, − and · as IEEE 754 does. So this is x = k·ln 2 + r with |r| ≤ ln 2 / 2, 2 ** k from a table, and the
 * Taylor series of e ** r up to r ** 6, whose relative error is below 2e-7.
 *
 * @param {number} x
 */
export function exp(x) {
  const exponent = Math.floor(x * Math.LOG2E + 0.5);
  if (exponent < lowestExponent) return 0;
  const r = x - exponent * Math.LN2;
  let series = 1 / 720;
  series = series * r + 1 / 120;
  series = series * r + 1 / 24;
  series = series * r + 1 / 6;
  series = series * r + 1 / 2;
  series = series * r + 1;
  series = series * r + 1;
  return series * powersOfTwo[-exponent];
}

/**
 * The cumulative frequencies of the softmax. Every token has a frequency of at least 1, so that every text can be coded.
 * The rest of `total` is divided by probability, rounded down, and what remains goes to the likeliest token.
 *
 * @param {Float32Array} logits
 * @returns {import('./arithmetic-coder.mjs').Cumulative} one element more than there are logits
 */
export function cumulativeFrequencies(logits) {
  const count = logits.length;
  let likeliest = 0;
  for (let token = 1; token < count; token++) {
    if (logits[token] > logits[likeliest]) likeliest = token;
  }
  const largest = logits[likeliest];
  const cumulative = new Float64Array(count + 1); // first the weights, each in the place of the end of its token
  let sum = 0;
  for (let token = 0; token < count; token++) {
    const weight = exp(logits[token] - largest);
    cumulative[token + 1] = weight;
    sum += weight;
  }
  if (Number.isNaN(sum)) throw new Error('Expected finite logits, but some are NaN or infinite.');
  const share = (total - count) / sum;
  let end = 0;
  for (let token = 0; token < count; token++) {
    end += 1 + Math.floor(cumulative[token + 1] * share);
    cumulative[token + 1] = end;
  }
  for (let token = likeliest; token < count; token++) cumulative[token + 1] += total - end;
  return cumulative;
}
