import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { TextEncoder } from 'node:util';
import { findAdapterFiles } from './checkpoint/adapter.js';
import { adapterConfigName } from './checkpoint/adapter-config.js';
import {
  companionFiles,
  findCheckpointFiles,
  tensorflowData,
  usualCompanions,
} from './checkpoint/checkpoint-files.js';
import { convertLocal } from './conversion.js';
import type { ConversionSettings } from './conversion-options.js';
import { Gpt2Error } from './errors.js';
import { reading } from './files.js';
import { removeLeftovers } from './leftovers.js';
import type { LocalModel } from './local-model.js';
import { unlessAborted } from './native/abort.js';

// Incremented with every change to the file that a conversion writes, so that older conversions are not reused.
const formatVersion = 6;

/**
 * The path of a checkpoint's GGUF file. The checkpoint is converted if the cache does not hold its conversion yet.
 * Two processes that convert at the same time both succeed: each writes under its own name, and the later rename
 * replaces the earlier file with an equal one.
 *
 * @param cacheFolder an absolute path
 */
export async function cachedConversion(
  model: LocalModel,
  cacheFolder: string,
  options: ConversionSettings,
): Promise<string> {
  const name = await unlessAborted(options.signal, cacheName(model, options));
  const path = join(cacheFolder, name);
  if (await exists(path)) return path;
  await unlessAborted(options.signal, removeLeftovers(cacheFolder));
  try {
    await convertLocal(model, path, options);
  } catch (error) {
    // Windows does not replace a file that another process has mapped. That file is an equal conversion.
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

/** The sizes and times of the files in a folder. */
async function statesOf(
  folder: string,
  required: readonly string[],
  companions: readonly string[],
): Promise<string[]> {
  const states: string[] = [];
  // One after the other, so that the error always names the first of several missing files.
  for (const name of [...required, ...companions]) {
    const file = join(folder, name);
    const found = reading(file, async () => await stat(file, { bigint: true }));
    const state = await (required.includes(name) ? found : found.catch(() => undefined));
    states.push(state ? `${name} ${state.size} ${state.mtimeNs}` : `${name} absent`);
  }
  return states;
}

// With the type, the hash and the temporary name's end, a name stays below the 255 bytes that file systems allow.
const maxNameBytes = 128;

/** The longest prefix of a name with at most `maxNameBytes` bytes of UTF-8. */
function shortened(name: string): string {
  const { read } = new TextEncoder().encodeInto(name, new Uint8Array(maxNameBytes));
  return name.slice(0, read);
}

/**
 * A name that depends on the paths of the checkpoint and of its adapters, the sizes and times of their files, the options
 * and the format.
 */
async function cacheName(
  { path, name: ownName }: LocalModel,
  { type, headCount, adapters = [] }: ConversionSettings,
): Promise<string> {
  const real = await reading(path, async () => await realpath(path));
  const { folder, weights, isTensorflow } = await findCheckpointFiles(path);
  const names = isTensorflow ? await reading(folder, async () => await readdir(folder)) : [];
  const data = isTensorflow ? tensorflowData(names, weights[0] as string) : [];
  const required = [...weights, ...data];
  // A PEFT model that was saved as a whole has its adapter's config beside it.
  const states = await statesOf(folder, required, [...companionFiles, adapterConfigName]);
  for (const { path: adapter, scale } of adapters) {
    const files = await findAdapterFiles(adapter);
    const companions = [adapterConfigName, ...usualCompanions];
    const real = await reading(adapter, async () => await realpath(adapter));
    states.push(`adapter ${scale} ${real}`);
    states.push(...(await statesOf(files.folder, [files.weights], companions)));
  }
  const key = [
    `format ${formatVersion}`,
    `type ${type ?? 'own'}`,
    `heads ${headCount ?? 'own'}`,
    real,
    ...states,
  ].join('\n');
  const { createHash } = require('node:crypto'); // loading it takes 5 ms, and only checkpoints need it
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 16);
  return `${ownName ?? shortened(basename(real))}-${type ?? 'own'}-${hash}.gguf`;
}
