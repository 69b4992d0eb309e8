// The Hugging Face cache, which is shared by programs in all languages: https://huggingface.co/docs/hub/local-cache

import type { Stats } from 'node:fs';
import {
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { temporaryName, tryLock, writeError, writeWhole, writing } from '../files.js';
import { findOldTemporaries, type Leftover } from '../leftovers.js';
import { hubCacheFolder } from './hub-settings.js';

const commitPattern = /^[0-9a-f]{40}$/;

/** A repository's part of the cache. */
export class CachedRepository {
  readonly #folder: string;
  readonly #locks: string;

  /** @param repository owner/name */
  constructor(repository: string) {
    const name = `models--${repository.replace('/', '--')}`;
    this.#folder = join(hubCacheFolder(), name);
    this.#locks = join(hubCacheFolder(), '.locks', name);
  }

  /** The commit to which a branch or tag pointed when it was last resolved. A commit resolves to itself. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (commitPattern.test(revision)) return revision;
    const text = await readFile(this.#reference(revision), 'utf8').catch(() => '');
    return commitPattern.test(text.trim()) ? text.trim() : undefined;
  }

  async setCommit(revision: string, commit: string): Promise<void> {
    if (commitPattern.test(revision)) return;
    // The cached model is usable without the reference. Writing it fails for a branch "a/b" after a branch "a".
    await writeWhole(this.#reference(revision), commit).catch(() => {});
  }

  /** The branches and tags that point to a commit. */
  async revisionsOf(commit: string): Promise<string[]> {
    const folder = join(this.#folder, 'refs');
    const entries = await readdir(folder, { recursive: true }).catch(() => []);
    const revisions = entries.map((entry) => entry.replaceAll('\\', '/'));
    const commits = await Promise.all(revisions.map((revision) => this.commitOf(revision)));
    return revisions.filter((_, index) => commits[index] === commit).sort();
  }

  #reference(revision: string): string {
    return join(this.#folder, 'refs', ...revision.split('/'));
  }

  /** The commits with at least one cached file. */
  async commits(): Promise<string[]> {
    const names = await readdir(join(this.#folder, 'snapshots')).catch(() => []);
    return names.filter((name) => commitPattern.test(name)).sort();
  }

  /** The folder of a commit's files. */
  snapshot(commit: string): string {
    return join(this.#folder, 'snapshots', commit);
  }

  /** The names of a commit's cached files. */
  async filesOf(commit: string): Promise<string[]> {
    const names = await readdir(this.snapshot(commit)).catch(() => []);
    const present: string[] = [];
    for (const name of names) {
      // A link may be dangling if its blob was removed.
      const found = await stat(join(this.snapshot(commit), name)).catch(() => undefined);
      if (found?.isFile()) present.push(name);
    }
    return present;
  }

  /** Files known not to exist in this commit. */
  async absencesOf(commit: string): Promise<string[]> {
    return await readdir(this.#absences(commit)).catch(() => []);
  }

  async setAbsent(commit: string, file: string): Promise<void> {
    await writeWhole(join(this.#absences(commit), file), '');
  }

  #absences(commit: string): string {
    return join(this.#folder, '.no_exist', commit);
  }

  /** The path of the blob with a hash. */
  blob(hash: string): string {
    return join(this.#folder, 'blobs', hash);
  }

  /** The lock file held while the blob with a hash is downloaded. */
  lock(hash: string): string {
    return join(this.#locks, `${hash}.lock`);
  }

  /** Adds the blob with a hash to a commit under a file name. */
  async addFile(commit: string, file: string, hash: string): Promise<void> {
    const path = join(this.snapshot(commit), file);
    const temporary = temporaryName(path);
    try {
      await mkdir(dirname(path), { recursive: true });
      // Windows restricts symbolic links to some users, and some file systems have none.
      await symlink(join('..', '..', 'blobs', hash), temporary)
        .catch(async () => await link(this.blob(hash), temporary))
        .catch(async () => await copyFile(this.blob(hash), temporary));
      await rename(temporary, path);
    } catch (error) {
      throw writeError(path, error);
    } finally {
      // It remains after a failure, and after renaming a hard link onto another link to the same file.
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  async exists(): Promise<boolean> {
    return (await stat(this.#folder).catch(() => undefined)) !== undefined;
  }

  /** Total size of all versions. */
  async byteSize(): Promise<number> {
    const all = await statAll(this.#folder);
    const sizes = new Map([...all.values()].map(({ ino, size }) => [ino, size]));
    return [...sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  /** Removes all versions. */
  async remove(): Promise<void> {
    for (const path of (await statAll(join(this.#folder, 'blobs'))).keys()) {
      if (path.endsWith('.incomplete'))
        await this.#requireNoDownload(basename(path, '.incomplete'));
    }
    await this.#remove(this.#folder);
  }

  /**
   * Checks that no process is downloading the blob with a hash.
   *
   * @throws FILE_UNWRITABLE
   */
  async #requireNoDownload(hash: string): Promise<void> {
    const path = this.lock(hash);
    await writing(path, async () => await mkdir(dirname(path), { recursive: true }));
    const release = await tryLock(path);
    if (!release) {
      throw new Gpt2Error(
        'FILE_UNWRITABLE',
        `${this.blob(hash)}: another process is downloading it`,
      );
    }
    release();
  }

  /** Lists the temporary files that killed processes left behind. */
  async leftovers(): Promise<Leftover[]> {
    const all: Leftover[] = [];
    for (const part of ['refs', 'snapshots', '.no_exist']) {
      all.push(...(await findOldTemporaries(join(this.#folder, part))));
    }
    return all;
  }

  /** Removes these files and returns them. Files that cannot be removed stay. */
  async removeLeftovers(): Promise<Leftover[]> {
    const removed: Leftover[] = [];
    for (const leftover of await this.leftovers()) {
      await rm(leftover.path, { force: true }).then(
        () => removed.push(leftover),
        () => {},
      );
    }
    return removed;
  }

  /** Removes one version and the blobs that no other version uses. */
  async removeCommit(commit: string): Promise<void> {
    const own = await this.#inodesOf(commit);
    for (const revision of await this.revisionsOf(commit)) {
      await this.#remove(this.#reference(revision));
    }
    await this.#remove(this.snapshot(commit));
    await this.#remove(this.#absences(commit));
    for (const other of await this.commits()) {
      for (const inode of await this.#inodesOf(other)) own.delete(inode);
    }
    for (const [path, { ino }] of await statAll(join(this.#folder, 'blobs'))) {
      if (own.has(ino)) await this.#remove(path);
    }
  }

  /** The inodes of a version's files, whether they are symbolic links, hard links or copies. */
  async #inodesOf(commit: string): Promise<Set<number>> {
    const files = await statAll(this.snapshot(commit));
    return new Set([...files.values()].map(({ ino }) => ino));
  }

  async #remove(path: string): Promise<void> {
    await writing(path, async () => await rm(path, { recursive: true, force: true }));
  }
}

/** The stats of all files below a folder, by path. Links are followed. */
async function statAll(folder: string): Promise<Map<string, Stats>> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const all = new Map<string, Stats>();
  for (const name of names) {
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (found?.isFile()) all.set(join(folder, name), found);
  }
  return all;
}
