import { expect } from 'vitest';
import { type ErrorCode, Gpt2Error } from '../dist/index.js';

/** Expects a call to fail with a Gpt2Error with this code, and returns the error. */
export async function failure(code: ErrorCode, call: () => unknown): Promise<Gpt2Error> {
  let result: unknown;
  try {
    result = await call();
  } catch (error) {
    expect(error).toBeInstanceOf(Gpt2Error);
    const { code: actual, message, name } = error as Gpt2Error;
    expect({ code: actual, message, name }).toEqual({
      code,
      message,
      name: 'Gpt2Error',
    });
    expect(message).not.toBe('');
    return error as Gpt2Error;
  }
  throw new Error(`expected ${code}, but the call succeeded with ${String(result)}`);
}
