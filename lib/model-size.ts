import { stat } from 'node:fs/promises';

/** Bytes of a model file, and of the other parts where its name is that of the first of several. */
export async function sizeWithParts(path: string, size: number): Promise<number> {
  const [end, count] = /-00001-of-(\d{5})\.gguf$/.exec(path) ?? [];
  if (end === undefined) return size;
  const prefix = path.slice(0, -end.length);
  let sum = size;
  for (let number = 2; number <= Number(count); number++) {
    const part = `${prefix}-${String(number).padStart(5, '0')}-of-${count}.gguf`;
    const found = await stat(part).catch(() => undefined);
    if (!found) break; // the engine says what that means
    sum += found.size;
  }
  return sum;
}
