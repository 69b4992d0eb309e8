import { Gpt2Error } from './errors.js';

/**
 * Runs a function that allocates memory, such as typed arrays, whose size depends on the input.
 *
 * @param purpose what the memory is for, as in "Not enough memory for …"
 * @throws OUT_OF_MEMORY
 */
export function allocate<T>(purpose: string, create: () => T): T {
  try {
    return create();
  } catch (cause) {
    throw new Gpt2Error('OUT_OF_MEMORY', `Not enough memory for ${purpose}`, { cause });
  }
}
