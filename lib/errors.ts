import { types } from 'node:util';

/** The kind of an error. A code never changes its meaning; `docs/errors.md` describes each. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'UNKNOWN_OPTION'
  | 'TOKEN_OUT_OF_RANGE'
  | 'CONTEXT_OVERFLOW'
  | 'TOKENIZER_MISSING'
  | 'MODEL_NOT_FOUND'
  | 'ACCESS_DENIED'
  | 'HUB_UNAVAILABLE'
  | 'CHECKSUM_MISMATCH'
  | 'FILE_NOT_FOUND'
  | 'FILE_UNREADABLE'
  | 'FILE_UNWRITABLE'
  | 'INVALID_FILE'
  | 'UNSUPPORTED_MODEL'
  | 'DEVICE_UNAVAILABLE'
  | 'OUT_OF_MEMORY'
  | 'NOT_FINITE'
  | 'SESSION_BUSY'
  | 'DISPOSED'
  | 'ADDON_MISSING'
  | 'ADDON_MISMATCH'
  | 'BUILD_FAILED'
  | 'INTERNAL';

/**
 * The class of all errors that this package throws. An aborted call is the exception: it rejects with the reason of
 * its signal.
 *
 * @example
 * try {
 *   await model.logits([50_300]);
 * } catch (error) {
 *   if (error instanceof Gpt2Error && error.code === 'TOKEN_OUT_OF_RANGE') console.error(error.message);
 * }
 */
export class Gpt2Error extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'Gpt2Error';
    this.code = code;
  }
}

/**
 * @internal Whether a value is an Error of any realm. Jest and vm contexts have an Error class of their own, and the
 * errors of the addon and of Node are of another.
 */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || value instanceof Error;
}
