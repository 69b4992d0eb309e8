import { setTimeout as wait } from 'node:timers/promises';

/** Waits, unless the signal is aborted first: then its reason is thrown. */
export async function waitUnlessAborted(
  milliseconds: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  await wait(milliseconds, undefined, { signal }).catch((error) => {
    throw signal?.reason ?? error;
  });
}

/** What a promise settles to, unless the signal is aborted first: then `stop` is called, and its reason thrown. */
export async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  promise: Promise<T>,
  stop?: () => void,
): Promise<T> {
  if (!signal) return await promise;
  promise.catch(() => {}); // nobody may be there to hear it
  signal.throwIfAborted();
  let stopListening = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stopListening = onAbort(signal, () => {
      stop?.();
      reject(signal.reason);
    });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    stopListening();
  }
}

// What is to be done when a signal is aborted. One listener serves all calls that share a signal, since
// Node warns of a leak when a signal has more than ten.
const abortActions = new WeakMap<AbortSignal, { all: Set<() => void>; listener: () => void }>();

/** Has `action` done on abort; the function it returns calls that off. */
export function onAbort(signal: AbortSignal, action: () => void): () => void {
  let actions = abortActions.get(signal);
  if (!actions) {
    const all = new Set<() => void>();
    const listener = () => {
      for (const each of all) each();
    };
    signal.addEventListener('abort', listener, { once: true });
    actions = { all, listener };
    abortActions.set(signal, actions);
  }
  const { all, listener } = actions;
  all.add(action);
  return () => {
    all.delete(action);
    if (all.size > 0) return;
    // The host's signal may be one of AbortSignal.any(), which Node keeps as long as it has a listener.
    signal.removeEventListener('abort', listener);
    abortActions.delete(signal);
  };
}

/**
 * A signal that is aborted with any of others, or by itself, until it is disposed. (AbortSignal.any() leaves
 * something behind in signals that outlive it: 300 bytes a call in Node 22.)
 */
export class LinkedSignal implements Disposable {
  readonly #controller = new AbortController();
  readonly #unlink: (() => void)[] = [];

  constructor(...others: (AbortSignal | undefined)[]) {
    for (const other of others) {
      if (!other) continue;
      if (other.aborted) this.abort(other.reason);
      else this.#unlink.push(onAbort(other, () => this.abort(other.reason)));
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason?: unknown): void {
    this.#controller.abort(reason);
  }

  [Symbol.dispose](): void {
    for (const unlink of this.#unlink) unlink();
  }
}
