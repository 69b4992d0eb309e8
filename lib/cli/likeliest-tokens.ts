export interface LikelyToken {
  token: number;
  logit: number;
  probability: number;
}

/** Returns the `count` tokens with the largest logits, and their probabilities (softmax). */
export function likeliestTokens(logits: Float32Array, count: number): LikelyToken[] {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  const order = Uint32Array.from(logits.keys()).sort(
    (a, b) => (logits[b] as number) - (logits[a] as number) || a - b,
  );
  return Array.from(order.subarray(0, count), (token) => {
    const logit = logits[token] as number;
    return { token, logit, probability: Math.exp(logit - largest) / sum };
  });
}
