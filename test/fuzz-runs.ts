import type { Parameters } from 'fast-check';

const { GPT2_FUZZ_RUNS, GPT2_FUZZ_SEED } = process.env;

/**
 * How often a property is tried: a few times in the usual run, GPT2_FUZZ_RUNS times in a long one. With
 * GPT2_FUZZ_SEED a run that ended without a report, as a crash does, can be done again.
 */
export function fuzzRuns(usual: number): Parameters<unknown> {
  return {
    numRuns: Number(GPT2_FUZZ_RUNS ?? usual),
    ...(GPT2_FUZZ_SEED === undefined ? {} : { seed: Number(GPT2_FUZZ_SEED) }),
  };
}

/** Milliseconds, for what hangs; none for as many runs as are asked for. */
export const fuzzTimeout = GPT2_FUZZ_RUNS === undefined ? 120_000 : 0;
