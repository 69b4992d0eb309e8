// Requests to the hub. Temporary failures are retried. All others become errors of this package.

import { clearTimeout, setTimeout } from 'node:timers';
import { URL } from 'node:url';
import { type ErrorCode, Gpt2Error, isError } from '../errors.js';
import { LinkedSignal, waitUnlessAborted } from '../native/abort.js';
import { version } from '../native/addon.js';
import { nodeGlobal } from '../native/globals.js';
import { hubEndpoint, hubTimeout, hubToken } from './hub-settings.js';

export interface HubRequest<T> {
  url: string;
  /** Called for every attempt. */
  headers?: () => Record<string, string>;
  /**
   * Reads a response with status 2xx or 416. Calling `progress` resets the number of failed attempts, so that a slow
   * download over an unstable connection does not fail.
   */
  read(response: HubResponse, progress: () => void): Promise<T>;
}

export interface HubResponse {
  status: number;
  headers: Headers;
  body: AsyncIterable<Uint8Array>;
}

/** HTTP status: Range Not Satisfiable. */
export const rangeNotSatisfiable = 416;

/** A temporary failure, after which the request is retried. `read` may throw it too. */
export class Interruption extends Error {
  /** The seconds to wait before the retry, if the hub states them. */
  readonly pause: number | undefined;

  constructor(message: string, { cause, pause }: { cause?: unknown; pause?: number } = {}) {
    super(message, { cause });
    this.pause = pause;
  }
}

// Consecutive attempts without progress.
const maxAttempts = 5;
const firstPause = 500; // milliseconds; doubled after every attempt
// If the hub requests a longer pause, the request fails instead.
const maxPause = 60; // seconds

/**
 * Sends a request and returns the result of its `read`.
 *
 * @throws MODEL_NOT_FOUND, ACCESS_DENIED, HUB_UNAVAILABLE, the errors of `read`, and the signal's reason
 */
export async function requestFromHub<T>(
  request: HubRequest<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  let failures = 0;
  let hasProgressed = false;
  const progress = () => {
    failures = 0;
    hasProgressed = true;
  };
  for (;;) {
    signal?.throwIfAborted();
    const stop = new LinkedSignal(signal);
    try {
      return await attempt(request, stop, progress);
    } catch (error) {
      stop.abort(); // closes the connection
      signal?.throwIfAborted();
      if (!(error instanceof Interruption)) throw error;
      failures++;
      const { pause = 0 } = error;
      const isPermanent = pause > maxPause || (!hasProgressed && isUnknownHost(error));
      if (failures >= maxAttempts || isPermanent) throw unavailable(request.url, error);
      await waitUnlessAborted(Math.max(1000 * pause, firstPause * 2 ** (failures - 1)), signal);
    } finally {
      stop.unlink();
    }
  }
}

async function attempt<T>(
  { url, headers, read }: HubRequest<T>,
  stop: LinkedSignal,
  progress: () => void,
): Promise<T> {
  const init = {
    headers: { 'user-agent': `gpt2-native/${version}`, ...authorization(url), ...headers?.() },
    signal: stop.signal,
  };
  const response = await fromNetwork(stop, () => nodeGlobal('fetch')(url, init));
  if (!response.ok && response.status !== rangeNotSatisfiable) throw failureOf(url, response);
  return await read(
    { status: response.status, headers: response.headers, body: partsOf(response, stop) },
    progress,
  );
}

/** Sends the token to the hub only. fetch() drops it when it follows a redirect to another origin. */
function authorization(url: string): Record<string, string> {
  const token = hubToken();
  const isHub = new URL(url).origin === new URL(hubEndpoint()).origin;
  return token && isHub ? { authorization: `Bearer ${token}` } : {};
}

async function* partsOf(response: Response, stop: LinkedSignal): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { value, done } = await fromNetwork(stop, () => reader.read());
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // closes the connection if the body was not read to its end
  }
}

/** Runs one network operation. Throws an Interruption if it fails or times out. */
async function fromNetwork<T>(stop: LinkedSignal, step: () => Promise<T>): Promise<T> {
  const timeout = hubTimeout();
  const timer = setTimeout(
    () => stop.abort(new Error(`no data received for ${timeout / 1000} s`)),
    timeout,
  );
  try {
    return await step();
  } catch (error) {
    throw new Interruption(reasonOf(error), { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Whether the host name does not resolve, most often because there is no network. */
function isUnknownHost({ cause }: Interruption): boolean {
  const reason = isError(cause) ? cause.cause : undefined;
  return (reason as NodeJS.ErrnoException | undefined)?.code === 'ENOTFOUND';
}

/** The message of fetch()'s errors is only "fetch failed". The reason is in the cause. */
function reasonOf(error: unknown): string {
  if (!isError(error)) return String(error);
  return isError(error.cause) && error.cause.message !== '' ? error.cause.message : error.message;
}

const temporaryStatuses: readonly number[] = [408, 429, 500, 502, 503, 504];

function failureOf(url: string, { status, headers }: Response): Error {
  const message = headers.get('x-error-message')?.slice(0, 200);
  const reason = message ? `${status}: ${message}` : String(status);
  if (temporaryStatuses.includes(status)) {
    return new Interruption(`it responded with status ${reason}`, {
      pause: pauseOf(status, headers),
    });
  }
  const failure = (code: ErrorCode, description: string) =>
    new Gpt2Error(code, `${withoutQuery(url)}: ${description} (status ${reason})`);
  // Without a token, the hub gives the same response for a private model and a missing one.
  if (status === 404 || headers.get('x-error-code') === 'RepoNotFound') {
    return failure('MODEL_NOT_FOUND', 'the model, revision or file does not exist');
  }
  if (status === 401 || status === 403) {
    const description = hubToken()
      ? 'HF_TOKEN does not give access to it'
      : 'the model does not exist, or it is private or requires accepting a licence, and HF_TOKEN is not set';
    return failure('ACCESS_DENIED', description);
  }
  return failure('HUB_UNAVAILABLE', 'the hub refused the request');
}

/**
 * The pause that the hub requests, in seconds. Retry-After contains seconds or a date. The hub's RateLimit header looks like
 * `"api";r=0;t=55`, where t is the number of seconds until the limit is reset.
 */
function pauseOf(status: number, headers: Headers): number | undefined {
  const after = headers.get('retry-after');
  const limit =
    status === 429 ? /;\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1] : undefined;
  const pause = after ?? limit;
  if (pause === undefined) return undefined;
  const seconds = /^\d+$/.test(pause) ? Number(pause) : (Date.parse(pause) - Date.now()) / 1000;
  return seconds > 0 ? seconds : undefined; // rejects NaN too
}

function unavailable(url: string, { message, pause = 0, cause }: Interruption): Gpt2Error {
  const pauseNote = pause > maxPause ? ` and requests a pause of ${Math.ceil(pause)} s` : '';
  return new Gpt2Error('HUB_UNAVAILABLE', `${withoutQuery(url)}: ${message}${pauseNote}`, {
    cause,
  });
}

function withoutQuery(url: string): string {
  return url.replace(/\?.*/, '');
}
