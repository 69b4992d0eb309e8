import type { NativeAddedTokens } from '../native/types.js';
import { bytesOfToken } from './token-bytes.js';
import { TokenSearch } from './token-search.js';
import { tokenKinds } from './vocabulary.js';

// A server may alternate between a few lists of allowed tokens. More entries would only use memory.
const maxSearches = 4;

/** The tokens outside byte-pair encoding: special ones and those that were added to a vocabulary. */
export class AddedTokens {
  readonly #added: NativeAddedTokens;
  readonly #indexOf = new Map<number, number>();
  /** Special tokens, recognised only where they are allowed: ids by text. */
  readonly #special: Map<string, number>;
  /** Tokens that are always recognised: ids by text. */
  readonly #always = new Map<string, number>();
  readonly #searches = new Map<string, TokenSearch>();

  /** @param special special tokens besides, by text */
  constructor(added: NativeAddedTokens, special?: Iterable<[string, number]>) {
    this.#added = added;
    this.#special = new Map(special);
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
    return bytesOfToken(this.#added.texts[index] as string, this.#added.kinds[index]);
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
