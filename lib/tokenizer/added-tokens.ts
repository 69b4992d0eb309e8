import { TextEncoder } from 'node:util';
import type { NativeAddedTokens } from '../native/types.js';
import { spelledBytes } from './byte-spelling.js';
import { endOfTextId, endOfTextToken } from './gpt2-vocabulary.js';
import { TokenSearch } from './token-search.js';

/** The kinds of tokens, with their numbers in GGUF's tokenizer.ggml.token_type. */
export const tokenKinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5 } as const;

// A server may alternate between a few lists of allowed tokens. More entries would only use memory.
const maxSearches = 4;

/** The tokens outside byte-pair encoding: `<|endoftext|>` and those added to GPT-2's vocabulary. */
export class AddedTokens {
  readonly #added: NativeAddedTokens;
  readonly #indexOf = new Map<number, number>();
  /** Special tokens, recognised only where they are allowed: ids by text. */
  readonly #special = new Map([[endOfTextToken, endOfTextId]]);
  /** Tokens that are always recognised: ids by text. */
  readonly #always = new Map<string, number>();
  readonly #searches = new Map<string, TokenSearch>();

  constructor(added: NativeAddedTokens) {
    this.#added = added;
    for (const [index, text] of added.texts.entries()) {
      const id = added.ids[index] as number;
      const kind = added.kinds[index];
      this.#indexOf.set(id, index);
      // If several tokens have the same text, the first one is recognised.
      if (text === '' || this.#special.has(text) || this.#always.has(text)) continue;
      if (kind === tokenKinds.control || kind === tokenKinds.unknown) this.#special.set(text, id);
      if (kind === tokenKinds.userDefined) this.#always.set(text, id);
    }
  }

  /** The bytes of an added token; undefined if the id is not one. */
  bytesOf(id: number): Uint8Array | undefined {
    const index = this.#indexOf.get(id);
    if (index === undefined) return undefined;
    return bytesOf(this.#added.texts[index] as string, this.#added.kinds[index]);
  }

  isSpecial(text: unknown): boolean {
    return (this.#special as ReadonlyMap<unknown, number>).has(text);
  }

  get specialTexts(): string[] {
    return [...this.#special.keys()];
  }

  /** The length in characters of the longest token that is always recognised; 0 if there is none. */
  get longest(): number {
    let longest = 0;
    for (const text of this.#always.keys()) longest = Math.max(longest, text.length);
    return longest;
  }

  /** Returns a search for the recognised tokens; undefined if there are none. */
  search(allowedSpecial: 'all' | readonly string[]): TokenSearch | undefined {
    if (allowedSpecial.length === 0 && this.#always.size === 0) return undefined;
    const key = JSON.stringify(allowedSpecial);
    let search = this.#searches.get(key);
    if (!search) {
      if (this.#searches.size === maxSearches) this.#searches.clear();
      const allowed = allowedSpecial === 'all' ? this.specialTexts : allowedSpecial;
      const special = allowed.map((text) => [text, this.#special.get(text) as number] as const);
      search = new TokenSearch(new Map([...this.#always, ...special]));
      this.#searches.set(key, search);
    }
    return search;
  }
}

/**
 * As in llama.cpp, the text of a normal token spells bytes, and the text of all other tokens is plain. Some programs do
 * not distinguish the two: if the text of a normal token is not a spelling of bytes, it is plain as well.
 */
function bytesOf(text: string, kind: number | undefined): Uint8Array {
  const spelled = kind === tokenKinds.normal ? spelledBytes(text) : undefined;
  return spelled ?? new TextEncoder().encode(text);
}
