// Finds and removes the files that a process leaves behind when it is killed in the middle of its work.
//
// A lock of the operating system, which ends with its process, marks the files that a living process uses:
// - NAME.gguf.PID.NUMBER.tmp, a GGUF file being written, is locked itself (native/io/output_file.cc).
// - created-RANDOM, a folder of createModel, is in use while the empty file created-RANDOM.lock beside it is locked. The
//   lock file is created before the folder and removed after it: a folder without one belongs to somebody else.
// On a file system without locks, no file counts as a leftover.
//
// The small temporary files of the hub's cache (`temporaryName`) exist for milliseconds and have no lock. They count as
// leftovers when they are a day old and no process on this machine has the id in their name.

import type { Stats } from 'node:fs';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryNamePattern, tryLock, writing } from './files.js';

/** A file, or a folder with all its files, that no living process needs. */
export interface Leftover {
  path: string;
  /** in bytes; for a folder, the total of its files */
  byteSize: number;
}

/** A folder that is locked, so that no other process removes it as a leftover. */
export interface TemporaryFolder {
  path: string;
  remove(): Promise<void>;
}

/**
 * Creates a locked folder in `parent`.
 *
 * @throws FILE_UNWRITABLE
 */
export async function makeTemporaryFolder(parent: string): Promise<TemporaryFolder> {
  await writing(parent, async () => await mkdir(parent, { recursive: true }));
  for (;;) {
    const path = join(parent, `created-${Math.random().toString(36).slice(2)}`);
    const lock = lockOf(path);
    const release = await tryLock(lock);
    if (!release) continue; // locked by a process that looks for leftovers
    const remove = async () => {
      await rm(path, { recursive: true, force: true }).catch(() => {});
      await removeLock(lock, release);
    };
    try {
      await writing(path, async () => await mkdir(path));
    } catch (error) {
      await remove();
      throw error;
    }
    return { path, remove };
  }
}

/**
 * The leftovers of conversions and of createModel in a folder.
 *
 * @param target restricts the search to unfinished conversions to the file with this name
 */
export async function findLeftovers(folder: string, target?: string): Promise<Leftover[]> {
  return await forEachLeftover(folder, target, async () => {});
}

/** Removes the leftovers that `findLeftovers` returns, with the same arguments. Returns the removed ones. */
export async function removeLeftovers(folder: string, target?: string): Promise<Leftover[]> {
  return await forEachLeftover(
    folder,
    target,
    async (path) => await rm(path, { recursive: true, force: true }),
  );
}

async function forEachLeftover(
  folder: string,
  target: string | undefined,
  work: (path: string) => Promise<void>,
): Promise<Leftover[]> {
  const leftovers: Leftover[] = [];
  for (const path of await candidates(folder, target)) {
    try {
      const byteSize = await ifUnused(path, async () => {
        const size = await sizeOf(path);
        await work(path);
        return size;
      });
      if (byteSize !== undefined) leftovers.push({ path, byteSize });
    } catch {
      // It may belong to another user. The caller's own work does not depend on it.
    }
  }
  return leftovers;
}

const createdLockName = /^(created-[A-Za-z0-9]+)\.lock$/;
const unfinishedName = /^(.+)\.\d+\.\d+\.tmp$/s;

/** The paths that may be leftovers, by their names. */
async function candidates(folder: string, target: string | undefined): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(folder).catch(() => [])).sort()) {
    const created = createdLockName.exec(name)?.[1];
    const whole = unfinishedName.exec(name)?.[1];
    if (target === undefined && created !== undefined) found.push(join(folder, created));
    if (target === undefined ? whole?.endsWith('.gguf') : isStartOf(whole, target, name)) {
      found.push(join(folder, name));
    }
  }
  return found;
}

// native/io/output_file.cc shortens the target's name if the temporary name would otherwise exceed 255 bytes. It splits
// no character, and a character has up to four bytes.
function isStartOf(whole: string | undefined, target: string, name: string): boolean {
  if (whole === undefined || whole === target) return whole === target;
  return target.startsWith(whole) && Buffer.byteLength(name) > 255 - 4;
}

/** The file that a living process keeps locked while it needs the path. */
function lockOf(path: string): string {
  return path.endsWith('.tmp') ? path : `${path}.lock`;
}

/**
 * Locks a candidate, if no process uses it, and calls `work`. Returns undefined if the candidate is in use or no longer
 * exists.
 */
async function ifUnused(path: string, work: () => Promise<number>): Promise<number | undefined> {
  const lock = lockOf(path);
  const before = await stateOf(lock);
  if (!before?.isFile() || (lock !== path && before.size > 0)) return undefined;
  const release = await tryLock(lock);
  if (!release) return undefined;
  try {
    // A second lock is granted only where locks have no effect.
    const second = await tryLock(lock);
    second?.();
    const isSame = lock !== path || (await stateOf(lock))?.ino === before.ino;
    return !second && isSame && (await stateOf(path)) ? await work() : undefined;
  } finally {
    // Locking created the file if another process removed it in the meantime.
    const isOwn = (await stateOf(lock))?.ino !== before.ino;
    if (isOwn || !(await stateOf(path))) await removeLock(lock, release);
    else release();
  }
}

export async function removeLock(path: string, release: () => void): Promise<void> {
  const remove = async () => await rm(path, { force: true }).catch(() => {});
  await remove(); // before the release, so that no other process locks a file that is about to be removed
  release();
  if (process.platform === 'win32') await remove(); // Windows does not remove a file that is open
}

async function stateOf(path: string): Promise<Stats | undefined> {
  return await lstat(path).catch(() => undefined);
}

async function sizeOf(path: string): Promise<number> {
  const state = await lstat(path);
  if (!state.isDirectory()) return state.size;
  let bytes = 0;
  for (const name of await readdir(path)) bytes += await sizeOf(join(path, name));
  return bytes;
}

const day = 86_400_000; // milliseconds

/** The leftovers among the temporary files in a folder of the hub's cache and in the folders inside it. */
export async function findOldTemporaries(folder: string): Promise<Leftover[]> {
  const leftovers: Leftover[] = [];
  for (const name of await readdir(folder, { recursive: true }).catch(() => [])) {
    const id = temporaryNamePattern.exec(name)?.[1];
    if (id === undefined || isRunning(Number(id))) continue;
    const path = join(folder, name);
    const state = await stateOf(path); // of a symbolic link itself, not of its target
    if (!state || state.isDirectory() || Date.now() - state.mtimeMs < day) continue;
    leftovers.push({ path, byteSize: state.size });
  }
  return leftovers;
}

function isRunning(processId: number): boolean {
  try {
    return process.kill(processId, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
