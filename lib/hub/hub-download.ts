import { readConfigFile } from '../checkpoint/checkpoint-config.js';
import { companionFiles, knownForms, readShardIndex } from '../checkpoint/checkpoint-files.js';
import { Gpt2Error } from '../errors.js';
import type { WeightType } from '../gguf/tensor-types.js';
import type { LoadProgress } from '../progress.js';
import { downloadBlob } from './download-blob.js';
import { chooseFiles, type FileChoice } from './file-choice.js';
import { CachedRepository } from './hub-cache.js';
import { fileUrl, type HubFile, type HubRepository, readHubRepository } from './hub-repository.js';
import { type ModelName, showModelName } from './model-name.js';

export interface DownloadOptions {
  /** Chooses among the GGUF files of a repository that holds no checkpoint. */
  type?: WeightType | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** Downloads the files of a model's newest version that are not in the cache. */
export async function fetchModel(
  name: ModelName,
  { type, signal, onProgress }: DownloadOptions,
): Promise<{ commit: string; choice: FileChoice }> {
  const listed = await readHubRepository(name, signal);
  const names = listed.files.map((file) => file.name);
  const choice = chooseFiles(showModelName(name), names, type, name.file);
  if (!choice) {
    throw new Gpt2Error(
      'MODEL_NOT_FOUND',
      `${showModelName(name)}: expected weights in this repository (${knownForms}, or .gguf) but found ${names.length} other files`,
    );
  }
  await new Download(name, listed, signal, onProgress).fetchAll(choice);
  return { commit: listed.commit, choice };
}

/** The download of one commit into the cache. */
class Download {
  readonly #name: ModelName;
  readonly #commit: string;
  readonly #files: ReadonlyMap<string, HubFile>;
  readonly #repository: CachedRepository;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: DownloadOptions['onProgress'];
  /** The number of bytes present of each file to be downloaded. */
  readonly #done = new Map<string, number>();

  constructor(
    name: ModelName,
    { commit, files }: HubRepository,
    signal: AbortSignal | undefined,
    onProgress: DownloadOptions['onProgress'],
  ) {
    this.#name = name;
    this.#commit = commit;
    this.#files = new Map(files.map((file) => [file.name, file]));
    this.#repository = new CachedRepository(name.repository);
    this.#signal = signal;
    this.#onProgress = onProgress;
  }

  /** Fetches the weights last and then writes the reference, so that a model with a reference is complete. */
  async fetchAll({ form, shardIndex, weights }: FileChoice): Promise<void> {
    await this.#repository.removeLeftovers();
    const folder = this.#repository.snapshot(this.#commit);
    let all = weights;
    if (shardIndex) {
      await this.#fetch(shardIndex); // before any progress is reported, since the total depends on it
      all = await readShardIndex(folder, shardIndex);
    }
    const companions =
      form === 'gguf' ? [] : companionFiles.filter((file) => this.#files.has(file));
    for (const file of [...companions, ...all]) this.#done.set(file, 0);
    for (const file of companions) await this.#fetch(file);
    if (form !== 'gguf') {
      for (const file of companionFiles) {
        if (!this.#files.has(file)) await this.#repository.setAbsent(this.#commit, file);
      }
      // Refuses another architecture before gigabytes are downloaded.
      await readConfigFile(folder, form === 'tensorflow');
    }
    for (const file of all) await this.#fetch(file);
    await this.#repository.setCommit(this.#name.revision, this.#commit);
  }

  async #fetch(name: string): Promise<void> {
    const file = this.#files.get(name);
    if (!file) {
      throw new Gpt2Error(
        'MODEL_NOT_FOUND',
        `${showModelName(this.#name)}: expected the file ${name}, which belongs to the model, but it does not exist`,
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

  #report(name: string, count: number): void {
    if (!this.#done.has(name)) return;
    this.#done.set(name, count);
    let [done, total] = [0, 0];
    for (const [file, bytes] of this.#done) {
      done += bytes;
      total += this.#files.get(file)?.size ?? 0;
    }
    this.#onProgress?.({ stage: 'download', done, total });
  }
}
