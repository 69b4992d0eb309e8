import { type FileHandle, open, stat } from 'node:fs/promises';
import { TextDecoder } from 'node:util';
import { allocate } from './allocation.js';
import { Gpt2Error } from './errors.js';
import { checkTextSize, reading } from './files.js';

/** A file opened for reading by Node, for programs that do not load the addon. */
export class PlainFile {
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;

  private constructor(path: string, size: number, handle: FileHandle) {
    this.path = path;
    this.size = size;
    this.#handle = handle;
  }

  /** @throws FILE_NOT_FOUND, FILE_UNREADABLE */
  static async open(path: string): Promise<PlainFile> {
    return await reading(path, async () => {
      const found = await stat(path); // first, since opening a named pipe would wait for its writer
      if (!found.isFile()) throw new Error('it is not a file');
      return new PlainFile(path, found.size, await open(path));
    });
  }

  /**
   * Reads exactly `length` bytes.
   *
   * @throws INVALID_FILE if the file is shorter, FILE_UNREADABLE, OUT_OF_MEMORY
   */
  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = allocate(`${length} bytes of ${this.path}`, () => Buffer.alloc(length));
    for (let done = 0; done < length; ) {
      const { bytesRead } = await reading(this.path, () =>
        this.#handle.read(bytes, done, length - done, offset + done),
      );
      if (bytesRead === 0) {
        throw new Gpt2Error('INVALID_FILE', `${this.path}: it ends after ${offset + done} bytes`);
      }
      done += bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Reads a text file in UTF-8. Returns undefined if the file does not exist. */
export async function readPlainText(path: string): Promise<string | undefined> {
  let file: PlainFile;
  try {
    file = await PlainFile.open(path);
  } catch (error) {
    if (error instanceof Gpt2Error && error.code === 'FILE_NOT_FOUND') return undefined;
    throw error;
  }
  try {
    checkTextSize(path, file.size);
    return new TextDecoder().decode(await file.read(0, file.size));
  } finally {
    await file.close();
  }
}
