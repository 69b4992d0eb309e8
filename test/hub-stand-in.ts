// A local server that responds like huggingface.co, and misbehaves on request.
// https://huggingface.co/docs/hub/api

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** The properties of a request that tests inspect. */
export interface HubRequest {
  /** 'resolve' redirects to a large file or returns a small one; 'content' returns a large file. */
  kind: 'info' | 'tree' | 'resolve' | 'content';
  /** Of 'resolve' and 'content' requests. */
  file: string | undefined;
  range: string | undefined;
  authorization: string | undefined;
}

/** A response other than the correct one. */
export type Misbehaviour =
  | { status: number; headers?: Record<string, string> }
  /** Sends this many bytes, then closes the connection. */
  | { cutAfter: number }
  /** Sends this many bytes, then nothing more. */
  | { stallAfter: number }
  /** Sends these bytes as the file. */
  | { bytes: Buffer }
  /** Sends this text. */
  | { text: string; headers?: Record<string, string> }
  /** Ignores the range and sends the whole file. */
  | { wholeFile: true };

interface Repository {
  /** The commit of each branch and tag. */
  revisions: Record<string, string>;
  /** The files of each commit. */
  commits: Map<string, Map<string, Buffer>>;
}

// By extension, like the .gitattributes of repositories on the hub.
const isLarge = (file: string) => /\.(safetensors|gguf)$/.test(file);

export class HubStandIn {
  readonly requests: HubRequest[] = [];
  /** Called for every request; undefined for the correct response. */
  misbehave: (request: HubRequest) => Misbehaviour | undefined = () => undefined;
  readonly #repositories = new Map<string, Repository>();
  readonly #hub: Server;
  /** A second server for large files, as on the real hub. */
  readonly #storage: Server;

  private constructor() {
    const handle = (request: IncomingMessage, response: ServerResponse) => {
      request.resume();
      this.#answer(request, response);
    };
    this.#hub = createServer(handle);
    this.#storage = createServer(handle);
  }

  static async start(): Promise<HubStandIn> {
    const hub = new HubStandIn();
    for (const server of [hub.#hub, hub.#storage]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    return hub;
  }

  get url(): string {
    return urlOf(this.#hub);
  }

  stop(): void {
    for (const server of [this.#hub, this.#storage]) {
      server.close();
      server.closeAllConnections();
    }
  }

  /** Commits the files of a folder and others to a branch, and returns the commit. */
  push(
    repository: string,
    folder: string | undefined,
    {
      revision = 'main',
      files = {},
    }: { revision?: string; files?: Record<string, Buffer | string> } = {},
  ): string {
    const all = new Map<string, Buffer>();
    for (const name of folder ? readdirSync(folder) : []) {
      all.set(name, readFileSync(join(folder as string, name)));
    }
    for (const [name, bytes] of Object.entries(files)) all.set(name, Buffer.from(bytes));
    const known: Repository = this.#repositories.get(repository) ?? {
      revisions: {},
      commits: new Map(),
    };
    const commit = createHash('sha1').update(`${repository} ${known.commits.size}`).digest('hex');
    known.revisions[revision] = commit;
    known.commits.set(commit, all);
    this.#repositories.set(repository, known);
    return commit;
  }

  /** Returns the requests for the bytes of a file. */
  fetches(file: string): HubRequest[] {
    return this.requests.filter(
      (request) => request.file === file && (request.kind === 'content' || !isLarge(file)),
    );
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url ?? '', this.url).pathname);
    const info = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/.exec(path);
    const tree = /^\/api\/models\/([^/]+\/[^/]+)\/tree\/([0-9a-f]{40})$/.exec(path);
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([0-9a-f]{40})\/(.+)$/.exec(path);
    const content = /^\/content\/([^/]+\/[^/]+)\/([0-9a-f]{40})\/(.+)$/.exec(path);
    const [, name = '', revision = '', file] = info ?? tree ?? resolve ?? content ?? [];
    const received: HubRequest = {
      kind: info ? 'info' : tree ? 'tree' : resolve ? 'resolve' : 'content',
      file,
      range: request.headers.range,
      authorization: request.headers.authorization,
    };
    this.requests.push(received);
    const misbehaviour = this.misbehave(received);
    if (misbehaviour && 'status' in misbehaviour) {
      response.writeHead(misbehaviour.status, misbehaviour.headers).end();
      return;
    }
    if (misbehaviour && 'text' in misbehaviour) {
      response.writeHead(200, misbehaviour.headers).end(misbehaviour.text);
      return;
    }
    const repository = this.#repositories.get(name);
    const commit = repository?.revisions[revision] ?? revision;
    const files = repository?.commits.get(commit);
    const bytes = file === undefined ? undefined : files?.get(file);
    if (!repository || !files || (file !== undefined && !bytes)) {
      const code = repository ? (files ? 'EntryNotFound' : 'RevisionNotFound') : 'RepoNotFound';
      response.writeHead(repository ? 404 : 401, { 'x-error-code': code }).end();
    } else if (info) {
      response.end(JSON.stringify({ _id: '1', id: name, sha: commit, private: false }));
    } else if (tree) {
      response.end(JSON.stringify([...files].map(([entry, content]) => listed(entry, content))));
    } else if (resolve && isLarge(file as string)) {
      const location = `${urlOf(this.#storage)}/content/${name}/${commit}/${file}`;
      response.writeHead(302, { location }).end();
    } else {
      sendBytes(response, bytes as Buffer, received.range, misbehaviour);
    }
  }
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function listed(path: string, bytes: Buffer): object {
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  const entry = { type: 'file', oid, size: bytes.length, path };
  if (!isLarge(path)) return entry;
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { ...entry, lfs: { oid: sha256, size: bytes.length, pointerSize: 130 } };
}

function sendBytes(
  response: ServerResponse,
  whole: Buffer,
  range: string | undefined,
  misbehaviour: Misbehaviour | undefined,
): void {
  const bytes = misbehaviour && 'bytes' in misbehaviour ? misbehaviour.bytes : whole;
  const wanted = misbehaviour && 'wholeFile' in misbehaviour ? undefined : range;
  const start = Number(/^bytes=(\d+)-$/.exec(wanted ?? '')?.[1] ?? 0);
  const part = bytes.subarray(start);
  response.writeHead(wanted ? 206 : 200, {
    'content-length': part.length,
    ...(wanted && { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  });
  if (misbehaviour && 'cutAfter' in misbehaviour) {
    response.write(part.subarray(0, misbehaviour.cutAfter), () => response.destroy());
  } else if (misbehaviour && 'stallAfter' in misbehaviour) {
    response.write(part.subarray(0, misbehaviour.stallAfter));
  } else {
    response.end(part);
  }
}
