import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';

/**
 * Waits for one turn of the event loop, in which the host's timers and connections are served. This is a timer rather
 * than setImmediate(), whose callbacks run before all others after a result of the addon.
 */
export async function eventLoopTurn(): Promise<void> {
  await wait(0);
}

// Too short for a person or a server's other requests to notice, and long compared with the cost of a turn.
const maxStep = 8; // milliseconds

/** Calls `work` for each element, with a turn of the event loop after every 8 ms. */
export async function forEachInTurns<T>(all: Iterable<T>, work: (one: T) => void): Promise<void> {
  let start = performance.now();
  let count = 0;
  for (const one of all) {
    work(one);
    if (++count % 16 !== 0 || performance.now() - start < maxStep) continue;
    await eventLoopTurn();
    start = performance.now();
  }
}

/** Runs steps of about a millisecond until `isDone`, with a turn of the event loop after every 8 ms. */
export async function runInTurns(steps: Iterable<unknown>, isDone: () => boolean): Promise<void> {
  let start = performance.now();
  for (const _ of steps) {
    if (isDone()) return;
    if (performance.now() - start < maxStep) continue;
    await eventLoopTurn();
    start = performance.now();
  }
}
