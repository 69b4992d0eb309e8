import { join } from 'node:path';
import { companionFiles, usualCompanions } from '../checkpoint/checkpoint-files.js';
import { Gpt2Error } from '../errors.js';
import type { WeightType } from '../gguf/tensor-types.js';
import type { LocalModel } from '../local-model.js';
import { chooseFiles, type FileChoice, hasAllWeights } from './file-choice.js';
import { isNamedFor } from './gguf-choice.js';
import { CachedRepository } from './hub-cache.js';
import { type DownloadOptions, fetchModel } from './hub-download.js';
import { hubCacheFolder, isOfflineByDefault } from './hub-settings.js';
import { type ModelName, showModelName } from './model-name.js';

export interface HubModelOptions extends DownloadOptions {
  /** Leaves the network alone. Default: what HF_HUB_OFFLINE says. */
  offline?: boolean | undefined;
}

/**
 * A model of the hub, in the cache: as it lies there, however old, and fetched if it is not there.
 *
 * @throws MODEL_NOT_FOUND, ACCESS_DENIED, HUB_UNAVAILABLE, CHECKSUM_MISMATCH, FILE_UNWRITABLE, INVALID_ARGUMENT,
 *   UNSUPPORTED_MODEL, INVALID_FILE
 */
export async function findHubModel(name: ModelName, options: HubModelOptions): Promise<LocalModel> {
  const { offline = isOfflineByDefault(), type, signal } = options;
  const cached = await findCached(name, type, offline);
  signal?.throwIfAborted();
  if (cached && (offline || cached.isWhole)) return cached.model;
  if (cached) return await complete(name, cached, options);
  if (!offline) return await downloadModel(name, options);
  throw new Gpt2Error(
    'MODEL_NOT_FOUND',
    `${showModelName(name)}: expected it in the cache at ${hubCacheFolder()}, since the network is not to be used (offline), but it is not there`,
  );
}

/** Fetches what the cache does not hold of a model's newest version. */
export async function downloadModel(
  name: ModelName,
  options: DownloadOptions,
): Promise<LocalModel> {
  const { commit, choice } = await fetchModel(name, options);
  return localModel(name.repository, commit, choice);
}

const reasonsToMakeDo = ['HUB_UNAVAILABLE', 'MODEL_NOT_FOUND', 'ACCESS_DENIED', 'FILE_UNWRITABLE'];

/** What another program fetched, with what that left out, if it is to be had. */
async function complete(
  { repository }: ModelName,
  { model, commit }: CachedModel,
  options: HubModelOptions,
): Promise<LocalModel> {
  try {
    return await downloadModel({ repository, revision: commit }, options);
  } catch (error) {
    if (error instanceof Gpt2Error && reasonsToMakeDo.includes(error.code)) return model;
    throw error;
  }
}

function localModel(repository: string, commit: string, choice: FileChoice): LocalModel {
  const folder = new CachedRepository(repository).snapshot(commit);
  return {
    path: choice.form === 'gguf' ? join(folder, choice.weights[0] as string) : folder,
    name: conversionName(repository, commit),
  };
}

/** What conversions of a repository's models are called. */
export function conversionName(repository: string, commit: string): string {
  return `${repository.replace('/', '--')}@${commit.slice(0, 12)}`;
}

interface CachedModel {
  model: LocalModel;
  commit: string;
  /** whether the hub can have nothing to add */
  isWhole: boolean;
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
      choice = chooseFiles(showModelName(name), names, type);
    } catch (error) {
      if (offline) throw error;
      continue; // the hub may have what is asked for
    }
    if (!choice || !(await hasAllWeights(cached.snapshot(commit), names, choice))) continue;
    const known = new Set([...names, ...(await cached.absencesOf(commit))]);
    return {
      model: localModel(repository, commit, choice),
      commit,
      // What lies under another name cannot be added to.
      isWhole: repository !== name.repository || hasNothingToCome(choice, known, type),
    };
  }
  return undefined;
}

function hasNothingToCome(
  { form, weights }: FileChoice,
  known: ReadonlySet<string>,
  type: WeightType | undefined,
): boolean {
  if (form === 'gguf') {
    return type === undefined || weights.every((file) => isNamedFor(file, type));
  }
  const companions = form === 'tensorflow' ? companionFiles : usualCompanions;
  return companions.every((file) => known.has(file));
}

/** Other programs call it what their user called it. */
export function namesInCache({ repository, shortName }: ModelName): string[] {
  return shortName === undefined ? [repository] : [repository, shortName];
}
