import type { Input } from '../input.js';
import { LinkedSignal } from '../native/abort.js';
import type { GenerationPart, IndexedPart } from './generation.js';

/**
 * Runs a stream for each prompt at the same time and yields their parts as they come. The first failure stops the others
 * and is thrown. Leaving the loop stops all.
 */
export async function* mergeStreams(
  callSignal: AbortSignal | undefined,
  prompts: readonly Input[],
  streamOf: (
    prompt: Input,
    index: number,
    signal: AbortSignal,
  ) => AsyncGenerator<GenerationPart, void, void>,
): AsyncGenerator<IndexedPart, void, void> {
  const stop = new LinkedSignal(callSignal);
  const arrived: IndexedPart[] = [];
  let wake = () => {};
  // Array.from() visits the holes of a sparse array too, which are invalid prompts.
  const running = Array.from(prompts, async (prompt, index) => {
    try {
      for await (const part of streamOf(prompt, index, stop.signal)) {
        arrived.push({ index, ...part });
        wake();
      }
    } catch (error) {
      stop.abort(error);
    }
  });
  let isEnded = false;
  const all = Promise.all(running).then(() => {
    isEnded = true;
    wake();
  });
  try {
    while (true) {
      stop.signal.throwIfAborted(); // throws the reason: the failure that happened first
      const part = arrived.shift();
      if (part) {
        yield part;
      } else if (isEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    stop.abort();
    stop.unlink();
    await all;
  }
}
