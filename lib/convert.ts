import { parse, resolve } from 'node:path';
import { checkOptions, checkString } from './arguments.js';
import { type ConvertOptions, checkConversion } from './conversion-options.js';
import { removeLeftovers } from './leftovers.js';
import { findModel } from './model-source.js';
import { unlessAborted } from './native/abort.js';
import { checkSource, type UrlLike } from './source.js';

/**
 * Writes a checkpoint, or a GGUF file in another type, to the single GGUF file `target`. llama.cpp loads it too.
 *
 * @param source The path of a checkpoint's folder or of the file with its weights, in the formats of Hugging Face,
 *   OpenAI, nanoGPT and "Build a Large Language Model (From Scratch)" (docs/checkpoints.md); the path of a GGUF file;
 *   or the name of a model on the hub, as for `loadModel`.
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, FILE_UNWRITABLE, INVALID_FILE, UNSUPPORTED_MODEL, OUT_OF_MEMORY,
 *   INVALID_ARGUMENT, UNKNOWN_OPTION; for a name also MODEL_NOT_FOUND, ACCESS_DENIED, HUB_UNAVAILABLE,
 *   CHECKSUM_MISMATCH
 * @example
 * await convert('./my-gpt2', './my-gpt2.gguf', { type: 'q8_0' });
 * await convert('gpt2', './gpt2.gguf', { type: 'q8_0' });
 */
export async function convert(
  source: string | UrlLike,
  target: string,
  options?: ConvertOptions,
): Promise<void> {
  const given = checkSource('the checkpoint', source);
  checkString('target', target);
  const checked = checkConversion(
    checkOptions('convert', options, [
      'type',
      'threads',
      'headCount',
      'adapters',
      'offline',
      'signal',
      'onProgress',
      'logger',
    ]),
  );
  const { signal } = checked;
  signal?.throwIfAborted();
  const model = await findModel(given, checked);
  const { dir, base } = parse(resolve(target));
  await unlessAborted(signal, removeLeftovers(dir, base));
  await conversion().convertLocal(model, target, checked);
}

// Loaded on demand, since loading takes 10 ms and GGUF files do not need it.
function conversion(): typeof import('./conversion.js') {
  return require('./conversion.js');
}
