import { join } from 'node:path';
import { companionFiles, usualCompanions } from '../checkpoint/checkpoint-files.js';
import { Gpt2Error } from '../errors.js';
import { inDefaultFolder } from '../files.js';
import type { WeightType } from '../gguf/tensor-types.js';
import type { LocalModel } from '../local-model.js';
import { chooseFiles, type FileChoice, hasAllWeights } from './file-choice.js';
import { hasTypeInName } from './gguf-choice.js';
import { CachedRepository } from './hub-cache.js';
import { type DownloadOptions, fetchModel } from './hub-download.js';
import { hubCacheFolder, isOfflineByDefault } from './hub-settings.js';
import { type ModelName, showModelName } from './model-name.js';

export interface HubModelOptions extends DownloadOptions {
  /** Uses the cache only, without network access. Default: the variable HF_HUB_OFFLINE. */
  offline?: boolean | undefined;
}

/**
 * Finds a model of the hub in the cache, of any age, and downloads it if the cache does not hold it.
 *
 * @throws MODEL_NOT_FOUND, ACCESS_DENIED, HUB_UNAVAILABLE, CHECKSUM_MISMATCH, FILE_UNWRITABLE, INVALID_ARGUMENT,
 *   UNSUPPORTED_MODEL, INVALID_FILE
 */
export async function findHubModel(name: ModelName, options: HubModelOptions): Promise<LocalModel> {
  const { offline = isOfflineByDefault(), type, signal } = options;
  const cached = await findCached(name, type, offline);
  signal?.throwIfAborted();
  if (cached && (offline || cached.isComplete)) return cached.model;
  if (cached) return await completed(name, cached, options);
  if (!offline) return await downloadModel(name, options);
  throw new Gpt2Error(
    'MODEL_NOT_FOUND',
    `${showModelName(name)}: expected the model in the cache at ${hubCacheFolder()}, since the call is offline, but it is not there`,
  );
}

/** Downloads the files of a model's newest version that are not in the cache. */
export async function downloadModel(
  name: ModelName,
  options: DownloadOptions,
): Promise<LocalModel> {
  const { commit, choice } = await inDefaultFolder('HF_HOME', () => fetchModel(name, options));
  return localModel(name.repository, commit, choice, name.file);
}

// With these errors of the hub, an incomplete model is used as it is.
const toleratedCodes = ['HUB_UNAVAILABLE', 'MODEL_NOT_FOUND', 'ACCESS_DENIED', 'FILE_UNWRITABLE'];

/**
 * Downloads the missing files of a model that another program downloaded in part. Returns the model as it is if the hub
 * cannot provide them.
 */
async function completed(
  { repository, file }: ModelName,
  { model, commit }: CachedModel,
  options: HubModelOptions,
): Promise<LocalModel> {
  try {
    return await downloadModel(
      file === undefined
        ? { repository, revision: commit }
        : { repository, file, revision: commit },
      options,
    );
  } catch (error) {
    if (error instanceof Gpt2Error && toleratedCodes.includes(error.code)) return model;
    throw error;
  }
}

function localModel(
  repository: string,
  commit: string,
  choice: FileChoice,
  file: string | undefined,
): LocalModel {
  const folder = new CachedRepository(repository).snapshot(commit);
  return {
    path:
      file !== undefined || choice.form === 'gguf'
        ? join(folder, choice.weights[0] as string)
        : folder,
    name: conversionName(repository, commit),
  };
}

/** The prefix of the names of a model's conversions. */
export function conversionName(repository: string, commit: string): string {
  // File systems allow names of 255 bytes.
  return `${repository.replace('/', '--').slice(0, 128)}@${commit.slice(0, 12)}`;
}

interface CachedModel {
  model: LocalModel;
  commit: string;
  /** Whether the cache holds every file that the hub could provide. */
  isComplete: boolean;
}

async function findCached(
  name: ModelName,
  type: WeightType | undefined,
  offline: boolean,
): Promise<CachedModel | undefined> {
  for (const repository of namesInCache(name)) {
    const cached = new CachedRepository(repository);
    const commit = await cached.commitOf(name.revision);
    if (commit === undefined) continue;
    const names = await cached.filesOf(commit);
    let choice: FileChoice | undefined;
    try {
      choice = chooseFiles(showModelName(name), names, type, name.file);
    } catch (error) {
      if (offline) throw error;
      continue; // the hub may have the requested file
    }
    if (!choice || !(await hasAllWeights(cached.snapshot(commit), names, choice))) continue;
    const known = new Set([...names, ...(await cached.absencesOf(commit))]);
    return {
      model: localModel(repository, commit, choice, name.file),
      commit,
      // A model under its short name cannot be completed: downloads go to the full name.
      isComplete: repository !== name.repository || hasAllFiles(choice, known, type),
    };
  }
  return undefined;
}

function hasAllFiles(
  { form, weights }: FileChoice,
  known: ReadonlySet<string>,
  type: WeightType | undefined,
): boolean {
  if (form === 'gguf') {
    return type === undefined || weights.every((file) => hasTypeInName(file, type));
  }
  const companions = form === 'tensorflow' ? companionFiles : usualCompanions;
  return companions.every((file) => known.has(file));
}

/** The names under which the cache may hold a model. Other programs use the name that their user passed. */
export function namesInCache({ repository, shortName }: ModelName): string[] {
  return shortName === undefined ? [repository] : [repository, shortName];
}
