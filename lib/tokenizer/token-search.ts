interface Token {
  text: string;
  id: number;
}

const root = 0;
const charactersUntilPause = 4096;

function edge(node: number, unit: number): number {
  return node * 0x1_0000 + unit;
}

/**
 * Splits text at added tokens. The earliest match wins, and the longest of those that start at the same position.
 *
 * This is the automaton of Aho and Corasick ("Efficient string matching", 1975) for the reversed tokens, run over the
 * text from end to start: at each position it finds the longest token that starts there. It takes amortised constant
 * time per character, no matter how many tokens there are or how they overlap.
 */
export class TokenSearch {
  // A trie of the reversed tokens with numbered nodes. Edges are labelled with UTF-16 code units.
  readonly #children = new Map<number, number>();
  /** The failure link of each node: the node of its longest proper suffix in the trie. */
  readonly #suffix: number[] = [root];
  /** The longest token that is a suffix of each node's characters. */
  readonly #longest: (Token | undefined)[] = [undefined];

  /** @param tokens ids by text; no text may be empty */
  constructor(tokens: ReadonlyMap<string, number>) {
    let growing = Array.from(tokens, ([text, id]) => ({ text, id, node: root }));
    // Breadth first: the suffix of a node is shorter, so it exists already.
    for (let length = 1; growing.length > 0; length++) {
      for (const branch of growing) {
        const unit = branch.text.charCodeAt(branch.text.length - length);
        branch.node = this.#children.get(edge(branch.node, unit)) ?? this.#grow(branch.node, unit);
        if (branch.text.length === length) this.#longest[branch.node] = branch;
      }
      growing = growing.filter(({ text }) => text.length > length);
    }
  }

  #grow(parent: number, unit: number): number {
    const suffix = parent === root ? root : this.#step(this.#suffix[parent] as number, unit);
    const node = this.#suffix.push(suffix) - 1;
    this.#longest.push(this.#longest[suffix]);
    this.#children.set(edge(parent, unit), node);
    return node;
  }

  #step(from: number, unit: number): number {
    for (let node = from; ; node = this.#suffix[node] as number) {
      const child = this.#children.get(edge(node, unit));
      if (child !== undefined) return child;
      if (node === root) return root;
    }
  }

  /**
   * Yields the text between tokens, and the tokens as ids, in order. Before them, yields undefined now and then, so that
   * the caller can pause.
   */
  *split(text: string): Generator<string | number | undefined, void, undefined> {
    const found: { at: number; token: Token }[] = []; // from the end of the text to its start
    let node = root;
    for (let at = text.length - 1; at >= 0; at--) {
      node = this.#step(node, text.charCodeAt(at));
      const token = this.#longest[node];
      if (token) found.push({ at, token });
      if (at % charactersUntilPause === 0) yield undefined;
    }
    let start = 0;
    for (const { at, token } of found.reverse()) {
      if (at < start) continue; // inside the previous token
      if (at > start) yield text.slice(start, at);
      yield token.id;
      start = at + token.text.length;
    }
    if (start < text.length) yield text.slice(start);
  }
}
