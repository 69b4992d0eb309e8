import { addon, type NativeFile } from '../addon.js';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { callNative } from '../native-call.js';

/** The element types that GPT-2's weights come in; mask buffers may have others, and are not read. */
const elementBytes: Record<string, number> = {
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

export interface SafetensorsEntry {
  dtype: string;
  shape: readonly number[];
  /** In the file. */
  offset: number;
  byteSize: number;
}

// The limit of the format's own library.
const largestHeader = 100_000_000;

/**
 * A safetensors file, opened for reading: 8 bytes of header length, a JSON header, the tensors' bytes.
 * Format: https://github.com/huggingface/safetensors#format
 */
export class SafetensorsFile {
  readonly path: string;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly native: NativeFile;
  readonly #signal: AbortSignal | undefined;

  private constructor(
    path: string,
    entries: ReadonlyMap<string, SafetensorsEntry>,
    native: NativeFile,
    signal: AbortSignal | undefined,
  ) {
    this.path = path;
    this.entries = entries;
    this.native = native;
    this.#signal = signal;
  }

  /** @param signal stops this and every read */
  static async open(path: string, signal: AbortSignal | undefined): Promise<SafetensorsFile> {
    const native = await callNative(signal, () => addon.openFile(path));
    try {
      return new SafetensorsFile(path, await readEntries(path, native, signal), native, signal);
    } catch (error) {
      native.close();
      throw error;
    }
  }

  /** Bytes of a tensor, from `start` on, counted from the tensor's own first byte. */
  async read(entry: SafetensorsEntry, start: number, length: number): Promise<Uint8Array> {
    return await readBytes(this.native, entry.offset + start, length, this.#signal);
  }

  close(): void {
    this.native.close();
  }
}

async function readBytes(
  file: NativeFile,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await callNative(signal, (cancellation) => file.read(offset, bytes, cancellation));
  return bytes;
}

async function readEntries(
  path: string,
  file: NativeFile,
  signal: AbortSignal | undefined,
): Promise<Map<string, SafetensorsEntry>> {
  if (file.size < 8) throw invalidFile(path, `it has ${file.size} bytes, which holds no header`);
  const start = await readBytes(file, 0, 8, signal);
  const headerLength = new DataView(start.buffer).getBigUint64(0, true);
  if (headerLength > largestHeader || Number(headerLength) > file.size - 8) {
    throw invalidFile(path, `its header claims ${headerLength} bytes in a file of ${file.size}`);
  }
  const dataStart = 8 + Number(headerLength);
  const json = new TextDecoder().decode(await readBytes(file, 8, Number(headerLength), signal));

  let header: unknown;
  try {
    header = JSON.parse(json);
  } catch (cause) {
    throw invalidFile(path, 'its header is not JSON', cause);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw invalidFile(path, 'its header is not a JSON object');
  }
  const entries = new Map<string, SafetensorsEntry>();
  let claimed = 0;
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const entry = checkEntry(path, name, value, dataStart, file.size - dataStart);
    entries.set(name, entry);
    claimed += entry.byteSize;
  }
  if (claimed > file.size - dataStart) {
    throw invalidFile(path, `its tensors claim ${claimed} bytes: they overlap`);
  }
  return entries;
}

function checkEntry(
  path: string,
  name: string,
  value: unknown,
  dataStart: number,
  dataLength: number,
): SafetensorsEntry {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
  const isSize = (number: unknown): number is number =>
    Number.isSafeInteger(number) && (number as number) >= 0;
  const bytes = typeof dtype === 'string' ? elementBytes[dtype] : undefined;
  if (bytes === undefined) {
    throw invalidFile(path, `the tensor "${name}" has the unknown dtype ${show(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw invalidFile(path, `the shape of the tensor "${name}" is not an array of sizes`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw invalidFile(path, `the tensor "${name}" has no data_offsets`);
  }
  const [begin, end] = offsets as [number, number];
  const byteSize = shape.reduce((product, extent) => product * extent, bytes);
  if (begin > end || end > dataLength || end - begin !== byteSize) {
    throw invalidFile(
      path,
      `the tensor "${name}" of ${dtype} and shape [${shape.join(', ')}] needs ${byteSize} bytes, but its data_offsets are [${begin}, ${end}] in ${dataLength} bytes of data`,
    );
  }
  return { dtype: dtype as string, shape, offset: dataStart + begin, byteSize };
}

function invalidFile(path: string, reason: string, cause?: unknown): Gpt2Error {
  return new Gpt2Error('INVALID_FILE', `${path}: ${reason}`, { cause });
}
