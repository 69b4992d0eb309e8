import { Gpt2Error } from './errors.js';

/**
 * Allocates memory outside V8's heap, filled with zeros.
 *
 * @param purpose what it is for, as in "Not enough memory for …"
 * @throws OUT_OF_MEMORY
 */
export function allocate(bytes: number, purpose: string): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (cause) {
    throw new Gpt2Error('OUT_OF_MEMORY', `Not enough memory for ${purpose}`, { cause });
  }
}
