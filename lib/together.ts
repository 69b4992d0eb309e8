import type { LinkedSignal } from './native/abort.js';

/**
 * Runs work for each element at the same time. The first failure aborts `stop`, which is to end the others, and is thrown
 * when all have ended.
 */
export async function together<T, Result>(
  stop: LinkedSignal,
  all: Iterable<T> | ArrayLike<T>,
  work: (one: T, index: number) => Promise<Result>,
): Promise<Result[]> {
  // Array.from() visits the holes of a sparse array too, which are invalid inputs.
  const running = Array.from(all, async (one, index) => {
    try {
      return await work(one, index);
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  });
  await Promise.allSettled(running);
  stop.signal.throwIfAborted(); // throws the reason: the failure that happened first
  return await Promise.all(running);
}
