import { setTimeout as wait } from 'node:timers/promises';

/**
 * Lets the host's timers and connections have their turn between two steps of a longer computation. A timer
 * and not setImmediate, which after a result of the addon would come before all others.
 */
export async function eventLoopTurn(): Promise<void> {
  await wait(0);
}

// Far below what a person or a server's other requests would notice, far above the cost of a turn.
const longestStep = 8; // milliseconds

/** Does something with each of many, with a turn for the event loop whenever 8 ms are over. */
export async function forEachInTurns<T>(all: Iterable<T>, work: (one: T) => void): Promise<void> {
  let start = performance.now();
  let count = 0;
  for (const one of all) {
    work(one);
    if (++count % 16 !== 0 || performance.now() - start < longestStep) continue;
    await eventLoopTurn();
    start = performance.now();
  }
}
