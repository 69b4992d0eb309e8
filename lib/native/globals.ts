// What a realm may lack: a vm context, such as one of Jest's, has its own set of globals.

import { runInThisContext } from 'node:vm';

const mainRealm: typeof globalThis = runInThisContext('globalThis');

/** @internal A global of this realm. If this realm lacks it, that of Node's main realm: Jest's jsdom has no fetch(). */
export function nodeGlobal<Name extends keyof typeof globalThis>(
  name: Name,
): (typeof globalThis)[Name] {
  return globalThis[name] ?? mainRealm[name];
}

/** @internal Node's own AbortController. Its fetch() refuses the signals of another, such as that of jsdom. */
export const NodeAbortController = mainRealm.AbortController;

// Only some realms have these symbols before Node 24. The substitutes are those of the helpers that Babel and esbuild
// add to a program with `using`. (TypeScript's helper has none, so this library does not use `using` itself.)

export const dispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');
