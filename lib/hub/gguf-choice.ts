import { Gpt2Error } from '../errors.js';
import { ggufParts, unsplitName } from '../gguf/gguf-parts.js';
import type { WeightType } from '../gguf/tensor-types.js';

/** The complete GGUF models among files, each as its parts in order. */
export function ggufModels(names: readonly string[]): string[][] {
  const present = new Set(names);
  const models: string[][] = [];
  for (const name of names.filter((one) => one.endsWith('.gguf')).sort()) {
    const parts: string[] = [];
    let isComplete = true;
    for (const part of ggufParts(name)) {
      isComplete = present.has(part) && (parts.length > 0 || part === name);
      if (!isComplete) break;
      parts.push(part);
    }
    if (isComplete) models.push(parts);
  }
  return models;
}

/**
 * Chooses the files of a GGUF model: the only one, or the one with the type in its name. Returns undefined if there
 * are none.
 * @param place the folder or repository, for error messages
 */
export function chooseGguf(
  place: string,
  names: readonly string[],
  type: WeightType | undefined,
): string[] | undefined {
  const models = ggufModels(names);
  if (models.length <= 1) return models[0];
  const matching = models.filter(
    ([first = '']) => type !== undefined && hasTypeInName(first, type),
  );
  if (matching.length === 1) return matching[0];
  const found = models.map(([first = '']) => unsplitName(first)).slice(0, 20);
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `${place}: expected one GGUF file, or one with the requested type in its name, but found ${found.join(', ')}`,
  );
}

/** Whether a file's name contains a type, as in repositories with several types. */
export function hasTypeInName(file: string, type: WeightType): boolean {
  return new RegExp(`(^|[-._])${type}(?=[-.])`, 'i').test(unsplitName(file));
}
