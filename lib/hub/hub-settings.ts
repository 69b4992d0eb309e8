// The settings of the hub, from the environment variables that Hugging Face's own tools use:
// https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables

import { join, resolve } from 'node:path';
import { URL } from 'node:url';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { homeFolder } from '../files.js';

/** HF_ENDPOINT: the URL of the hub, without a trailing "/". */
export function hubEndpoint(): string {
  const value = process.env.HF_ENDPOINT || 'https://huggingface.co';
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isPlain = url && !url.username && !url.password && !url.search && !url.hash;
  if (!isPlain || !['http:', 'https:'].includes(url.protocol)) {
    // The value is not shown, since it may contain a password.
    throw wrongSetting('HF_ENDPOINT', 'a URL such as https://huggingface.co', 'another value');
  }
  return value.replace(/\/+$/, '');
}

/** HF_TOKEN: the access token for private and gated models. */
export function hubToken(): string | undefined {
  const token = process.env.HF_TOKEN?.trim() || undefined;
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw wrongSetting('HF_TOKEN', 'printable characters', 'other characters');
  }
  return token;
}

/** HF_HUB_CACHE, or the folder `hub` in HF_HOME: the cache shared by programs in all languages. */
export function hubCacheFolder(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = () => homeFolder('HF_HOME');
  const cache = () => XDG_CACHE_HOME || join(home(), '.cache');
  const folder =
    HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(HF_HOME || join(cache(), 'huggingface'), 'hub');
  return resolve(folder.replace(/^~(?=[/\\]|$)/, home)); // like Python's os.path.expanduser
}

/** HF_HUB_OFFLINE: whether the network must not be used. */
export function isOfflineByDefault(): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(process.env.HF_HUB_OFFLINE?.toUpperCase() ?? '');
}

/** HF_HUB_DOWNLOAD_TIMEOUT, converted to milliseconds: the maximum time without data from the hub. */
export function hubTimeout(): number {
  const value = process.env.HF_HUB_DOWNLOAD_TIMEOUT || '10';
  const seconds = Number(value);
  if (!(seconds > 0 && seconds <= 86_400)) {
    throw wrongSetting('HF_HUB_DOWNLOAD_TIMEOUT', 'a number of seconds', show(value));
  }
  return 1000 * seconds;
}

function wrongSetting(name: string, expected: string, received: string): Gpt2Error {
  return new Gpt2Error(
    'INVALID_ARGUMENT',
    `Expected the environment variable ${name} to be ${expected} but received ${received}`,
  );
}
