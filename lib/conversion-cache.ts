import { readdir, realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import {
  companionFiles,
  findCheckpointFiles,
  tensorflowData,
} from './checkpoint/checkpoint-files.js';
import { type ConvertOptions, convertLocal } from './convert.js';
import { Gpt2Error } from './errors.js';
import { fileError } from './files.js';
import type { WeightType } from './gguf/tensor-types.js';
import { removeLeftovers } from './leftovers.js';
import type { LocalModel } from './local-model.js';
import { unlessAborted } from './native/abort.js';

// Raised whenever the same checkpoint would be written differently.
const formatVersion = 3;

/** Where conversions are kept unless a call says otherwise. */
export function defaultCacheFolder(): string {
  const { GPT2_NATIVE_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (GPT2_NATIVE_CACHE) return resolve(GPT2_NATIVE_CACHE);
  switch (process.platform) {
    case 'win32':
      return join(LOCALAPPDATA ?? join(homedir(), 'AppData', 'Local'), 'gpt2-native', 'Cache');
    case 'darwin':
      return join(homedir(), 'Library', 'Caches', 'gpt2-native');
    default:
      return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'gpt2-native');
  }
}

/**
 * The GGUF file of a checkpoint, converted now if the cache does not hold it yet. The checkpoint itself is
 * only read. Two processes that convert at once both succeed: each writes under a name of
 * its own, and the later rename replaces the earlier file with an equal one.
 */
export async function cachedConversion(
  model: LocalModel,
  cacheFolder: string,
  options: ConvertOptions,
): Promise<string> {
  const name = await unlessAborted(options.signal, cacheName(model, options.type));
  const path = join(cacheFolder, name);
  if (await exists(path)) return path;
  await unlessAborted(options.signal, removeLeftovers(cacheFolder));
  try {
    await convertLocal(model, path, options);
  } catch (error) {
    // Windows does not replace a file that another process has mapped; that one is as good.
    const isUnwritable = error instanceof Gpt2Error && error.code === 'FILE_UNWRITABLE';
    if (!isUnwritable || !(await exists(path))) throw error;
  }
  return path;
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** A name that changes with the checkpoint's path, its files' sizes and times, the type and the format. */
async function cacheName(
  { path, name: called }: LocalModel,
  type: WeightType | undefined,
): Promise<string> {
  const real = await realpath(path);
  const { folder, weights, isTensorflow } = await findCheckpointFiles(path);
  const data = isTensorflow ? tensorflowData(await namesIn(folder), weights[0] as string) : [];
  const required = [...weights, ...data];
  const states: string[] = [];
  // One after the other, so that of several that are missing it is always the first that is told.
  for (const name of [...required, ...companionFiles]) {
    try {
      const { size, mtimeNs } = await stat(join(folder, name), { bigint: true });
      states.push(`${name} ${size} ${mtimeNs}`);
    } catch (error) {
      if (required.includes(name)) {
        throw fileError(join(folder, name), error as NodeJS.ErrnoException);
      }
      states.push(`${name} absent`);
    }
  }
  const key = [`format ${formatVersion}`, `type ${type ?? 'own'}`, real, ...states].join('\n');
  const { createHash } = require('node:crypto'); // 5 ms that only checkpoints need
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 16);
  return `${called ?? basename(real)}-${type ?? 'own'}-${hash}.gguf`;
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error) => {
    throw fileError(folder, error);
  });
}
