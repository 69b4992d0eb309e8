import { join, resolve } from 'node:path';
import { homeFolder, inDefaultFolder } from './files.js';

/**
 * The default folder for conversions.
 *
 * @throws FILE_NOT_FOUND
 */
export function defaultCacheFolder(): string {
  const { GPT2_NATIVE_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (GPT2_NATIVE_CACHE) return resolve(GPT2_NATIVE_CACHE);
  const home = () => homeFolder('GPT2_NATIVE_CACHE');
  switch (process.platform) {
    case 'win32':
      return join(LOCALAPPDATA ?? join(home(), 'AppData', 'Local'), 'gpt2-native', 'Cache');
    case 'darwin':
      return join(home(), 'Library', 'Caches', 'gpt2-native');
    default:
      return join(XDG_CACHE_HOME || join(home(), '.cache'), 'gpt2-native');
  }
}

/**
 * Runs work that writes to a folder for conversions, by default the default one.
 *
 * @param work receives the folder as an absolute path
 */
export async function inCacheFolder<T>(
  folder: string | undefined,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  if (folder !== undefined) return await work(resolve(folder));
  return await inDefaultFolder('GPT2_NATIVE_CACHE', () => work(defaultCacheFolder()));
}
