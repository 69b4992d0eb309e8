import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { requestFromHub } from './hub-request.js';
import { hubEndpoint } from './hub-settings.js';
import { type ModelName, showModelName } from './model-name.js';

/** A file of a repository, as the hub lists it. */
export interface HubFile {
  name: string;
  /** bytes */
  size: number;
  hash: HubHash;
}

/** What a file's bytes must add up to: git's hash of a blob, or of a large file SHA-256. */
export interface HubHash {
  algorithm: 'git' | 'sha256';
  hex: string;
}

export interface HubRepository {
  /** of git, which the revision leads to: 40 hexadecimal digits */
  commit: string;
  /** those that do not lie in folders */
  files: readonly HubFile[];
}

// A listing of 1,000 files takes 200 kB.
const mostBytes = 10_000_000;
const mostFiles = 10_000;
const mostRequests = 100;

/** Asks the hub what a repository holds. */
export async function readHubRepository(
  name: ModelName,
  signal: AbortSignal | undefined,
): Promise<HubRepository> {
  const { listFiles, modelInfo } = hub();
  const at = { hubUrl: hubEndpoint(), fetch: fetchFromHub(signal) };
  try {
    const { repository, revision } = name;
    const { sha } = await modelInfo({
      ...at,
      name: repository,
      revision,
      additionalFields: ['sha'],
    });
    const commit = expectHex(sha, 40);
    const files: HubFile[] = [];
    for await (const entry of listFiles({ ...at, repo: repository, revision: commit })) {
      if (entry.type === 'file' && isPlainName(entry.path)) files.push(toHubFile(entry));
      if (files.length > mostFiles) throw new Error(`it has more than ${mostFiles} files`);
    }
    return { commit, files };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof Gpt2Error) throw error;
    // The package's own errors are about answers that it does not understand.
    const reason = error instanceof Error ? error.message : String(error);
    throw new Gpt2Error(
      'HUB_UNAVAILABLE',
      `${hubEndpoint()}: what it says of ${showModelName(name)} makes no sense (${reason})`,
      { cause: error },
    );
  }
}

/** Where a file of a repository is to be had. */
export function fileUrl({ repository }: ModelName, commit: string, file: string): string {
  return `${hubEndpoint()}/${repository}/resolve/${commit}/${encodeURIComponent(file)}`;
}

// It takes 30 ms to read.
function hub(): typeof import('@huggingface/hub') {
  return require('@huggingface/hub');
}

/** A fetch() for the package, with our retries, time limits, token and errors. */
function fetchFromHub(signal: AbortSignal | undefined): typeof fetch {
  let requests = 0;
  return async (input, init = {}) => {
    if (++requests > mostRequests) throw new Error(`it has more than ${mostRequests} pages`);
    return await requestFromHub(
      {
        url: String(input),
        headers: () => init.headers as Record<string, string>,
        read: async ({ headers, body }) => {
          const parts: Uint8Array[] = [];
          let size = 0;
          for await (const part of body) {
            size += part.length;
            if (size > mostBytes) throw new Error(`an answer of more than ${mostBytes} bytes`);
            parts.push(part);
          }
          const link = headers.get('link');
          return new Response(Buffer.concat(parts), { headers: link ? { link } : {} });
        },
      },
      signal,
    );
  };
}

function toHubFile({
  path,
  size,
  oid,
  lfs,
}: {
  path: string;
  size: number;
  oid?: string;
  lfs?: { oid: string };
}): HubFile {
  if (!Number.isSafeInteger(size) || size < 0) throw new Error(`a size of ${show(size)}`);
  const hash: HubHash = lfs
    ? { algorithm: 'sha256', hex: expectHex(lfs.oid, 64) }
    : { algorithm: 'git', hex: expectHex(oid, 40) };
  return { name: path, size, hash };
}

/** Hashes become names of files, so nothing else may. */
function expectHex(value: unknown, digits: number): string {
  if (typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/.test(value)) {
    return value;
  }
  throw new Error(`expected ${digits} hexadecimal digits but found ${show(value)}`);
}

/** Names that all file systems and terminals bear; others are none of a model's. */
function isPlainName(path: unknown): path is string {
  return typeof path === 'string' && /^[\w+@()-][\w.+ @()-]{0,199}$/.test(path);
}
