// Where the results of many prompts go.

import { type FileHandle, open, stat, truncate } from 'node:fs/promises';
import { Gpt2Error } from '../errors.js';
import { tryLock, writing } from '../files.js';
import { removeLock } from '../leftovers.js';
import { byteLines, fileBytes } from './byte-lines.js';

export interface ResultOutput {
  /** Writes a whole line. When it resolves, the system has the line, and the end of the process does not lose it. */
  write(line: string): Promise<void>;
}

export const standardOutput: ResultOutput = {
  async write(line) {
    await new Promise((resolve) => process.stdout.write(line, resolve));
  },
};

interface FileOptions {
  resume?: boolean;
  overwrite?: boolean;
}

/** A file to which results are appended. It is locked, so that two runs do not write to it at the same time. */
export class ResultFile implements ResultOutput, AsyncDisposable {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #unlock: () => Promise<void>;
  /** Whether the contents are to be dropped. They stay until there is a result, since a run may fail before. */
  #isOld: boolean;

  private constructor(path: string, file: FileHandle, unlock: () => Promise<void>, isOld: boolean) {
    this.path = path;
    this.#file = file;
    this.#unlock = unlock;
    this.#isOld = isOld;
  }

  /**
   * Opens a file or creates it.
   *
   * @throws INVALID_ARGUMENT (it has contents, and no option says what to do with them), FILE_UNWRITABLE
   */
  static async open(path: string, { resume, overwrite }: FileOptions): Promise<ResultFile> {
    const status = await stat(path).catch(() => undefined);
    const isSpecial = status !== undefined && !status.isFile(); // a device or a pipe
    if (isSpecial && resume) {
      throw new Gpt2Error('INVALID_ARGUMENT', `${path}: expected a file to resume`);
    }
    if (status?.isFile() && status.size > 0 && !resume && !overwrite) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${path}: expected a new file, but it has contents; --resume goes on after them, --overwrite replaces them`,
      );
    }
    const file = await writing(path, async () => await open(path, 'a'));
    try {
      const unlock = isSpecial ? async () => {} : await lock(path);
      return new ResultFile(path, file, unlock, overwrite === true && !isSpecial);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The lines of an earlier run. After the last of them, cuts off a line that was not written to its end. */
  async *keptLines(): AsyncGenerator<Buffer, void, void> {
    const { path } = this;
    let wholeBytes = 0;
    for await (const { bytes, byteLength, isWhole } of byteLines(fileBytes(path))) {
      if (!isWhole) {
        await writing(path, async () => await truncate(path, wholeBytes));
        return;
      }
      wholeBytes += byteLength + 1;
      yield bytes as Buffer;
    }
  }

  async write(line: string): Promise<void> {
    if (this.#isOld) await writing(this.path, async () => await truncate(this.path));
    this.#isOld = false;
    await writing(this.path, async () => await this.#file.appendFile(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    await this.#unlock();
  }
}

async function lock(path: string): Promise<() => Promise<void>> {
  const lockPath = `${path}.lock`;
  const release = await tryLock(lockPath);
  if (!release) {
    throw new Gpt2Error('FILE_UNWRITABLE', `${path}: another run of gpt2 is writing to it`);
  }
  return async () => await removeLock(lockPath, release);
}
