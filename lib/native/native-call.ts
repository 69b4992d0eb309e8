// Calls of the addon, with errors as Gpt2Error and an AbortSignal for cancellation.

import { type ErrorCode, Gpt2Error, isError } from '../errors.js';
import { onAbort, unlessAborted } from './abort.js';
import { addon, isNativeError } from './addon.js';
import type { NativeCancellation } from './types.js';

/**
 * Makes a native call that an AbortSignal can cancel. Its errors become Gpt2Errors. On abort the call rejects with the
 * signal's reason immediately; the native work stops a moment later, and its result is dropped.
 */
export async function callNative<T>(
  signal: AbortSignal | undefined,
  start: (cancellation?: NativeCancellation) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const cancellation = signal && makeCancellation();
  const running = (async () => await start(cancellation))().catch((error) => {
    throw toGpt2Error(error);
  });
  return await unlessAborted(signal, running, () => cancellation?.cancel());
}

/** Makes a synchronous native call. Its errors become Gpt2Errors. */
export function callNativeSync<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toGpt2Error(error);
  }
}

/** As {@link callNative}. On abort, it rejects only after the native work has ended and cleaned up. */
export async function callNativeToCompletion<T>(
  signal: AbortSignal,
  start: (cancellation: NativeCancellation) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const cancellation = makeCancellation();
  const stopListening = onAbort(signal, () => cancellation.cancel());
  try {
    return await start(cancellation);
  } catch (error) {
    signal.throwIfAborted();
    throw toGpt2Error(error);
  } finally {
    stopListening();
  }
}

function makeCancellation(): NativeCancellation {
  return callNativeSync(() => new (addon().Cancellation)());
}

function toGpt2Error(error: unknown): Gpt2Error {
  if (error instanceof Gpt2Error) return error; // the addon could not be loaded
  if (!isNativeError(error)) {
    // node-addon-api turns a C++ exception into an Error with the exception's text.
    const isOutOfMemory = isError(error) && error.message === 'std::bad_alloc';
    return isOutOfMemory
      ? new Gpt2Error('OUT_OF_MEMORY', 'There is no memory for the call.', { cause: error })
      : new Gpt2Error('INTERNAL', String(error), { cause: error });
  }
  // Without a signal, only dispose() cancels work.
  if (error.code === 'ABORTED') {
    return new Gpt2Error('DISPOSED', 'The model was disposed during the call.');
  }
  return new Gpt2Error(error.code as ErrorCode, error.message);
}
