import type { Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { requireSpace, tryLock, writing } from '../files.js';
import { waitUnlessAborted } from '../native/abort.js';
import type { CachedRepository } from './hub-cache.js';
import type { HubFile, HubHash } from './hub-repository.js';
import {
  type HubResponse,
  Interruption,
  rangeNotSatisfiable,
  requestFromHub,
} from './hub-request.js';

export interface BlobRequest {
  url: string;
  file: HubFile;
  repository: CachedRepository;
  signal: AbortSignal | undefined;
  /** Receives the number of bytes present so far. It decreases when bytes must be fetched again. */
  onBytes: (count: number) => void;
}

/**
 * Downloads a file into the cache. It gets its final name only after its hash has been checked. Interrupted downloads
 * are resumed. Processes that need the same file wait for the one that is downloading it.
 *
 * @throws HUB_UNAVAILABLE, CHECKSUM_MISMATCH, FILE_UNWRITABLE, and the errors of `requestFromHub`
 */
export async function downloadBlob(request: BlobRequest): Promise<void> {
  const { file, repository, signal, onBytes } = request;
  const path = repository.blob(file.hash.hex);
  const release = await acquireLock(repository.lock(file.hash.hex), signal);
  try {
    const existing = await stat(path).catch(() => undefined);
    if (existing?.size !== file.size) await downloadInto(path, request);
    onBytes(file.size);
  } finally {
    release();
  }
}

const pollInterval = 100; // milliseconds

async function acquireLock(path: string, signal: AbortSignal | undefined): Promise<() => void> {
  await writing(path, async () => await mkdir(dirname(path), { recursive: true }));
  for (;;) {
    signal?.throwIfAborted();
    const release = await tryLock(path);
    if (release) return release;
    await waitUnlessAborted(pollInterval, signal);
  }
}

async function downloadInto(path: string, request: BlobRequest): Promise<void> {
  const { url, file, signal, onBytes } = request;
  // huggingface_hub uses the same name: either program resumes the other's download.
  const incomplete = `${path}.incomplete`;
  await writing(path, async () => await mkdir(dirname(path), { recursive: true }));
  const part = await PartialFile.open(incomplete, file);
  try {
    await part.readExisting(signal, onBytes);
    await requireSpace(dirname(path), file.size - part.size);
    const wasResumed = part.size > 0;
    await fetchRest(part, request);
    // The bytes of the earlier attempt may be wrong.
    if (wasResumed && !part.isValid()) {
      await part.clear();
      await fetchRest(part, request);
    }
    if (!part.isValid()) {
      await part.clear();
      throw new Gpt2Error(
        'CHECKSUM_MISMATCH',
        `${url}: expected ${file.size} bytes with the hash ${file.hash.hex} but received different bytes`,
      );
    }
    await part.rename(path);
  } finally {
    await part.close();
  }
}

// An attempt counts as progress only if it adds at least this many bytes.
const progressBytes = 1_000_000;

/** Downloads and appends the missing bytes. */
async function fetchRest(
  part: PartialFile,
  { url, file, signal, onBytes }: BlobRequest,
): Promise<void> {
  let nextProgress = part.size + progressBytes;
  onBytes(part.size);
  if (part.size === file.size) return;
  await requestFromHub(
    {
      url,
      headers: (): Record<string, string> => ({
        'accept-encoding': 'identity',
        ...(part.size > 0 ? { range: `bytes=${part.size}-` } : {}),
      }),
      read: async (response, progress) => {
        if (response.status === rangeNotSatisfiable) {
          await part.clear();
          throw new Interruption('it does not have the requested range');
        }
        const start = startOf(response);
        if (start === 0) await part.clear();
        else if (start !== part.size) throw new Interruption('it sent a different range');
        for await (const bytes of response.body) {
          await part.append(bytes);
          onBytes(Math.min(part.size, file.size));
          if (part.size > file.size) return; // too long: the hash cannot match
          if (part.size < nextProgress) continue;
          nextProgress = part.size + progressBytes;
          progress();
        }
        if (part.size < file.size) throw new Interruption('it ended early');
      },
    },
    signal,
  );
}

/** The file offset at which a response starts. Servers without range support send the whole file. */
function startOf({ status, headers }: HubResponse): number {
  if (status !== 206) return 0;
  return Number(/^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1]);
}

const stepSize = 1 << 20;

/** A partially downloaded file and the hash of its bytes. */
class PartialFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #file: HubFile;
  #hash: Hash;
  size = 0;

  private constructor(path: string, handle: FileHandle, file: HubFile) {
    this.#path = path;
    this.#handle = handle;
    this.#file = file;
    this.#hash = startHash(file);
  }

  static async open(path: string, file: HubFile): Promise<PartialFile> {
    return new PartialFile(path, await writing(path, async () => await open(path, 'a+')), file);
  }

  /** Hashes the bytes of an earlier attempt. Discards them if they are more than the file has. */
  async readExisting(
    signal: AbortSignal | undefined,
    onBytes: (count: number) => void,
  ): Promise<void> {
    const { size } = await this.#do(() => this.#handle.stat());
    if (size > this.#file.size) return await this.clear();
    const buffer = Buffer.alloc(Math.min(size, stepSize));
    while (this.size < size) {
      signal?.throwIfAborted();
      const { bytesRead } = await this.#do(() =>
        this.#handle.read(buffer, 0, buffer.length, this.size),
      );
      if (bytesRead === 0) return;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.size += bytesRead;
      onBytes(this.size);
    }
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#do(() => this.#handle.appendFile(bytes));
    this.#hash.update(bytes);
    this.size += bytes.length;
  }

  async clear(): Promise<void> {
    await this.#do(() => this.#handle.truncate());
    this.#hash = startHash(this.#file);
    this.size = 0;
  }

  isValid(): boolean {
    const { size, hash } = this.#file;
    return this.size === size && this.#hash.copy().digest('hex') === hash.hex;
  }

  /**
   * Renames the file to its final name if it still holds the bytes that were hashed. On a file system without locks
   * another process may have written to it, and the cache may have been removed in the meantime.
   */
  async rename(path: string): Promise<void> {
    await this.#do(async () => {
      const [own, current] = [await this.#handle.stat(), await stat(this.#path)];
      if (own.ino !== current.ino || own.size !== this.size) {
        throw new Error('another process is writing to it');
      }
      await rename(this.#path, path);
    });
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #do<T>(step: () => Promise<T>): Promise<T> {
    return await writing(this.#path, step);
  }
}

/** Starts the hash of a file. Git's blob hash begins with a header that contains the size. */
function startHash({ size, hash }: { size: number; hash: HubHash }): Hash {
  const { createHash } = require('node:crypto') as typeof import('node:crypto');
  return hash.algorithm === 'sha256'
    ? createHash('sha256')
    : createHash('sha1').update(`blob ${size}\0`);
}
