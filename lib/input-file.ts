import { allocate } from './allocation.js';
import { Gpt2Error } from './errors.js';
import { addon } from './native/addon.js';
import { callNative } from './native/native-call.js';
import type { NativeFile } from './native/types.js';

/** A file opened for reading by the engine, so that a read occupies none of libuv's threads. */
export class InputFile {
  readonly path: string;
  readonly native: NativeFile;
  readonly #signal: AbortSignal | undefined;

  private constructor(path: string, native: NativeFile, signal: AbortSignal | undefined) {
    this.path = path;
    this.native = native;
    this.#signal = signal;
  }

  /** @param signal cancels opening and every read */
  static async open(path: string, signal: AbortSignal | undefined): Promise<InputFile> {
    const native = await callNative(signal, async () => {
      const opened = await addon().openFile(path);
      if (signal?.aborted) opened.close(); // the call has rejected, so nothing else closes it
      return opened;
    });
    return new InputFile(path, native, signal);
  }

  get size(): number {
    return this.native.size;
  }

  /**
   * Reads exactly `length` bytes.
   *
   * @throws INVALID_FILE if the file is shorter, FILE_UNREADABLE, OUT_OF_MEMORY
   */
  async read(offset: number, length: number): Promise<Buffer<ArrayBuffer>> {
    if (offset < 0 || length < 0 || offset + length > this.size) {
      throw this.invalid(
        `it has ${this.size} bytes, but ${length} are expected at offset ${offset}`,
      );
    }
    const purpose = `${length} bytes of ${this.path}`;
    const bytes = Buffer.from(allocate(purpose, () => new ArrayBuffer(length)));
    await callNative(this.#signal, (cancellation) => this.native.read(offset, bytes, cancellation));
    return bytes;
  }

  /** Creates an INVALID_FILE error for this file. */
  invalid(reason: string, cause?: unknown): Gpt2Error {
    return new Gpt2Error('INVALID_FILE', `${this.path}: ${reason}`, { cause });
  }

  close(): void {
    this.native.close();
  }
}
