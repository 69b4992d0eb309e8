import { setTimeout as wait } from 'node:timers/promises';
import { NodeAbortController, nodeGlobal } from './globals.js';

/**
 * An AbortSignal: of this or another realm, or of a polyfill. It is declared by its members, since not every program
 * has the types of Node or of the DOM.
 */
export interface AbortSignalLike {
  readonly aborted: boolean;
  /** Default: a DOMException named AbortError. */
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** @internal */
export function isAbortSignal(value: unknown): value is AbortSignalLike {
  const signal = value as Partial<AbortSignalLike> | null | undefined;
  return (
    typeof signal === 'object' &&
    typeof signal?.aborted === 'boolean' &&
    typeof signal.addEventListener === 'function' &&
    typeof signal.removeEventListener === 'function'
  );
}

const completed = new WeakMap<AbortSignalLike, AbortSignal>();

/** @internal The signal itself, or with `reason` and `throwIfAborted`, which older polyfills lack. */
export function completeSignal(signal: AbortSignalLike): AbortSignal {
  const { throwIfAborted } = signal as Partial<AbortSignal>;
  if (typeof throwIfAborted === 'function' && 'reason' in signal) return signal as AbortSignal;
  let whole = completed.get(signal);
  if (!whole) {
    whole = new CompletedSignal(signal) as unknown as AbortSignal;
    completed.set(signal, whole);
  }
  return whole;
}

class CompletedSignal implements AbortSignalLike {
  readonly #signal: AbortSignalLike;
  #reason: unknown;

  constructor(signal: AbortSignalLike) {
    this.#signal = signal;
  }

  get aborted(): boolean {
    return this.#signal.aborted;
  }

  get reason(): unknown {
    if (!this.aborted) return undefined;
    this.#reason ??=
      this.#signal.reason ??
      new (nodeGlobal('DOMException'))('This operation was aborted', 'AbortError');
    return this.#reason;
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void {
    this.#signal.addEventListener(type, listener, options);
  }

  removeEventListener(type: 'abort', listener: () => void): void {
    this.#signal.removeEventListener(type, listener);
  }
}

/** @internal Waits for a time. If the signal is aborted first, throws its reason. */
export async function waitUnlessAborted(
  milliseconds: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  await wait(milliseconds, undefined, { signal }).catch((error) => {
    throw signal?.reason ?? error;
  });
}

/**
 * @internal Waits for a promise. If the signal is aborted first, calls `stop` and throws its reason. The outcome of the
 * promise is ignored in that case.
 */
export async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  promise: Promise<T>,
  stop?: () => void,
): Promise<T> {
  if (!signal) return await promise;
  promise.catch(() => {}); // after an abort nothing else handles its rejection
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

// The actions on abort, by signal. One listener serves all calls that share a signal, since Node warns of a leak when
// a signal has more than ten listeners.
const abortActions = new WeakMap<AbortSignal, { all: Set<() => void>; listener: () => void }>();

/** @internal Registers an action on abort. Returns a function that removes it. */
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
    // The caller's signal may come from AbortSignal.any(). Node keeps such a signal as long as it has a listener.
    signal.removeEventListener('abort', listener);
    abortActions.delete(signal);
  };
}

/**
 * @internal A signal that is aborted with any of several others, or by `abort()`. `unlink()` unlinks it from the others.
 * (AbortSignal.any() leaves 300 bytes per call in signals that outlive it, in Node 22.)
 */
export class LinkedSignal {
  readonly #controller = new NodeAbortController();
  readonly #links: (() => void)[] = [];

  constructor(...others: (AbortSignal | undefined)[]) {
    for (const other of others) {
      if (!other) continue;
      if (other.aborted) this.abort(other.reason);
      else this.#links.push(onAbort(other, () => this.abort(other.reason)));
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason?: unknown): void {
    this.#controller.abort(reason);
  }

  unlink(): void {
    for (const unlink of this.#links) unlink();
  }
}
