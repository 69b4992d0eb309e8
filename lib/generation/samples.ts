import { InFlight } from '../in-flight.js';
import { LinkedSignal } from '../native/abort.js';
import { callNative, callNativeSync } from '../native/native-call.js';
import { together } from '../together.js';
import type { Generation } from './generation.js';
import { type Outcome, type Run, runToEnd } from './run.js';

// Enough for full passes.
const samplesInFlight = 256;

/** A sample with its seed. */
export interface Sample extends Outcome {
  seed: number;
}

/**
 * Draws several samples that share the evaluation of the prompt, on forks of the session. The first failure stops the
 * others. They are in the order of their seeds or, if the best of more than n are asked for, the best come first.
 */
export async function drawSamples(run: Run): Promise<Sample[]> {
  const { native, keep, tokens, settings } = run;
  const { n, bestOf } = settings;
  const last = run.context.length - 1;
  if (last > keep) {
    const before = tokens.subarray(0, last - keep);
    await callNative(run.signal, (cancellation) =>
      native.evaluate(keep, before, new Uint32Array(0), new Float32Array(0), cancellation),
    );
  }
  const stop = new LinkedSignal(run.signal);
  const inFlight = new InFlight(samplesInFlight);
  const seeds = Array.from({ length: bestOf }, (_, index) => settings.native.seed + index);
  const draw = async (seed: number): Promise<Sample> => {
    stop.signal.throwIfAborted();
    const fork = callNativeSync(() => native.fork());
    try {
      const outcome = await runToEnd({
        ...run,
        native: fork,
        keep: last,
        tokens: Uint32Array.from(run.context.slice(last)),
        settings: { ...settings, native: { ...settings.native, seed } },
        signal: stop.signal,
      });
      return { ...outcome, seed };
    } finally {
      fork.dispose();
    }
  };
  let samples: Sample[];
  try {
    samples = await together(stop, seeds, (seed) => inFlight.run(1, () => draw(seed)));
  } finally {
    stop.unlink();
  }
  if (bestOf === n) return samples;
  return samples.sort((a, b) => b.text.meanLogprob - a.text.meanLogprob).slice(0, n);
}

/** The result of a call with several samples. */
export function withSamples(samples: readonly Sample[]): Generation {
  const all = samples.map(({ text, native, seed }) => text.generation(native, seed));
  return { ...(all[0] as Generation), samples: all };
}
