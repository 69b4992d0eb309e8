import { fileURLToPath } from 'node:url';
import { types } from 'node:util';
import { invalidArgument } from './arguments.js';

/** A URL of this or another realm, declared by its members: not every program has the types of Node or of the DOM. */
export interface UrlLike {
  readonly href: string;
  readonly protocol: string;
}

/**
 * The path or name of a source. A `file:` URL, as a string or as an object of any realm, becomes a path.
 *
 * @throws INVALID_ARGUMENT
 */
export function checkSource(what: string, source: unknown): string {
  const href = typeof source === 'string' ? source : hrefOf(source);
  if (href === undefined) {
    const advice = isBytes(source) ? ' (write bytes to a file and pass its path)' : '';
    throw invalidArgument(
      `${what} to be a path, a file: URL or the name of a model on the hub${advice}`,
      source,
    );
  }
  if (typeof source === 'string' && !/^file:/i.test(href)) return href;
  try {
    return fileURLToPath(href);
  } catch {
    throw invalidArgument(`${what} to be a path or a file: URL of this machine`, href);
  }
}

function hrefOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { href, protocol } = value as Partial<UrlLike>;
  return typeof href === 'string' && typeof protocol === 'string' ? href : undefined;
}

function isBytes(value: unknown): boolean {
  return ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value);
}
