import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { GgufDescription } from '../native/addon.js';

/** The metadata of a GGUF file by key; a file of another architecture than GPT-2's is refused. */
export function gpt2Metadata(
  path: string,
  { metadata }: GgufDescription,
): Map<string, GgufDescription['metadata'][number][1]> {
  const values = new Map(metadata.map(([key, value]) => [key, value]));
  const architecture = values.get('general.architecture');
  if (architecture === 'gpt2') return values;
  throw new Gpt2Error(
    'UNSUPPORTED_MODEL',
    `${path}: expected the architecture "gpt2" but found ${show(architecture)}`,
  );
}
