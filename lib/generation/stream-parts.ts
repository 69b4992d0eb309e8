import { LinkedSignal } from '../native/abort.js';
import type { GenerationPart } from './generation.js';
import { type Run, runToEnd } from './run.js';
import type { StreamTurn } from './stream-turn.js';

/**
 * Runs the decode loop and yields the text part by part. Leaving the loop over the parts early stops the run.
 *
 * @param turn the stream's turn on its session
 * @param onEnd is called when the engine has generated all tokens, yielded or not
 */
export async function* streamParts(
  run: Run,
  turn: StreamTurn,
  onEnd: () => void,
): AsyncGenerator<GenerationPart, void, void> {
  const arrived: GenerationPart[] = [];
  let wake = () => {};
  let isEnded = false;

  // Aborted by the caller's signal, and at the end of the loop.
  const stop = new LinkedSignal(run.signal);
  const running = runToEnd(
    { ...run, signal: stop.signal },
    (token) => turn.generate(token),
    (part) => {
      arrived.push(part);
      wake();
    },
  )
    .then(({ text, native, isWhole }) => {
      turn.complete(isWhole ? native.droppedTokens : undefined);
      onEnd();
      arrived.push(text.lastPart(native, run.settings.native.seed));
    })
    .finally(() => {
      isEnded = true;
      wake();
    });
  running.catch(() => {}); // awaited below, unless the loop is left early

  try {
    while (true) {
      const part = arrived.shift();
      if (part) {
        turn.append(part.tokens.length);
        yield part;
      } else if (isEnded) {
        break;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    await running;
  } finally {
    stop.abort();
    stop.unlink();
    await running.catch(() => {});
  }
}
