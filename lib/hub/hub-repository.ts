import { show } from '../arguments.js';
import { Gpt2Error, isError } from '../errors.js';
import { nodeGlobal } from '../native/globals.js';
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

/** The expected hash of a file: git's blob hash, or SHA-256 for large files. */
export interface HubHash {
  algorithm: 'git' | 'sha256';
  hex: string;
}

export interface HubRepository {
  /** The git commit to which the revision points: 40 hexadecimal digits. */
  commit: string;
  /** The files at the top level. */
  files: readonly HubFile[];
}

// A listing of 1,000 files takes 200 kB.
const maxBytes = 10_000_000;
const maxFiles = 10_000;
const maxRequests = 100;

/** Queries the hub for a repository's commit and files. */
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
      if (files.length > maxFiles) throw new Error(`it has more than ${maxFiles} files`);
    }
    return { commit, files };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof Gpt2Error) throw error;
    // @huggingface/hub throws its own errors for responses that it cannot interpret.
    const reason = isError(error) ? error.message : String(error);
    throw new Gpt2Error(
      'HUB_UNAVAILABLE',
      `${hubEndpoint()}: the response about ${showModelName(name)} is malformed (${reason})`,
      { cause: error },
    );
  }
}

/** The download URL of a file of a repository. */
export function fileUrl({ repository }: ModelName, commit: string, file: string): string {
  return `${hubEndpoint()}/${repository}/resolve/${commit}/${encodeURIComponent(file)}`;
}

// Loaded on demand, since loading takes 30 ms.
function hub(): typeof import('./huggingface-hub.js') {
  return require('./huggingface-hub.js');
}

/** A fetch() for @huggingface/hub, with our retries, timeouts, token and errors. */
function fetchFromHub(signal: AbortSignal | undefined): ReturnType<typeof nodeGlobal<'fetch'>> {
  let requests = 0;
  return async (input, init = {}) => {
    if (++requests > maxRequests) throw new Error(`it has more than ${maxRequests} pages`);
    return await requestFromHub(
      {
        url: String(input),
        headers: () => init.headers as Record<string, string>,
        read: async ({ headers, body }) => {
          const parts: Uint8Array[] = [];
          let size = 0;
          for await (const part of body) {
            size += part.length;
            if (size > maxBytes) throw new Error(`a response of more than ${maxBytes} bytes`);
            parts.push(part);
          }
          const link = headers.get('link');
          return new (nodeGlobal('Response'))(Buffer.concat(parts), {
            headers: link ? { link } : {},
          });
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

/** Checks a hash, since hashes become file names. */
function expectHex(value: unknown, digits: number): string {
  if (typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/.test(value)) {
    return value;
  }
  throw new Error(`expected ${digits} hexadecimal digits but found ${show(value)}`);
}

/** Whether a name is safe on all file systems and terminals. Files of models have no other names. */
function isPlainName(path: unknown): path is string {
  return typeof path === 'string' && /^[\w+@()-][\w.+ @()-]{0,199}$/.test(path);
}
