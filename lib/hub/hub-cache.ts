// The cache that programs of all languages share: https://huggingface.co/docs/hub/local-cache

import type { Stats } from 'node:fs';
import { link, mkdir, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { temporaryName, writeError, writeWhole } from '../conversion/files.js';
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
    if (!commitPattern.test(revision)) await writeWhole(this.#reference(revision), commit);
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
      // Windows lets only some people make symbolic links.
      await symlink(join('..', '..', 'blobs', hash), temporary).catch(
        async () => await link(this.blob(hash), temporary),
      );
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw writeError(path, error);
    }
  }

  async exists(): Promise<boolean> {
    return (await stat(this.#folder).catch(() => undefined)) !== undefined;
  }

  /** Bytes of all its versions. */
  async byteSize(): Promise<number> {
    const blobs = await this.#blobs();
    return [...blobs.values()].reduce((sum, { size }) => sum + size, 0);
  }

  async #blobs(): Promise<Map<string, Stats>> {
    return await statAll(join(this.#folder, 'blobs'));
  }

  /** Removes all versions. */
  async remove(): Promise<void> {
    await this.#remove(this.#folder);
    await this.#remove(this.#locks);
  }

  /** Removes one version, and the bytes that no other version has. */
  async removeCommit(commit: string): Promise<void> {
    for (const revision of await this.revisionsOf(commit)) {
      await this.#remove(this.#reference(revision));
    }
    await this.#remove(this.snapshot(commit));
    await this.#remove(this.#absences(commit));
    // By what the links lead to, symbolic or not.
    const inUse = new Set<number>();
    for (const other of await this.commits()) {
      for (const { ino } of (await statAll(this.snapshot(other))).values()) inUse.add(ino);
    }
    for (const [path, { ino }] of await this.#blobs()) {
      if (!inUse.has(ino) && !path.endsWith('.incomplete')) await this.#remove(path);
    }
  }

  async #remove(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true }).catch((error) => {
      throw writeError(path, error);
    });
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
