import { Gpt2Error } from '../errors.js';
import { addon, type NativeFile } from '../native/addon.js';
import { callNative } from '../native/native-call.js';

/** Bytes of an element, by safetensors' names. GPT-2's weights are F32, F16 or BF16; others are not read. */
export const elementBytes: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** A tensor that lies in a file as it is. */
export interface WeightEntry {
  file: WeightFile;
  dtype: string;
  shape: readonly number[];
  /** in the file */
  offset: number;
  byteSize: number;
  /** how its numbers lie: row after row; of a matrix, column after column; or in another way */
  order: 'rows' | 'columns' | 'other';
}

/** A file that tensors lie in, opened for reading. */
export class WeightFile {
  readonly path: string;
  readonly native: NativeFile;
  readonly #signal: AbortSignal | undefined;

  private constructor(path: string, native: NativeFile, signal: AbortSignal | undefined) {
    this.path = path;
    this.native = native;
    this.#signal = signal;
  }

  /** @param signal stops this and every read */
  static async open(path: string, signal: AbortSignal | undefined): Promise<WeightFile> {
    return new WeightFile(path, await callNative(signal, () => addon.openFile(path)), signal);
  }

  get size(): number {
    return this.native.size;
  }

  /** Bytes that must be there. */
  async read(offset: number, length: number): Promise<Buffer<ArrayBuffer>> {
    if (offset < 0 || length < 0 || offset + length > this.size) {
      throw this.invalid(`it has ${this.size} bytes, but ${length} are expected at ${offset}`);
    }
    const bytes = Buffer.from(new ArrayBuffer(length));
    await callNative(this.#signal, (cancellation) => this.native.read(offset, bytes, cancellation));
    return bytes;
  }

  /** An error that says what is wrong with the file. */
  invalid(reason: string, cause?: unknown): Gpt2Error {
    return new Gpt2Error('INVALID_FILE', `${this.path}: ${reason}`, { cause });
  }

  close(): void {
    this.native.close();
  }
}
