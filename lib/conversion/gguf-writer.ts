import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { byteSize, ggmlTypeNumbers, type TensorType } from '../tensor-types.js';

// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
const formatVersion = 3;
const alignment = 32;
const valueTypes = {
  uint32: 4,
  int32: 5,
  float32: 6,
  string: 8,
  array: 9,
} as const;

export type GgufValue =
  | { type: 'uint32' | 'float32'; value: number }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'int32s'; value: readonly number[] };

export interface GgufTensor {
  name: string;
  type: TensorType;
  /** ggml's order: the contiguous dimension first */
  shape: readonly number[];
}

/**
 * Writes a GGUF file: the header when it is opened, then the tensors' bytes in the order of the header.
 * The file has a temporary name until commit() renames it, so that a broken run leaves nothing that looks
 * complete.
 */
export class GgufWriter {
  readonly #path: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.#path = path;
    this.#temporary = temporary;
    this.#handle = handle;
  }

  static async create(
    path: string,
    metadata: ReadonlyMap<string, GgufValue>,
    tensors: readonly GgufTensor[],
  ): Promise<GgufWriter> {
    const temporary = `${path}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`;
    let handle: FileHandle;
    try {
      await mkdir(dirname(path), { recursive: true });
      handle = await open(temporary, 'wx');
    } catch (error) {
      throw writeError(path, error);
    }
    const writer = new GgufWriter(path, temporary, handle);
    try {
      await writer.write(header(metadata, tensors));
      return writer;
    } catch (error) {
      await writer.discard();
      throw error;
    }
  }

  /** Appends bytes of a tensor. */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#handle.write(bytes, done)).bytesWritten;
      }
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  /** Fills up to where the next tensor starts, after one of `length` bytes. */
  async pad(length: number): Promise<void> {
    await this.write(new Uint8Array(paddedSize(length) - length));
  }

  /** Puts the file under its own name; it is on the disk before it is there. */
  async commit(): Promise<void> {
    try {
      await this.#handle.sync();
      await this.#handle.close();
      await rename(this.#temporary, this.#path);
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  /** Removes what was written. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await rm(this.#temporary, { force: true });
  }
}

function paddedSize(size: number): number {
  return Math.ceil(size / alignment) * alignment;
}

function writeError(path: string, error: unknown): Gpt2Error {
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = code === 'ENOSPC' ? 'the disk is full' : message;
  return new Gpt2Error('FILE_UNWRITABLE', `${path}: cannot be written (${reason})`, {
    cause: error,
  });
}

function header(
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensor[],
): Uint8Array {
  const bytes = new ByteList();
  bytes.text('GGUF');
  bytes.uint32(formatVersion);
  bytes.uint64(tensors.length);
  bytes.uint64(metadata.size);
  for (const [key, value] of metadata) {
    bytes.string(key);
    writeValue(bytes, value);
  }
  let offset = 0;
  for (const { name, type, shape } of tensors) {
    bytes.string(name);
    bytes.uint32(shape.length);
    for (const extent of shape) bytes.uint64(extent);
    bytes.uint32(ggmlTypeNumbers[type]);
    bytes.uint64(offset);
    const [rowLength = 1, rows = 1] = shape;
    offset += paddedSize(byteSize(type, rowLength, rows));
  }
  bytes.zeros(paddedSize(bytes.length) - bytes.length);
  return bytes.concat();
}

function writeValue(bytes: ByteList, { type, value }: GgufValue): void {
  switch (type) {
    case 'uint32':
      bytes.uint32(valueTypes.uint32);
      bytes.uint32(value);
      break;
    case 'float32':
      bytes.uint32(valueTypes.float32);
      bytes.float32(value);
      break;
    case 'string':
      bytes.uint32(valueTypes.string);
      bytes.string(value);
      break;
    case 'strings':
      bytes.uint32(valueTypes.array);
      bytes.uint32(valueTypes.string);
      bytes.uint64(value.length);
      for (const text of value) bytes.string(text);
      break;
    case 'int32s':
      bytes.uint32(valueTypes.array);
      bytes.uint32(valueTypes.int32);
      bytes.uint64(value.length);
      for (const number of value) bytes.int32(number);
  }
}

class ByteList {
  readonly #parts: Buffer[] = [];
  length = 0;

  uint32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.#add(part);
  }
  int32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeInt32LE(value);
    this.#add(part);
  }
  uint64(value: number): void {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt(value));
    this.#add(part);
  }
  float32(value: number): void {
    const part = Buffer.alloc(4);
    part.writeFloatLE(value);
    this.#add(part);
  }
  text(value: string): void {
    this.#add(Buffer.from(value));
  }
  string(value: string): void {
    const part = Buffer.from(value);
    this.uint64(part.length);
    this.#add(part);
  }
  zeros(count: number): void {
    this.#add(Buffer.alloc(count));
  }
  concat(): Buffer {
    return Buffer.concat(this.#parts);
  }
  #add(part: Buffer): void {
    this.#parts.push(part);
    this.length += part.length;
  }
}
