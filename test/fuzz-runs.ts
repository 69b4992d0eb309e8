import type { Parameters } from 'fast-check';

const { GPT2_FUZZ_RUNS, GPT2_FUZZ_SEED } = process.env;

/**
 * The number of runs of a property: `usual`, or GPT2_FUZZ_RUNS if that is set. GPT2_FUZZ_SEED repeats a run that ended
 * without a report, as a crash does.
 */
export function fuzzRuns(usual: number): Parameters<unknown> {
  return {
    numRuns: Number(GPT2_FUZZ_RUNS ?? usual),
    ...(GPT2_FUZZ_SEED === undefined ? {} : { seed: Number(GPT2_FUZZ_SEED) }),
  };
}

/** In milliseconds; unlimited if GPT2_FUZZ_RUNS is set. */
export const fuzzTimeout = GPT2_FUZZ_RUNS === undefined ? 120_000 : 0;
