import { stat } from 'node:fs/promises';
import { ggufParts } from './gguf-parts.js';

/** Bytes of a model file, and of the other parts where it is the first of several. */
export async function sizeWithParts(path: string, size: number): Promise<number> {
  const [first, ...others] = ggufParts(path);
  if (path !== first) return size;
  let sum = size;
  for (const part of others) {
    const found = await stat(part).catch(() => undefined);
    if (!found) break; // the engine says what that means
    sum += found.size;
  }
  return sum;
}
