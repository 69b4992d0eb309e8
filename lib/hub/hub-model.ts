import { join } from 'node:path';
import { readConfigFile } from '../conversion/checkpoint-config.js';
import {
  chooseWeights,
  companionFiles,
  knownForms,
  readShardIndex,
  tensorflowData,
  type WeightChoice,
} from '../conversion/checkpoint-files.js';
import { Gpt2Error } from '../errors.js';
import type { LoadProgress } from '../load-model.js';
import type { LocalModel } from '../model-source.js';
import type { WeightType } from '../tensor-types.js';
import { downloadBlob } from './download-blob.js';
import { chooseGguf, isNamedFor } from './gguf-choice.js';
import { CachedRepository } from './hub-cache.js';
import { fileUrl, type HubFile, type HubRepository, readHubRepository } from './hub-repository.js';
import { hubCacheFolder, isOfflineByDefault } from './hub-settings.js';
import { type ModelName, showModelName } from './model-name.js';

export interface HubModelOptions {
  /** chooses among the GGUF files of a repository that has nothing else */
  type?: WeightType | undefined;
  /** the network is not touched */
  offline?: boolean | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/**
 * A model of the hub, in the cache: as it lies there, however old, if it is whole, and fetched otherwise.
 *
 * @throws MODEL_NOT_FOUND, ACCESS_DENIED, HUB_UNAVAILABLE, CHECKSUM_MISMATCH, FILE_UNWRITABLE, INVALID_ARGUMENT,
 *   UNSUPPORTED_MODEL, INVALID_FILE
 */
export async function findHubModel(name: ModelName, options: HubModelOptions): Promise<LocalModel> {
  const { offline = isOfflineByDefault(), type, signal } = options;
  const cached = await findCached(name, type);
  signal?.throwIfAborted();
  if (cached?.isWhole || (cached && offline)) return cached.model;
  if (!offline) return await downloadModel(name, options);
  throw new Gpt2Error(
    'MODEL_NOT_FOUND',
    `${showModelName(name)}: expected it in the cache at ${hubCacheFolder()}, since the network is not to be used (offline), but it is not there`,
  );
}

/** Fetches what the cache does not hold of a model's newest version. */
export async function downloadModel(
  name: ModelName,
  { type, signal, onProgress }: HubModelOptions,
): Promise<LocalModel> {
  const listed = await readHubRepository(name, signal);
  const choice = chooseFiles(
    showModelName(name),
    listed.files.map((file) => file.name),
    type,
  );
  if (!choice) {
    throw new Gpt2Error(
      'MODEL_NOT_FOUND',
      `${showModelName(name)}: expected weights in this repository (${knownForms}, or .gguf) but found ${listed.files.length} other files`,
    );
  }
  const download = new Download(name, listed, signal, onProgress);
  await download.fetchAll(choice);
  return localModel(name, listed.commit, choice);
}

/** What a repository holds of a model. */
interface FileChoice {
  weights: readonly string[];
  shardIndex?: string;
  /** a checkpoint's, or undefined for GGUF files */
  checkpoint?: WeightChoice;
}

function chooseFiles(
  place: string,
  names: readonly string[],
  type: WeightType | undefined,
): FileChoice | undefined {
  const checkpoint = chooseWeights(place, names);
  if (!checkpoint) {
    const weights = chooseGguf(place, names, type);
    return weights && { weights };
  }
  const { weights, shardIndex, isTensorflow } = checkpoint;
  const data = isTensorflow ? tensorflowData(names, weights[0] as string) : [];
  return { weights: [...weights, ...data], shardIndex, checkpoint };
}

function localModel(
  { repository }: ModelName,
  commit: string,
  { checkpoint, weights }: FileChoice,
): LocalModel {
  const folder = new CachedRepository(repository).snapshot(commit);
  return {
    path: checkpoint ? folder : join(folder, weights[0] as string),
    name: conversionName(repository, commit),
  };
}

/** What conversions of a repository's models are called. */
export function conversionName(repository: string, commit: string): string {
  return `${repository.replace('/', '--')}@${commit.slice(0, 12)}`;
}

async function findCached(
  name: ModelName,
  type: WeightType | undefined,
): Promise<{ model: LocalModel; isWhole: boolean } | undefined> {
  const repository = new CachedRepository(name.repository);
  const commit = await repository.commitOf(name.revision);
  if (commit === undefined) return undefined;
  const names = await repository.filesOf(commit);
  const choice = chooseFiles(showModelName(name), names, type);
  if (!choice || !(await hasAllWeights(repository.snapshot(commit), names, choice))) {
    return undefined;
  }
  const known = new Set([...names, ...(await repository.absencesOf(commit))]);
  const isWhole = choice.checkpoint
    ? // Another program may have fetched the weights and nothing else.
      companionFiles.every((file) => known.has(file))
    : // The hub may have another file for this type.
      type === undefined || choice.weights.every((file) => isNamedFor(file, type));
  return { model: localModel(name, commit, choice), isWhole };
}

/** Whether a folder has the weights of a checkpoint, or GGUF files. */
export async function hasWeights(folder: string, names: readonly string[]): Promise<boolean> {
  if (names.some((name) => name.endsWith('.gguf'))) return true;
  const choice = chooseFiles(folder, names, undefined);
  return choice !== undefined && (await hasAllWeights(folder, names, choice));
}

async function hasAllWeights(
  folder: string,
  names: readonly string[],
  { shardIndex, weights }: FileChoice,
): Promise<boolean> {
  const all = shardIndex ? await readShardIndex(folder, shardIndex) : weights;
  return all.every((file) => names.includes(file));
}

/** One commit on its way into the cache. */
class Download {
  readonly #name: ModelName;
  readonly #commit: string;
  readonly #files: ReadonlyMap<string, HubFile>;
  readonly #repository: CachedRepository;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: HubModelOptions['onProgress'];
  /** bytes of each file that is wanted */
  readonly #done = new Map<string, number>();

  constructor(
    name: ModelName,
    { commit, files }: HubRepository,
    signal: AbortSignal | undefined,
    onProgress: HubModelOptions['onProgress'],
  ) {
    this.#name = name;
    this.#commit = commit;
    this.#files = new Map(files.map((file) => [file.name, file]));
    this.#repository = new CachedRepository(name.repository);
    this.#signal = signal;
    this.#onProgress = onProgress;
  }

  /** The weights last, and the revision's commit after them: whoever finds that finds a whole model. */
  async fetchAll({ checkpoint, shardIndex, weights }: FileChoice): Promise<void> {
    if (!checkpoint) {
      await this.#fetch(weights);
    } else {
      const companions = companionFiles.filter((file) => this.#files.has(file));
      const index = shardIndex ? [shardIndex] : [];
      this.#want([...companions, ...index, ...weights]);
      await this.#fetch([...companions, ...index]);
      for (const file of companionFiles) {
        if (!this.#files.has(file)) await this.#repository.setAbsent(this.#commit, file);
      }
      const folder = this.#repository.snapshot(this.#commit);
      // Not to find out after gigabytes that it is another architecture.
      await readConfigFile(folder, checkpoint.isTensorflow);
      await this.#fetch(shardIndex ? await readShardIndex(folder, shardIndex) : weights);
    }
    await this.#repository.setCommit(this.#name.revision, this.#commit);
  }

  #want(files: readonly string[]): void {
    for (const file of files) {
      if (!this.#done.has(file)) this.#done.set(file, 0);
    }
  }

  async #fetch(files: readonly string[]): Promise<void> {
    this.#want(files);
    for (const name of files) {
      const file = this.#files.get(name);
      if (!file) {
        throw new Gpt2Error(
          'MODEL_NOT_FOUND',
          `${showModelName(this.#name)}: the file ${name}, which belongs to the model, is not there`,
        );
      }
      await downloadBlob({
        url: fileUrl(this.#name, this.#commit, name),
        file,
        repository: this.#repository,
        signal: this.#signal,
        onBytes: (count) => this.#report(name, count),
      });
      await this.#repository.addFile(this.#commit, name, file.hash.hex);
    }
  }

  #report(name: string, count: number): void {
    this.#done.set(name, count);
    let [done, total] = [0, 0];
    for (const [file, bytes] of this.#done) {
      done += bytes;
      total += this.#files.get(file)?.size ?? 0;
    }
    this.#onProgress?.({ stage: 'download', done, total });
  }
}
