import { Gpt2Error } from '../errors.js';
import type { WeightType } from '../tensor-types.js';

// model-00001-of-00003.gguf
const splitPattern = /-\d{5}-of-\d{5}(?=\.gguf$)/;

/**
 * The GGUF file of a repository, or all files of one that is split, the first of them first; undefined if there
 * is none. Of several it is the one with the type in its name.
 */
export function chooseGguf(
  place: string,
  names: readonly string[],
  type: WeightType | undefined,
): string[] | undefined {
  const models = new Map<string, string[]>();
  for (const name of names.filter((one) => one.endsWith('.gguf')).sort()) {
    const whole = name.replace(splitPattern, '');
    models.set(whole, [...(models.get(whole) ?? []), name]);
  }
  if (models.size === 0) return undefined;
  const [only, ...others] = [...models.values()];
  if (others.length === 0) return only;

  const fitting = [...models].filter(([whole]) => type !== undefined && isNamedFor(whole, type));
  if (fitting.length === 1) return fitting[0]?.[1];
  const found = [...models.keys()].slice(0, 20).join(', ');
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `${place}: expected one GGUF file, or one with the type asked for in its name, but found ${found}`,
  );
}

/** Whether a file has a type in its name, as files of several types have. */
export function isNamedFor(file: string, type: WeightType): boolean {
  return new RegExp(`(^|[-._])${type}(?=[-._])`, 'i').test(file);
}
