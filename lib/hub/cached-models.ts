// What the cache holds, for a person to see and to remove.

import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { addon } from '../addon.js';
import { readJsonObject, writeError } from '../conversion/files.js';
import { Gpt2Error } from '../errors.js';
import { callNative } from '../native-call.js';
import { CachedRepository } from './hub-cache.js';
import { conversionName, hasWeights } from './hub-model.js';
import { hubCacheFolder } from './hub-settings.js';
import { type ModelName, showModelName } from './model-name.js';

export interface CachedModel {
  /** owner/name */
  repository: string;
  commit: string;
  /** the branches and tags that led to it when they were last asked for */
  revisions: readonly string[];
  /** bytes of its files */
  byteSize: number;
  /** false: their download was interrupted */
  hasWeights: boolean;
  conversions: readonly CachedConversion[];
}

/** A GGUF file in the folder of conversions. */
export interface CachedConversion {
  path: string;
  byteSize: number;
}

/** The GPT-2s in the cache that programs of all languages share. */
export async function listCachedModels(conversionFolder: string): Promise<CachedModel[]> {
  const models: CachedModel[] = [];
  for (const folder of (await namesIn(hubCacheFolder())).sort()) {
    const [, owner, name] = /^models--(.+?)--(.+)$/.exec(folder) ?? [];
    if (!owner || !name) continue;
    const repository = new CachedRepository(`${owner}/${name}`);
    for (const commit of await repository.commits()) {
      const files = await repository.filesOf(commit);
      if (!(await isGpt2(repository.snapshot(commit), files))) continue;
      models.push({
        repository: `${owner}/${name}`,
        commit,
        revisions: await repository.revisionsOf(commit),
        byteSize: await sizeOf(files.map((file) => join(repository.snapshot(commit), file))),
        hasWeights: await hasWeights(repository.snapshot(commit), files),
        conversions: await conversionsOf(
          conversionFolder,
          conversionName(`${owner}/${name}`, commit),
        ),
      });
    }
  }
  return models;
}

async function isGpt2(folder: string, files: readonly string[]): Promise<boolean> {
  if (files.includes('hparams.json')) return true;
  if (files.includes('config.json')) {
    const config = await readJsonObject(join(folder, 'config.json')).catch(() => undefined);
    return config?.model_type === 'gpt2' || config?.emb_dim !== undefined;
  }
  const gguf = files.filter((file) => file.endsWith('.gguf')).sort()[0];
  if (!gguf) return false;
  const described = await callNative(undefined, () => addon.inspectGguf(join(folder, gguf))).catch(
    () => undefined,
  );
  return (
    new Map(described?.metadata.map(([key, value]) => [key, value])).get('general.architecture') ===
    'gpt2'
  );
}

/** The conversions of a model, or of all its versions if the commit is left out. */
async function conversionsOf(folder: string, name: string): Promise<CachedConversion[]> {
  const conversions: CachedConversion[] = [];
  for (const file of (await namesIn(folder)).sort()) {
    if (!file.startsWith(name) || !file.endsWith('.gguf')) continue;
    const path = join(folder, file);
    conversions.push({ path, byteSize: await sizeOf([path]) });
  }
  return conversions;
}

/**
 * Removes a model from the cache: all its versions, or the one of a revision, and what was converted from them.
 *
 * @returns bytes that were freed
 * @throws MODEL_NOT_FOUND, FILE_UNWRITABLE
 */
export async function removeCachedModel(
  name: ModelName,
  { isOneRevision, conversionFolder }: { isOneRevision: boolean; conversionFolder: string },
): Promise<number> {
  const repository = new CachedRepository(name.repository);
  const commit = isOneRevision ? await repository.commitOf(name.revision) : undefined;
  const commits = await repository.commits();
  if (isOneRevision ? !commit || !commits.includes(commit) : !(await repository.exists())) {
    throw new Gpt2Error(
      'MODEL_NOT_FOUND',
      `${showModelName(name)}: expected it in the cache at ${hubCacheFolder()}, but it is not there`,
    );
  }
  const before = await repository.byteSize();
  const conversions = await conversionsOf(
    conversionFolder,
    commit ? conversionName(name.repository, commit) : conversionName(name.repository, ''),
  );
  let freed = 0;
  for (const { path, byteSize } of conversions) {
    await rm(path, { force: true }).catch((error) => {
      throw writeError(path, error);
    });
    freed += byteSize;
  }
  // The only version is all that there is.
  if (commit && commits.length > 1) await repository.removeCommit(commit);
  else await repository.remove();
  return freed + before - (await repository.byteSize());
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => []);
}

async function sizeOf(paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    bytes += found?.size ?? 0;
  }
  return bytes;
}
