import type { Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Gpt2Error } from '../errors.js';
import { requireSpace, tryLock, writing } from '../files.js';
import { waitUnlessAborted } from '../native/abort.js';
import type { CachedRepository } from './hub-cache.js';
import type { HubFile, HubHash } from './hub-repository.js';
import { type HubAnswer, Interruption, rangeRefused, requestFromHub } from './hub-request.js';

export interface BlobRequest {
  url: string;
  file: HubFile;
  repository: CachedRepository;
  signal: AbortSignal | undefined;
  /** hears how many bytes of the file are there; fewer than before if they must be fetched again */
  onBytes: (count: number) => void;
}

/**
 * Fetches a file's bytes into the cache. They have another name until their hash was found to be right. What an
 * earlier attempt left is continued, and processes that want the same file wait for the one that fetches it.
 *
 * @throws HUB_UNAVAILABLE, CHECKSUM_MISMATCH, FILE_UNWRITABLE, and as `requestFromHub`
 */
export async function downloadBlob(request: BlobRequest): Promise<void> {
  const { file, repository, signal, onBytes } = request;
  const path = repository.blob(file.hash.hex);
  const release = await acquireLock(repository.lock(file.hash.hex), signal);
  try {
    const there = await stat(path).catch(() => undefined);
    if (there?.size !== file.size) await downloadInto(path, request);
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
  // The name that huggingface_hub uses: each continues what the other left.
  const incomplete = `${path}.incomplete`;
  await writing(path, async () => await mkdir(dirname(path), { recursive: true }));
  const part = await PartialFile.open(incomplete, file);
  try {
    await part.readWhatIsThere(signal, onBytes);
    await requireSpace(dirname(path), file.size - part.size);
    const wasContinued = part.size > 0;
    await complete(part, request);
    // What was there may have been wrong, rather than what came.
    if (wasContinued && !part.isRight()) {
      await part.clear();
      await complete(part, request);
    }
    if (!part.isRight()) {
      await part.clear();
      throw new Gpt2Error(
        'CHECKSUM_MISMATCH',
        `${url}: expected ${file.size} bytes with the hash ${file.hash.hex} but received others`,
      );
    }
    await part.rename(path);
  } finally {
    await part.close();
  }
}

// A connection that is cut more often than every megabyte is not worth its time.
const usefulBytes = 1_000_000;

/** Appends what is missing. */
async function complete(
  part: PartialFile,
  { url, file, signal, onBytes }: BlobRequest,
): Promise<void> {
  let useful = part.size + usefulBytes;
  onBytes(part.size);
  if (part.size === file.size) return;
  await requestFromHub(
    {
      url,
      headers: (): Record<string, string> => ({
        'accept-encoding': 'identity',
        ...(part.size > 0 ? { range: `bytes=${part.size}-` } : {}),
      }),
      read: async (answer, progress) => {
        if (answer.status === rangeRefused) {
          await part.clear();
          throw new Interruption('it has no such part');
        }
        const start = startOf(answer);
        if (start === 0) await part.clear();
        else if (start !== part.size) throw new Interruption('it sent another part');
        for await (const bytes of answer.body) {
          await part.append(bytes);
          onBytes(Math.min(part.size, file.size));
          if (part.size > file.size) return; // it cannot be right
          if (part.size < useful) continue;
          useful = part.size + usefulBytes;
          progress();
        }
        if (part.size < file.size) throw new Interruption('it ended early');
      },
    },
    signal,
  );
}

/** The first byte of a file that an answer holds: not all servers send parts. */
function startOf({ status, headers }: HubAnswer): number {
  if (status !== 206) return 0;
  return Number(/^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1]);
}

const stepSize = 1 << 20;

/** A file that grows, and its hash. */
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

  /** Hashes what an earlier attempt left; nothing is kept of what is too long. */
  async readWhatIsThere(
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

  isRight(): boolean {
    const { size, hash } = this.#file;
    return this.size === size && this.#hash.copy().digest('hex') === hash.hex;
  }

  /**
   * Gives the file its final name, if it holds what was hashed: on a file system without locks another process may
   * have written to it, and the cache may have been removed meanwhile.
   */
  async rename(path: string): Promise<void> {
    await this.#do(async () => {
      const [own, there] = [await this.#handle.stat(), await stat(this.#path)];
      if (own.ino !== there.ino || own.size !== this.size) {
        throw new Error('another process writes to it');
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

/** The beginning of a hash: git's is over the size too. */
function startHash({ size, hash }: { size: number; hash: HubHash }): Hash {
  const { createHash } = require('node:crypto') as typeof import('node:crypto');
  return hash.algorithm === 'sha256'
    ? createHash('sha256')
    : createHash('sha1').update(`blob ${size}\0`);
}
