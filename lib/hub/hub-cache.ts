// The cache that programs of all languages share: https://huggingface.co/docs/hub/local-cache

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

  /** The commit of a branch or tag when it was last asked for; a commit is its own. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (commitPattern.test(revision)) return revision;
    const text = await readFile(this.#reference(revision), 'utf8').catch(() => '');
    return commitPattern.test(text.trim()) ? text.trim() : undefined;
  }

  async setCommit(revision: string, commit: string): Promise<void> {
    if (commitPattern.test(revision)) return;
    // A model that is there is of use without it too: a branch "a/b" finds a file of an old branch "a" in its way.
    await writeWhole(this.#reference(revision), commit).catch(() => {});
  }

  /** The branches and tags that lead to a commit. */
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

  /** The commits of which there is something. */
  async commits(): Promise<string[]> {
    const names = await readdir(join(this.#folder, 'snapshots')).catch(() => []);
    return names.filter((name) => commitPattern.test(name)).sort();
  }

  /** The folder with a commit's files. */
  snapshot(commit: string): string {
    return join(this.#folder, 'snapshots', commit);
  }

  /** The files of a commit that are there, by name. */
  async filesOf(commit: string): Promise<string[]> {
    const names = await readdir(this.snapshot(commit)).catch(() => []);
    const present: string[] = [];
    for (const name of names) {
      // A link may lead to what somebody has removed.
      const found = await stat(join(this.snapshot(commit), name)).catch(() => undefined);
      if (found?.isFile()) present.push(name);
    }
    return present;
  }

  /** The files of which is known that the commit does not have them. */
  async absencesOf(commit: string): Promise<string[]> {
    return await readdir(this.#absences(commit)).catch(() => []);
  }

  async setAbsent(commit: string, file: string): Promise<void> {
    await writeWhole(join(this.#absences(commit), file), '');
  }

  #absences(commit: string): string {
    return join(this.#folder, '.no_exist', commit);
  }

  /** Where the bytes with a hash lie. */
  blob(hash: string): string {
    return join(this.#folder, 'blobs', hash);
  }

  /** What whoever fetches the bytes with a hash locks. */
  lock(hash: string): string {
    return join(this.#locks, `${hash}.lock`);
  }

  /** Makes the bytes with a hash a commit's file. */
  async addFile(commit: string, file: string, hash: string): Promise<void> {
    const path = join(this.snapshot(commit), file);
    const temporary = temporaryName(path);
    try {
      await mkdir(dirname(path), { recursive: true });
      // Windows lets only some people make symbolic links, and some file systems know none at all.
      await symlink(join('..', '..', 'blobs', hash), temporary)
        .catch(async () => await link(this.blob(hash), temporary))
        .catch(async () => await copyFile(this.blob(hash), temporary));
      await rename(temporary, path);
    } catch (error) {
      throw writeError(path, error);
    } finally {
      // It is still there after a failure, and after renaming a hard link to what it is a link to.
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  async exists(): Promise<boolean> {
    return (await stat(this.#folder).catch(() => undefined)) !== undefined;
  }

  /** Bytes of all its versions. */
  async byteSize(): Promise<number> {
    const all = await statAll(this.#folder);
    const sizes = new Map([...all.values()].map(({ ino, size }) => [ino, size]));
    return [...sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  /** Removes all versions. */
  async remove(): Promise<void> {
    for (const path of (await statAll(join(this.#folder, 'blobs'))).keys()) {
      if (path.endsWith('.incomplete')) await this.#expectNobodyAt(basename(path, '.incomplete'));
    }
    await this.#remove(this.#folder);
  }

  /** Refuses while somebody fetches the bytes with a hash. */
  async #expectNobodyAt(hash: string): Promise<void> {
    const path = this.lock(hash);
    await writing(path, async () => await mkdir(dirname(path), { recursive: true }));
    const release = await tryLock(path);
    if (!release) {
      throw new Gpt2Error('FILE_UNWRITABLE', `${this.blob(hash)}: somebody is fetching it`);
    }
    release();
  }

  /** The temporary files that processes left in it when they were killed. */
  async leftovers(): Promise<Leftover[]> {
    const all: Leftover[] = [];
    for (const part of ['refs', 'snapshots', '.no_exist']) {
      all.push(...(await findOldTemporaries(join(this.#folder, part))));
    }
    return all;
  }

  /** Removes the leftovers, but for those that the system does not let go, and returns them. */
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

  /** Removes one version, and those of its bytes that no other version has. */
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

  /** What a version's links lead to, symbolic or not. */
  async #inodesOf(commit: string): Promise<Set<number>> {
    const files = await statAll(this.snapshot(commit));
    return new Set([...files.values()].map(({ ino }) => ino));
  }

  async #remove(path: string): Promise<void> {
    await writing(path, async () => await rm(path, { recursive: true, force: true }));
  }
}

/** What is known of the files in a folder and the folders in it, by path; of a link, of what it leads to. */
async function statAll(folder: string): Promise<Map<string, Stats>> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const all = new Map<string, Stats>();
  for (const name of names) {
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (found?.isFile()) all.set(join(folder, name), found);
  }
  return all;
}
