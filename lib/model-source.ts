import { lstat, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Gpt2Error } from './errors.js';
import { fileError } from './files.js';
import type { HubModelOptions } from './hub/hub-model.js';
import { parseModelName } from './hub/model-name.js';
import { defaultModel, type LocalModel } from './local-model.js';
import { unlessAborted } from './native/abort.js';

/**
 * Finds the model of a path or a name. If a file or folder exists at that path, it is opened as a path. Without a
 * source, it is the model that comes with the package. A model of the hub is downloaded if the cache does not hold it.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, and as `findHubModel`
 */
export async function findModel(
  source: string | undefined,
  options: HubModelOptions,
): Promise<LocalModel> {
  const { signal } = options;
  const path = source === undefined ? defaultModel : resolve(source);
  const error = await unlessAborted(
    signal,
    stat(path).then(
      () => undefined,
      (error) => fileError(path, error),
    ),
  );
  if (!error) return { path };
  // A dangling symbolic link exists too.
  const link = await lstat(path).catch(() => undefined);
  if (link || error.code !== 'FILE_NOT_FOUND') throw error;
  const name = source === undefined ? undefined : parseModelName(source);
  if (name) return await hub().findHubModel(name, options);
  const expected =
    source === undefined
      ? 'the small model that comes with the package'
      : 'the path of a GGUF file or of a checkpoint, or the name of a model on the hub (gpt2, or owner/name)';
  throw new Gpt2Error(error.code, `Expected ${expected}, but there is nothing at ${path}`);
}

// Loaded on demand, since loading takes milliseconds and only names need it.
function hub(): typeof import('./hub/hub-model.js') {
  return require('./hub/hub-model.js');
}
