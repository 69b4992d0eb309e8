import type { Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { waitUnlessAborted } from '../abort.js';
import { addon } from '../addon.js';
import { requireSpace, writeError } from '../conversion/files.js';
import { Gpt2Error } from '../errors.js';
import { callNative } from '../native-call.js';
import type { CachedRepository } from './hub-cache.js';
import type { HubFile, HubHash } from './hub-repository.js';
import { type HubAnswer, Interruption, requestFromHub } from './hub-request.js';

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
  await mkdir(dirname(path), { recursive: true }).catch((error) => {
    throw writeError(path, error);
  });
  for (;;) {
    const release = await callNative(undefined, () => addon.lockFile(path));
    if (release) return release;
    await waitUnlessAborted(pollInterval, signal);
  }
}

async function downloadInto(path: string, request: BlobRequest): Promise<void> {
  const { url, file } = request;
  // The name that huggingface_hub uses: each continues what the other left.
  const incomplete = `${path}.incomplete`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const part = new PartialFile(await open(incomplete, 'a+'), file);
    try {
      await part.readWhatIsThere();
      await requireSpace(dirname(path), file.size - part.size);
      const wasContinued = part.size > 0;
      await complete(part, request);
      // What was there may have been wrong, rather than what came.
      if (wasContinued && !part.isRight()) {
        await part.clear();
        await complete(part, request);
      }
    } finally {
      await part.close();
    }
    if (!part.isRight()) {
      await rm(incomplete);
      throw new Gpt2Error(
        'CHECKSUM_MISMATCH',
        `${url}: expected ${file.size} bytes with the hash ${file.hash.hex} but received others`,
      );
    }
    await rename(incomplete, path);
  } catch (error) {
    throw isFileSystemError(error) ? writeError(path, error) : error;
  }
}

function isFileSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
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
  readonly #handle: FileHandle;
  readonly #file: HubFile;
  #hash: Hash;
  size = 0;

  constructor(handle: FileHandle, file: HubFile) {
    this.#handle = handle;
    this.#file = file;
    this.#hash = startHash(file);
  }

  async readWhatIsThere(): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size > this.#file.size) return await this.clear();
    const buffer = Buffer.alloc(Math.min(size, stepSize));
    while (this.size < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.size);
      if (bytesRead === 0) return;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.size += bytesRead;
    }
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#handle.appendFile(bytes);
    this.#hash.update(bytes);
    this.size += bytes.length;
  }

  async clear(): Promise<void> {
    await this.#handle.truncate();
    this.#hash = startHash(this.#file);
    this.size = 0;
  }

  isRight(): boolean {
    const { size, hash } = this.#file;
    return this.size === size && this.#hash.copy().digest('hex') === hash.hex;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** The beginning of a hash: git's is over the size too. */
function startHash({ size, hash }: { size: number; hash: HubHash }): Hash {
  const { createHash } = require('node:crypto') as typeof import('node:crypto');
  return hash.algorithm === 'sha256'
    ? createHash('sha256')
    : createHash('sha1').update(`blob ${size}\0`);
}
