import { Gpt2Error } from '../errors.js';
import { eventLoopTurn } from '../event-loop.js';
import {
  foreignTokenizer,
  leftOutKey,
  type ScalarMetadata,
  settingsIn,
} from '../tokenizer/tokenizer-metadata.js';
import { tokenKinds, type Vocabulary } from '../tokenizer/vocabulary.js';

/** A file opened for reading. */
export interface ReadableFile {
  readonly path: string;
  readonly size: number;
  /** Reads exactly `length` bytes. */
  read(offset: number, length: number): Promise<Buffer>;
}

// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
const stringType = 8;
const arrayType = 9;
const int32Type = 5;
const sizes = [1, 1, 2, 2, 4, 4, 4, 1, undefined, undefined, 8, 8, 8]; // bytes, by type

const maxStrings = 2 ** 20; // of one array that is read
const maxStringBytes = 2 ** 26; // of the arrays that are read
const maxScalarBytes = 4096; // longer strings, such as a chat template, are passed over

/**
 * Reads the byte-level BPE vocabulary in a GGUF file.
 *
 * @param vocabSize ids from it on do not belong to the model. Default: all do
 * @returns the reason in words, if the file has no such vocabulary
 * @throws INVALID_FILE, FILE_UNREADABLE
 */
export async function readGgufVocabulary(
  file: ReadableFile,
  vocabSize = Number.POSITIVE_INFINITY,
): Promise<Vocabulary | string> {
  const { scalars, strings, kinds } = await new MetadataReader(file).read();
  const all = strings.get('tokenizer.ggml.tokens');
  if (all === undefined) {
    return (scalars.get(leftOutKey) as string | undefined) ?? 'its file holds no vocabulary';
  }
  const foreign = foreignTokenizer(scalars);
  if (foreign !== undefined) return foreign;
  const merges = strings.get('tokenizer.ggml.merges');
  if (merges === undefined) return 'its file holds no merges (tokenizer.ggml.merges)';
  const tooLong = [all, merges].find((list) => list === 'too long');
  if (tooLong) return 'its vocabulary has too many tokens or merges, or they are too long';
  const tokens = (all as string[]).slice(0, vocabSize);
  if (kinds && kinds.length !== all.length) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${file.path}: expected tokenizer.ggml.token_type to have ${all.length} elements but found ${kinds.length}`,
    );
  }
  return {
    tokens,
    kinds: kinds ?? new Int32Array(tokens.length).fill(tokenKinds.normal),
    merges: merges as string[],
    settings: settingsIn(scalars, tokens.length),
  };
}

interface Metadata {
  scalars: ScalarMetadata;
  strings: ReadonlyMap<string, string[] | 'too long'>;
  kinds: Int32Array | undefined;
}

const windowBytes = 1 << 20;
const stringsUntilPause = 4096; // about a millisecond

/** Reads metadata from start to end, a window at a time. */
class MetadataReader {
  readonly #file: ReadableFile;
  #at = 0;
  #window: Buffer = Buffer.alloc(0);
  #start = 0; // of the window, in the file
  #stringBytes = 0;

  constructor(file: ReadableFile) {
    this.#file = file;
  }

  async read(): Promise<Metadata> {
    const scalars = new Map<string, string | number | boolean>();
    const strings = new Map<string, string[] | 'too long'>();
    let kinds: Int32Array | undefined;
    await this.#need(24);
    if (this.#text(4) !== 'GGUF') throw this.#invalid('it does not begin with "GGUF"');
    const version = this.#uint32();
    if (version !== 2 && version !== 3)
      throw this.#invalid(`its version is ${version}, not 2 or 3`);
    this.#at += 8; // the number of tensors
    const count = this.#uint64();
    for (let index = 0; index < count; index++) {
      const key = await this.#string(maxScalarBytes);
      await this.#need(4);
      const type = this.#uint32();
      if (type === stringType) {
        const value = await this.#string(maxScalarBytes);
        if (key !== undefined && value !== undefined) scalars.set(key, value);
      } else if (type !== arrayType) {
        const value = await this.#scalar(type);
        if (key !== undefined) scalars.set(key, value);
      } else {
        await this.#need(12);
        const elementType = this.#uint32();
        const length = this.#uint64();
        if (elementType === stringType) {
          const isRead = key === 'tokenizer.ggml.tokens' || key === 'tokenizer.ggml.merges';
          const list = await this.#strings(length, isRead);
          if (isRead) strings.set(key, list);
        } else if (key === 'tokenizer.ggml.token_type' && elementType === int32Type) {
          kinds = await this.#int32s(length);
        } else {
          this.#skip(length * this.#sizeOf(elementType));
        }
      }
    }
    return { scalars, strings, kinds };
  }

  async #strings(count: number, isRead: boolean): Promise<string[] | 'too long'> {
    const list: string[] = [];
    let isTooLong = count > maxStrings;
    for (let index = 0; index < count; index++) {
      const max = isRead && !isTooLong ? maxStringBytes : 0;
      const text = this.#hasString() ? this.#takeString(max) : await this.#string(max);
      if (text === undefined || this.#stringBytes > maxStringBytes) isTooLong = true;
      else if (isRead && !isTooLong) list.push(text);
      if (index % stringsUntilPause === stringsUntilPause - 1) await eventLoopTurn();
    }
    return isTooLong ? 'too long' : list;
  }

  async #int32s(count: number): Promise<Int32Array> {
    if (count > maxStrings) {
      this.#skip(4 * count);
      return new Int32Array(0);
    }
    await this.#need(4 * count);
    return Int32Array.from({ length: count }, () => this.#uint32() | 0);
  }

  /** A string; undefined if it has more bytes than `max`. */
  async #string(max: number): Promise<string | undefined> {
    await this.#need(8);
    const length = this.#uint64();
    this.#at -= 8;
    if (length <= max) await this.#need(8 + length);
    return this.#takeString(max);
  }

  /** Whether the next string is in the window. */
  #hasString(): boolean {
    if (!this.#has(8)) return false;
    const length = this.#uint64();
    this.#at -= 8;
    return this.#has(8 + length);
  }

  /** The next string, whose length is in the window, and whose bytes are, if it is not too long. */
  #takeString(max: number): string | undefined {
    const length = this.#uint64();
    if (length > max) {
      this.#skip(length);
      return undefined;
    }
    this.#stringBytes += length;
    return this.#text(length);
  }

  async #scalar(type: number): Promise<number | boolean> {
    const size = this.#sizeOf(type);
    await this.#need(size);
    const at = this.#at - this.#start;
    this.#at += size;
    const bytes = this.#window;
    switch (type) {
      case 1:
      case 3:
      case 5:
        return bytes.readIntLE(at, size);
      case 6:
        return bytes.readFloatLE(at);
      case 7:
        return bytes[at] !== 0;
      case 10:
        return Number(bytes.readBigUInt64LE(at));
      case 11:
        return Number(bytes.readBigInt64LE(at));
      case 12:
        return bytes.readDoubleLE(at);
      default:
        return bytes.readUIntLE(at, size);
    }
  }

  #sizeOf(type: number): number {
    const size = sizes[type];
    if (size === undefined) throw this.#invalid(`a value in its metadata has the type ${type}`);
    return size;
  }

  #uint32(): number {
    const at = this.#at - this.#start;
    this.#at += 4;
    return this.#window.readUInt32LE(at);
  }

  #uint64(): number {
    const low = this.#uint32();
    return this.#uint32() * 2 ** 32 + low;
  }

  #text(length: number): string {
    const at = this.#at - this.#start;
    this.#at += length;
    return this.#window.toString('utf8', at, at + length);
  }

  #skip(length: number): void {
    this.#at += length;
    if (this.#at > this.#file.size) throw this.#truncated();
  }

  #has(length: number): boolean {
    return this.#at >= this.#start && this.#at + length <= this.#start + this.#window.length;
  }

  /** Reads the next window unless the next `length` bytes are in this one. */
  async #need(length: number): Promise<void> {
    if (this.#has(length)) return;
    const left = this.#file.size - this.#at;
    if (length > left) throw this.#truncated();
    this.#window = await this.#file.read(this.#at, Math.min(Math.max(length, windowBytes), left));
    this.#start = this.#at;
  }

  #truncated(): Gpt2Error {
    return this.#invalid(`it ends in its metadata, after ${this.#file.size} bytes`);
  }

  #invalid(reason: string): Gpt2Error {
    return new Gpt2Error('INVALID_FILE', `${this.#file.path}: ${reason}`);
  }
}
