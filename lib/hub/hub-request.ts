// Requests to the hub. Temporary failures are retried, all others become errors of this package.

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
   * Reads a response with status 2xx or 416. Calling `progress` resets the number of retries, so that a slow download
   * over an unstable connection is not given up.
   */
  read(answer: HubAnswer, progress: () => void): Promise<T>;
}

export interface HubAnswer {
  status: number;
  headers: Headers;
  body: AsyncIterable<Uint8Array>;
}

/** Range Not Satisfiable. */
export const rangeRefused = 416;

/** A failure that is worth a retry. `read` may throw it too. */
export class Interruption extends Error {
  /** Seconds to wait before the retry, if the hub says so. */
  readonly pause: number | undefined;

  constructor(message: string, { cause, pause }: { cause?: unknown; pause?: number } = {}) {
    super(message, { cause });
    this.pause = pause;
  }
}

// Consecutive attempts without progress.
const maxAttempts = 5;
const firstPause = 500; // milliseconds; doubled after every attempt
// If the hub asks for a longer pause, the request fails instead.
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
  let wasOfUse = false;
  const progress = () => {
    failures = 0;
    wasOfUse = true;
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
      const isHopeless = pause > maxPause || (!wasOfUse && isUnknownHost(error));
      if (failures >= maxAttempts || isHopeless) throw unavailable(request.url, error);
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
  const answer = await fromNetwork(stop, () => nodeGlobal('fetch')(url, init));
  if (!answer.ok && answer.status !== rangeRefused) throw failureOf(url, answer);
  return await read(
    { status: answer.status, headers: answer.headers, body: partsOf(answer, stop) },
    progress,
  );
}

/** Sends the token to the hub only. fetch() drops it when it follows a redirect to another origin. */
function authorization(url: string): Record<string, string> {
  const token = hubToken();
  const isHub = new URL(url).origin === new URL(hubEndpoint()).origin;
  return token && isHub ? { authorization: `Bearer ${token}` } : {};
}

async function* partsOf(answer: Response, stop: LinkedSignal): AsyncGenerator<Uint8Array> {
  const reader = answer.body?.getReader();
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

/** fetch() reports only "fetch failed"; the reason is in the cause. */
function reasonOf(error: unknown): string {
  if (!isError(error)) return String(error);
  return isError(error.cause) && error.cause.message !== '' ? error.cause.message : error.message;
}

const temporaryStatuses: readonly number[] = [408, 429, 500, 502, 503, 504];

function failureOf(url: string, { status, headers }: Response): Error {
  const said = headers.get('x-error-message')?.slice(0, 200);
  const reason = said ? `${status}: ${said}` : String(status);
  if (temporaryStatuses.includes(status)) {
    return new Interruption(`it responded with status ${reason}`, {
      pause: pauseOf(status, headers),
    });
  }
  const refuse = (code: ErrorCode, what: string) =>
    new Gpt2Error(code, `${withoutQuery(url)}: ${what} (status ${reason})`);
  // Without a token, the hub gives the same response for a private model and a missing one.
  if (status === 404 || headers.get('x-error-code') === 'RepoNotFound') {
    return refuse('MODEL_NOT_FOUND', 'the model, revision or file does not exist');
  }
  if (status === 401 || status === 403) {
    const hint = hubToken()
      ? 'HF_TOKEN does not give access to it'
      : 'the model does not exist, or it is private or requires accepting a licence, and HF_TOKEN is not set';
    return refuse('ACCESS_DENIED', hint);
  }
  return refuse('HUB_UNAVAILABLE', 'the hub refused the request');
}

/**
 * The pause that the hub asks for. Retry-After holds seconds or a date. The hub's RateLimit header looks like
 * `"api";r=0;t=55`, where t is the number of seconds until the limit is reset.
 */
function pauseOf(status: number, headers: Headers): number | undefined {
  const after = headers.get('retry-after');
  const limit =
    status === 429 ? /;\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1] : undefined;
  const given = after ?? limit;
  if (given === undefined) return undefined;
  const seconds = /^\d+$/.test(given) ? Number(given) : (Date.parse(given) - Date.now()) / 1000;
  return seconds > 0 ? seconds : undefined; // rejects NaN too
}

function unavailable(url: string, { message, pause = 0, cause }: Interruption): Gpt2Error {
  const pauseNote = pause > maxPause ? ` and asks to wait ${Math.ceil(pause)} s` : '';
  return new Gpt2Error('HUB_UNAVAILABLE', `${withoutQuery(url)}: ${message}${pauseNote}`, {
    cause,
  });
}

function withoutQuery(url: string): string {
  return url.replace(/\?.*/, '');
}
