// Lists and removes the models in the cache, for `gpt2 list` and `gpt2 rm`.

import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { fileError, readJsonObject, writing } from '../files.js';
import { findLeftovers, type Leftover, removeLeftovers } from '../leftovers.js';
import { addon } from '../native/addon.js';
import { callNative } from '../native/native-call.js';
import { chooseFiles, hasAllWeights } from './file-choice.js';
import { ggufModels } from './gguf-choice.js';
import { CachedRepository } from './hub-cache.js';
import { conversionName, namesInCache } from './hub-model.js';
import { hubCacheFolder } from './hub-settings.js';
import { type ModelName, showModelName } from './model-name.js';

export interface CachedModel {
  /** owner/name */
  repository: string;
  commit: string;
  /** The branches and tags that pointed to this commit when they were last resolved. */
  revisions: readonly string[];
  /** Total size of its files. */
  byteSize: number;
  /** False if the download was interrupted. */
  hasWeights: boolean;
  conversions: readonly CachedConversion[];
}

/** A GGUF file in the folder of conversions. */
export interface CachedConversion {
  path: string;
  byteSize: number;
}

/** Lists the GPT-2 models in the Hugging Face cache, which programs in all languages share. */
export async function listCachedModels(conversionFolder: string): Promise<CachedModel[]> {
  const models: CachedModel[] = [];
  for (const name of await repositoriesInCache()) {
    const repository = new CachedRepository(name);
    for (const commit of await repository.commits()) {
      const files = await repository.filesOf(commit);
      if (!(await isGpt2(repository.snapshot(commit), files))) continue;
      models.push({
        repository: name,
        commit,
        revisions: await repository.revisionsOf(commit),
        byteSize: await sizeOf(files.map((file) => join(repository.snapshot(commit), file))),
        hasWeights: await hasWeights(repository.snapshot(commit), files),
        conversions: await conversionsOf(conversionFolder, name, commit),
      });
    }
  }
  return models;
}

/** The names of all models in the cache, GPT-2 or not. */
async function repositoriesInCache(): Promise<string[]> {
  const names = (await namesIn(hubCacheFolder())).sort();
  return names.flatMap((name) => /^models--(.+)$/.exec(name)?.[1]?.replace('--', '/') ?? []);
}

/** Lists the files that killed processes left in the folder of conversions and in the hub's cache. */
export async function listLeftovers(conversionFolder: string): Promise<Leftover[]> {
  const all = await findLeftovers(conversionFolder);
  for (const name of await repositoriesInCache()) {
    all.push(...(await new CachedRepository(name).leftovers()));
  }
  return all;
}

/**
 * Removes the files that `listLeftovers` lists. Files that cannot be removed stay.
 *
 * @returns the number of bytes freed
 */
export async function removeAllLeftovers(conversionFolder: string): Promise<number> {
  const all = await removeLeftovers(conversionFolder);
  for (const name of await repositoriesInCache()) {
    all.push(...(await new CachedRepository(name).removeLeftovers()));
  }
  return all.reduce((sum, { byteSize }) => sum + byteSize, 0);
}

async function isGpt2(folder: string, files: readonly string[]): Promise<boolean> {
  if (files.includes('hparams.json')) return true;
  if (files.includes('config.json')) {
    const config = await readJsonObject(join(folder, 'config.json')).catch(() => undefined);
    return config?.model_type === 'gpt2' || config?.emb_dim !== undefined;
  }
  const [first] = ggufModels(files).flat();
  if (first === undefined) return false;
  const described = await callNative(undefined, () =>
    addon().inspectGguf(join(folder, first)),
  ).catch(() => undefined);
  return (
    described?.metadata.some(
      ([key, value]) => key === 'general.architecture' && value === 'gpt2',
    ) === true
  );
}

/** Whether a folder holds the weights of a checkpoint or a GGUF model. */
async function hasWeights(folder: string, files: readonly string[]): Promise<boolean> {
  if (ggufModels(files).length > 0) return true;
  try {
    const choice = chooseFiles(folder, files, undefined);
    return choice !== undefined && (await hasAllWeights(folder, files, choice));
  } catch {
    return false; // ambiguous weights or a damaged index, which cannot be loaded
  }
}

/** Lists the conversions of one commit of a model, or of all its commits. */
async function conversionsOf(
  folder: string,
  repository: string,
  commit?: string,
): Promise<CachedConversion[]> {
  const start = commit ? `${conversionName(repository, commit)}-` : conversionName(repository, '');
  const conversions: CachedConversion[] = [];
  for (const file of (await namesIn(folder)).sort()) {
    const rest = file.startsWith(start) ? file.slice(start.length) : undefined;
    // Skips conversions of a local folder that happens to have such a name.
    if (rest === undefined || !/^([0-9a-f]{12}-)?[a-z0-9_]+-[0-9a-f]{16}\.gguf$/.test(rest))
      continue;
    const path = join(folder, file);
    conversions.push({ path, byteSize: await sizeOf([path]) });
  }
  return conversions;
}

/**
 * Removes a model and its conversions from the cache: all versions, or the version of one revision. A commit may be
 * abbreviated to its first digits.
 *
 * @returns the number of bytes freed
 * @throws MODEL_NOT_FOUND, FILE_UNWRITABLE
 */
export async function removeCachedModel(
  name: ModelName,
  { isOneRevision, conversionFolder }: { isOneRevision: boolean; conversionFolder: string },
): Promise<number> {
  let freed: number | undefined;
  for (const cachedName of namesInCache(name)) {
    const repository = new CachedRepository(cachedName);
    const commit = isOneRevision ? await findCommit(repository, name.revision) : undefined;
    if (isOneRevision ? commit === undefined : !(await repository.exists())) continue;
    const before = await repository.byteSize();
    // Removing the only version removes the whole repository.
    if (commit && (await repository.commits()).length > 1) await repository.removeCommit(commit);
    else await repository.remove();
    freed = (freed ?? 0) + before - (await repository.byteSize());
    for (const { path, byteSize } of await conversionsOf(conversionFolder, cachedName, commit)) {
      await writing(path, async () => await rm(path, { force: true }));
      freed += byteSize;
    }
  }
  if (freed !== undefined) return freed;
  throw new Gpt2Error(
    'MODEL_NOT_FOUND',
    `${showModelName(name)}: expected the model in the cache at ${hubCacheFolder()}, but it is not there`,
  );
}

async function findCommit(
  repository: CachedRepository,
  revision: string,
): Promise<string | undefined> {
  const commits = await repository.commits();
  const named = await repository.commitOf(revision);
  if (named !== undefined) return commits.includes(named) ? named : undefined;
  const matching = /^[0-9a-f]{7,}$/.test(revision)
    ? commits.filter((commit) => commit.startsWith(revision))
    : [];
  return matching.length === 1 ? matching[0] : undefined;
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error) => {
    if (error.code === 'ENOENT') return [];
    throw fileError(folder, error);
  });
}

async function sizeOf(paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    bytes += found?.size ?? 0;
  }
  return bytes;
}
