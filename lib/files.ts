import {
  access,
  constants,
  mkdir,
  realpath,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { TextDecoder } from 'node:util';
import { allocate } from './allocation.js';
import { Gpt2Error } from './errors.js';
import { eventLoopTurn } from './event-loop.js';
import { addon } from './native/addon.js';
import { callNative } from './native/native-call.js';
import type { NativeFile } from './native/types.js';

/** The error for a file that cannot be read: FILE_NOT_FOUND or FILE_UNREADABLE. */
export function fileError(path: string, error: NodeJS.ErrnoException): Gpt2Error {
  // ERR_INVALID_ARG_VALUE: the path contains a zero byte, so no file can have it.
  const missing = ['ENOENT', 'ENOTDIR', 'ERR_INVALID_ARG_VALUE'].includes(error.code ?? '');
  return new Gpt2Error(
    missing ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE',
    missing ? `${path}: there is no such file` : `${path}: cannot be read (${error.message})`,
    { cause: error },
  );
}

/** The error for a file that cannot be written: FILE_UNWRITABLE. */
export function writeError(path: string, error: unknown): Gpt2Error {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = code === 'ENOSPC' ? 'the disk is full' : message;
  return new Gpt2Error('FILE_UNWRITABLE', `${path}: cannot be written (${reason})`, {
    cause: error,
  });
}

/** Runs a step that reads. An error of the file system becomes FILE_NOT_FOUND or FILE_UNREADABLE. */
export async function reading<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw fileError(path, error as NodeJS.ErrnoException);
  }
}

/** Runs a step that writes. An error of the file system becomes FILE_UNWRITABLE. */
export async function writing<T>(path: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw writeError(path, error);
  }
}

/** Runs work that writes to a default folder. If the system refuses that, the error says how to choose another one. */
export async function inDefaultFolder<T>(variable: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Gpt2Error && error.code === 'FILE_UNWRITABLE')) throw error;
    const cause = error.cause as NodeJS.ErrnoException | undefined;
    if (cause && cause.code === undefined) throw error; // not the system: another process is writing there
    throw new Gpt2Error(error.code, `${error.message}; set ${variable} to another folder`, {
      cause,
    });
  }
}

/** Returns a new name for a file that is not complete yet. It contains this process's id. */
export function temporaryName(path: string): string {
  const random = Math.random().toString(36).slice(2);
  return `${path}.${process.pid}.${random}.tmp`;
}

/** Matches the names that `temporaryName` returns. Group 1 is the process's id. */
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

/** Writes a small file atomically, and creates its folders. A link stays one. A device or a pipe is written to. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const temporary = temporaryName(target);
  try {
    const existing = await stat(target).catch(() => undefined);
    if (existing && !existing.isFile()) {
      await writeFile(target, text);
      return;
    }
    await mkdir(dirname(target), { recursive: true });
    await writeFile(temporary, text);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw writeError(path, error);
  }
}

/**
 * Checks that a file can be written, before work whose result it is to have.
 *
 * @throws FILE_UNWRITABLE
 */
export async function checkWritable(path: string): Promise<void> {
  await writing(path, async () => {
    const existing = await stat(path).catch(() => undefined);
    if (existing?.isDirectory()) throw new Error('it is a folder');
    const isSpecial = existing?.isFile() === false;
    await access(isSpecial ? path : `${dirname(path)}/`, constants.W_OK); // with the slash it must be a folder
  });
}

/** Whether two paths name the same file, which may not exist yet. */
export async function isSameFile(a: string, b: string): Promise<boolean> {
  if (resolve(a) === resolve(b)) return true;
  const [first, second] = await Promise.all(
    [a, b].map((path) => stat(path, { bigint: true }).catch(() => undefined)),
  );
  return first !== undefined && first.dev === second?.dev && first.ino === second.ino;
}

/**
 * Checks that the file system of a folder has this many bytes free, so that work that would fill the disk is not begun.
 *
 * @throws FILE_UNWRITABLE
 */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await writing(folder, async () => await statfs(folder));
  if (bytes <= bavail * bsize) return;
  throw new Gpt2Error(
    'FILE_UNWRITABLE',
    `${folder}: ${bytes} bytes are needed, but only ${bavail * bsize} are free`,
  );
}

/** Reads a text file. Resolves to undefined if the file does not exist. */
export type ReadText = (path: string) => Promise<string | undefined>;

/** Reads a small JSON file that must hold an object. Returns undefined if the file does not exist. */
export async function readJsonObject(
  path: string,
  read: ReadText = readText,
): Promise<Record<string, unknown> | undefined> {
  const text = await read(path);
  if (text === undefined) return undefined;
  await eventLoopTurn(); // parsing a tokenizer.json takes 50 ms
  return parseJsonObject(path, text);
}

/** Parses the text of a JSON file that must hold an object. */
export function parseJsonObject(path: string, text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    value = parsePythonJson(text);
    if (value === undefined)
      throw new Gpt2Error('INVALID_FILE', `${path}: it is not JSON`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Gpt2Error('INVALID_FILE', `${path}: it is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** Parses JSON with NaN, Infinity and -Infinity, which Python's json.dump() writes. Returns undefined if it is malformed. */
function parsePythonJson(text: string): unknown {
  // The number of escapes is limited to what the regular expression engine's stack holds.
  const stringOrNumber = /"[^"\\]*(?:\\.[^"\\]*){0,65536}"|(-?)\b(Infinity|NaN)\b(?![ \t\r\n]*:)/g;
  // A text that no string in the file contains.
  let marker = 'NaN';
  while (text.includes(marker)) marker += '\u00a0';
  let isChanged = false;
  const changed = text.replace(stringOrNumber, (match, sign: string, name: string | undefined) => {
    if (name === undefined || (name === 'NaN' && sign !== '')) return match;
    isChanged = true;
    return name === 'NaN' ? JSON.stringify(marker) : `${sign}1e999`; // parsed as infinity
  });
  if (!isChanged) return undefined;
  try {
    return JSON.parse(changed, (_, value) => (value === marker ? Number.NaN : value));
  } catch {
    return undefined;
  }
}

// The longest string of V8, in UTF-16 code units.
const maxTextBytes = 2 ** 29 - 24;

/** @throws INVALID_FILE if a file has more bytes than a string can hold */
export function checkTextSize(path: string, size: number): void {
  if (size <= maxTextBytes) return;
  throw new Gpt2Error(
    'INVALID_FILE',
    `${path}: expected at most ${maxTextBytes} bytes of text but found ${size}`,
  );
}

/** Reads a text file in UTF-8. Returns undefined if the file does not exist. */
export async function readText(path: string): Promise<string | undefined> {
  let file: NativeFile;
  try {
    file = await callNative(undefined, () => addon().openFile(path));
  } catch (error) {
    if (error instanceof Gpt2Error && error.code === 'FILE_NOT_FOUND') return undefined;
    throw error;
  }
  try {
    checkTextSize(path, file.size);
    const { size } = file;
    const bytes = allocate(`${size} bytes of ${path}`, () => new Uint8Array(size));
    await callNative(undefined, () => file.read(0, bytes));
    return new TextDecoder().decode(bytes);
  } finally {
    file.close();
  }
}

/**
 * The user's home folder.
 *
 * @param variables the environment variables that name another folder, for the error
 * @throws FILE_NOT_FOUND
 */
export function homeFolder(variables: string): string {
  let home = '';
  let cause: unknown;
  try {
    home = homedir(); // HOME, which may be empty, or the entry in the list of users
  } catch (error) {
    cause = error;
  }
  if (home !== '') return home;
  throw new Gpt2Error(
    'FILE_NOT_FOUND',
    `Expected a home folder for the cache, but HOME is not set and the user has none; set ${variables} to a folder`,
    { cause },
  );
}
