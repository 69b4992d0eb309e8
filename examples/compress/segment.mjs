// A segment of a file: tokens coded one after the other, each with the distribution that the model predicts for it from
// the tokens before it in the segment. The encoder knows all tokens and evaluates many in a call. The decoder knows a
// token when it has decoded it, so it evaluates one in a call. Both must receive the same logits, bit for bit.

import { ArithmeticDecoder, ArithmeticEncoder } from './arithmetic-coder.mjs';
import { cumulativeFrequencies } from './frequencies.mjs';
import { SlidingContext } from './sliding-context.mjs';

/** @typedef {import('gpt2-native').Model} Model */

const tokensPerCall = 32; // 6.4 MB of logits with GPT-2's vocabulary

/**
 * @param {Model} model
 * @param {number[]} tokens
 */
export async function encodeSegment(model, tokens) {
  const context = new SlidingContext(model);
  try {
    const encoder = new ArithmeticEncoder();
    const before = [model.tokenizer.startOfText, ...tokens];
    for (let start = 0; start < tokens.length; ) {
      const end = Math.min(start + Math.min(tokensPerCall, context.room), tokens.length);
      for (const logits of await context.append(before.slice(start, end))) {
        encoder.encode(cumulativeFrequencies(logits), tokens[start++]);
      }
    }
    return encoder.finish();
  } finally {
    context.dispose();
  }
}

/**
 * @param {Model} model
 * @param {Uint8Array} bytes
 * @param {number} count of the tokens
 */
export async function decodeSegment(model, bytes, count) {
  const context = new SlidingContext(model);
  try {
    const decoder = new ArithmeticDecoder(bytes);
    /** @type {number[]} */
    const tokens = [];
    let token = model.tokenizer.startOfText;
    while (tokens.length < count) {
      const [logits] = await context.append([token]);
      token = decoder.decode(cumulativeFrequencies(logits));
      tokens.push(token);
    }
    return tokens;
  } finally {
    context.dispose();
  }
}
