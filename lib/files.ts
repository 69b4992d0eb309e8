import { mkdir, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Gpt2Error } from './errors.js';
import { eventLoopTurn } from './event-loop.js';
import { addon } from './native/addon.js';
import { callNative } from './native/native-call.js';
import type { NativeFile } from './native/types.js';

/** An error of the file system on reading, as ours. */
export function fileError(path: string, error: NodeJS.ErrnoException): Gpt2Error {
  // The last is a path with a zero byte, which no file can have.
  const missing = ['ENOENT', 'ENOTDIR', 'ERR_INVALID_ARG_VALUE'].includes(error.code ?? '');
  return new Gpt2Error(
    missing ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE',
    missing ? `${path}: there is no such file` : `${path}: cannot be read (${error.message})`,
    { cause: error },
  );
}

/** An error of the file system on writing, as ours. */
export function writeError(path: string, error: unknown): Gpt2Error {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = code === 'ENOSPC' ? 'the disk is full' : message;
  return new Gpt2Error('FILE_UNWRITABLE', `${path}: cannot be written (${reason})`, {
    cause: error,
  });
}

/** What a step that writes gives; what the file system refuses is an error of ours. */
export async function writing<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw writeError(path, error);
  }
}

/** A name for a file until it is complete, with this process's id in it. Every call returns another name. */
export function temporaryName(path: string): string {
  const random = Math.random().toString(36).slice(2);
  return `${path}.${process.pid}.${random}.tmp`;
}

/** Matches the names that `temporaryName` returns. Its group is the process's id. */
export const temporaryNamePattern = /\.(\d+)\.[0-9a-z]+\.tmp$/;

/**
 * Locks a file, which is created if it does not exist. Resolves to the function that releases the lock, or to
 * undefined while another holder has it. The system releases it when the process ends.
 *
 * @throws FILE_UNWRITABLE
 */
export async function tryLock(path: string): Promise<(() => void) | undefined> {
  return await callNative(undefined, () => addon().lockFile(path));
}

/** Writes a small file as a whole or not at all, and the folders that lead to it. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw writeError(path, error);
  }
}

/** Refuses what would fill the disk before it is begun. */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bytes <= bavail * bsize) return;
  throw new Gpt2Error(
    'FILE_UNWRITABLE',
    `${folder}: ${bytes} bytes are needed, but only ${bavail * bsize} are free`,
  );
}

/** Reads a small JSON file that must hold an object; undefined if there is no such file. */
export async function readJsonObject(path: string): Promise<Record<string, unknown> | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  await eventLoopTurn(); // a tokenizer.json takes 50 ms to parse
  return parseJsonObject(path, text);
}

/** The object in the text of a file. */
export function parseJsonObject(path: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Gpt2Error('INVALID_FILE', `${path}: it is not JSON`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Gpt2Error('INVALID_FILE', `${path}: it is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

// What a JavaScript string can hold.
const longestText = 2 ** 29 - 24;

/** Reads a text file in UTF-8; undefined if there is no such file. */
export async function readText(path: string): Promise<string | undefined> {
  let file: NativeFile;
  try {
    file = await callNative(undefined, () => addon().openFile(path));
  } catch (error) {
    if (error instanceof Gpt2Error && error.code === 'FILE_NOT_FOUND') return undefined;
    throw error;
  }
  try {
    if (file.size > longestText) {
      throw new Gpt2Error(
        'INVALID_FILE',
        `${path}: expected at most ${longestText} bytes of text but found ${file.size}`,
      );
    }
    const bytes = new Uint8Array(file.size);
    await callNative(undefined, () => file.read(0, bytes));
    return new TextDecoder().decode(bytes);
  } finally {
    file.close();
  }
}
