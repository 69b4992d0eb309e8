import { stat } from 'node:fs/promises';

// llama.cpp's gguf-split names the first of three parts model-00001-of-00003.gguf.
const partName = /-\d{5}-of-(\d{5})\.gguf$/;

/**
 * Yields the names of all parts of a split GGUF file, given the name of one of them. A file that is not split is its
 * only part.
 */
export function* ggufParts(name: string): Generator<string, void, undefined> {
  const count = partName.exec(name)?.[1];
  if (count === undefined) {
    yield name;
    return;
  }
  for (let number = 1; number <= Number(count); number++) {
    yield name.replace(partName, `-${String(number).padStart(5, '0')}-of-${count}.gguf`);
  }
}

/** The name of a GGUF file before it was split. */
export function unsplitName(name: string): string {
  return name.replace(partName, '.gguf');
}

/**
 * The number of bytes of a model: of the file, and of the other parts if it is the first part of a split one.
 *
 * @param size the size of the file itself
 */
export async function sizeWithParts(path: string, size: number): Promise<number> {
  const [first, ...others] = ggufParts(path);
  if (path !== first) return size;
  let sum = size;
  for (const part of others) {
    const found = await stat(part).catch(() => undefined);
    if (!found) break; // loading reports the missing part
    sum += found.size;
  }
  return sum;
}
