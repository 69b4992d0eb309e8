// Scores in the units that people read, and the classes by which they are coloured.

/** The surprisal of a token, in bits. */
export function bitsOf(logprob: number): number {
  return Math.abs(logprob / Math.LN2); // of 0, not -0
}

/** The surprisals at which a class ends, in bits. The last class has no end. */
export const surprisalLimits = [1, 3, 6, 9, 12] as const;

/** The ranks at which a class ends: the likeliest token, then GLTR's classes (Gehrmann et al. 2019). */
export const rankLimits = [1, 10, 100, 1000] as const;

/** The class of a value, from 0. */
export function classOf(value: number, limits: readonly number[]): number {
  const found = limits.findIndex((limit) => value < limit);
  return found === -1 ? limits.length : found;
}
