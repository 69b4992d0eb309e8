// What a compressed file depends on, in 16 bytes: every bit of the logits. Another model, another type of its weights or
// of its keys and values, and another instruction set's kernels all give other logits of a few tokens.

import { createHash } from 'node:crypto';

const probeLength = 64;

/** @param {import('gpt2-native').Model} model */
export async function fingerprintOf(model) {
  const { contextLength, vocabSize } = model.config;
  const length = Math.min(probeLength, contextLength);
  // Tokens from all parts of the vocabulary: 7,919 is prime and divides no usual size.
  const probe = Array.from({ length }, (_, index) => (index * 7919) % vocabSize);
  const { data } = await model.logits(probe, { positions: 'all' });
  // The length decides when the context slides, which the logits of the probe do not show.
  return createHash('sha256').update(`${contextLength}:`).update(data).digest().subarray(0, 16);
}
