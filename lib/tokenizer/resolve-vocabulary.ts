import { show } from '../arguments.js';
import { forEachInTurns } from '../event-loop.js';
import { firstMerge, type Merges } from './byte-pair-merge.js';
import { byteOrder, placeOfByte, spellBytes } from './byte-spelling.js';
import { TokenBytes } from './token-bytes.js';
import { isPadding, maxTokens, tokenKinds, type Vocabulary } from './vocabulary.js';

const maxMerges = 2 ** 19; // several merges may form the same token
const maxBytes = 2 ** 24; // of all tokens

/** A vocabulary whose merges are resolved to tokens. */
export interface ResolvedVocabulary {
  merges: Merges;
  /** below 256; -1 for bytes that are left out of every text */
  symbolOfByte: Int32Array;
  tokenOfSymbol: Int32Array;
  tokenBytes: TokenBytes;
  /** The number of bytes of the longest token; infinite if bytes are left out of texts. */
  longestToken: number;
}

/**
 * Resolves a vocabulary as Hugging Face's tokenizers do. Yields to the event loop between steps.
 * @returns the reason in words, if text cannot be encoded with it
 */
export async function resolveVocabulary(
  vocabulary: Vocabulary,
): Promise<ResolvedVocabulary | string> {
  const { tokens, merges } = vocabulary;
  if (tokens.length > maxTokens) {
    return `it has ${tokens.length} tokens, and at most ${maxTokens} are supported`;
  }
  if (merges.length > maxMerges) {
    return `it has ${merges.length} merges, and at most ${maxMerges} are supported`;
  }
  try {
    return await new Resolution(vocabulary).run();
  } catch (error) {
    if (error instanceof Unresolvable) return error.reason;
    throw error;
  }
}

/** Thrown by the steps of a resolution. */
class Unresolvable {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

class Resolution {
  readonly #vocabulary: Vocabulary;
  readonly #ids = new Map<string, number>();
  readonly #tokenBytes: TokenBytes;
  /** The first normal token that spells no bytes. */
  #plainToken: string | undefined;
  /** By token: its symbol; -1 if it has none. */
  readonly #symbols: Int32Array;
  readonly #tokenOfSymbol: Int32Array;

  constructor(vocabulary: Vocabulary) {
    const { tokens, merges } = vocabulary;
    this.#vocabulary = vocabulary;
    this.#tokenBytes = new TokenBytes(tokens.length);
    this.#symbols = new Int32Array(tokens.length).fill(-1);
    this.#tokenOfSymbol = new Int32Array(firstMerge + merges.length).fill(-1);
  }

  async run(): Promise<ResolvedVocabulary> {
    await forEachInTurns(this.#vocabulary.tokens.entries(), ([id, text]) =>
      this.#addToken(id, text),
    );
    const missing = this.#findBytes();
    const merges = await this.#resolveMerges(missing.length > 0);
    const { unknown } = this.#vocabulary.settings;
    const symbolOfByte = placeOfByte.slice();
    for (const byte of missing) {
      if (unknown === undefined) symbolOfByte[byte] = -1;
      else this.#tokenOfSymbol[placeOfByte[byte] as number] = unknown;
    }
    const leavesOutBytes = missing.length > 0 && unknown === undefined;
    return {
      merges,
      symbolOfByte,
      tokenOfSymbol: this.#tokenOfSymbol,
      tokenBytes: this.#tokenBytes,
      longestToken: leavesOutBytes ? Number.POSITIVE_INFINITY : this.#tokenBytes.longest,
    };
  }

  #addToken(id: number, text: string): void {
    const kind = this.#vocabulary.kinds[id];
    if (isPadding(text, id, kind)) {
      this.#tokenBytes.push('', kind);
      return;
    }
    if (!this.#ids.has(text)) this.#ids.set(text, id);
    const isSpelled = this.#tokenBytes.push(text, kind);
    if (kind === tokenKinds.normal && !isSpelled) this.#plainToken ??= text;
    if (this.#tokenBytes.size > maxBytes) {
      throw new Unresolvable(`its tokens have over ${maxBytes} bytes`);
    }
  }

  /** Gives the single bytes their symbols. Returns the bytes without a token. */
  #findBytes(): number[] {
    const missing: number[] = [];
    for (const [symbol, byte] of byteOrder.entries()) {
      const id = this.#ids.get(spellBytes(Uint8Array.of(byte)));
      if (id === undefined) {
        missing.push(byte);
      } else {
        this.#symbols[id] = symbol;
        this.#tokenOfSymbol[symbol] = id;
      }
    }
    // Tokenizers of characters have tokens of other characters, and lack most bytes.
    if (missing.length === 256 || (missing.length > 0 && this.#plainToken !== undefined)) {
      throw new Unresolvable(
        `it is not byte-level: it has no tokens for ${missing.length} of 256 bytes${this.#plainToken === undefined ? '' : `, and the token ${show(this.#plainToken)} spells none`}`,
      );
    }
    return missing;
  }

  async #resolveMerges(hasUnknown: boolean): Promise<Merges> {
    const { merges, settings } = this.#vocabulary;
    const pairs = new Int32Array(2 * merges.length); // first of ids, then of symbols
    const formed = new Int32Array(merges.length);
    await forEachInTurns(merges.entries(), ([index, merge]) => {
      const space = merge.indexOf(' ');
      const left = merge.slice(0, Math.max(space, 0));
      const right = merge.slice(space + 1);
      if (left === '' || right === '' || right.includes(' ')) {
        throw new Unresolvable(`the merge ${show(merge)} does not name two tokens`);
      }
      pairs[2 * index] = this.#idOf(left, merge);
      pairs[2 * index + 1] = this.#idOf(right, merge);
      const id = this.#idOf(left + right, merge);
      if (this.#symbols[id] === -1) {
        this.#symbols[id] = firstMerge + index;
        this.#tokenOfSymbol[firstMerge + index] = id;
      }
      formed[index] = this.#symbols[id] as number;
    });
    for (const [at, id] of pairs.entries()) {
      const symbol = this.#symbols[id] as number;
      if (symbol === -1 || (hasUnknown && id === settings.unknown)) {
        const merge = merges[at >> 1];
        throw new Unresolvable(
          `the merge ${show(merge)} joins ${show(this.#vocabulary.tokens[id])}, which is not formed of bytes`,
        );
      }
      pairs[at] = symbol;
    }
    return { pairs, formed };
  }

  #idOf(token: string, merge: string): number {
    const id = this.#ids.get(token);
    if (id !== undefined) return id;
    throw new Unresolvable(
      `the merge ${show(merge)} needs the token ${show(token)}, which the vocabulary lacks`,
    );
  }
}
