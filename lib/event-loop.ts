import { setTimeout as wait } from 'node:timers/promises';

/**
 * Lets the host's timers and connections have their turn between two steps of a longer computation. A timer
 * and not setImmediate, which after a result of the addon would come before all others.
 */
export async function eventLoopTurn(): Promise<void> {
  await wait(0);
}
