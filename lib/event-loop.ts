import { setTimeout as wait } from 'node:timers/promises';

/**
 * Lets the host's timers and connections have their turn between two steps of a longer computation. A timer
 * and not setImmediate, which after a result of the addon would come before all others.
 */
export async function eventLoopTurn(): Promise<void> {
  await wait(0);
}

/** Does something with each of many, with a turn for the event loop after every 10,000. */
export async function forEachInTurns<T>(all: Iterable<T>, work: (one: T) => void): Promise<void> {
  let count = 0;
  for (const one of all) {
    work(one);
    if (++count % 10_000 === 0) await eventLoopTurn();
  }
}
