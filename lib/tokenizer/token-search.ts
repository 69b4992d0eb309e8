interface Token {
  text: string;
  id: number;
}

const root = 0;

function edge(node: number, unit: number): number {
  return node * 0x1_0000 + unit;
}

/**
 * Cuts texts at tokens that are recognised whole. At each place the earliest wins, and of those that begin
 * there the longest.
 *
 * This is the automaton of Aho and Corasick ("Efficient string matching", 1975), run over the text from its end
 * to its start with the tokens read backwards: what it finds at a place is the longest token that begins there.
 * It takes one step for each character, however many tokens there are and however much they overlap.
 */
export class TokenSearch {
  // The tokens, read backwards, as a tree of numbered nodes. From a node, a UTF-16 code unit leads to a child.
  readonly #children = new Map<number, number>();
  /** of each node: the node of the longest proper suffix of its characters that is in the tree */
  readonly #suffix: number[] = [root];
  /** of each node: the longest token that its characters end with */
  readonly #longest: (Token | undefined)[] = [undefined];

  /** @param tokens ids by text, which must not be empty */
  constructor(tokens: ReadonlyMap<string, number>) {
    let growing = Array.from(tokens, ([text, id]) => ({ text, id, node: root }));
    // All tokens by one character, then by the next: a node's suffix is shorter, so it is there by then.
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

  /** The texts between the tokens, and the tokens as their ids, in the order of the text. */
  *split(text: string): Generator<string | number, void, undefined> {
    const found: { at: number; token: Token }[] = []; // the last of the text first
    let node = root;
    for (let at = text.length - 1; at >= 0; at--) {
      node = this.#step(node, text.charCodeAt(at));
      const token = this.#longest[node];
      if (token) found.push({ at, token });
    }
    let start = 0;
    for (const { at, token } of found.reverse()) {
      if (at < start) continue; // within the token before
      if (at > start) yield text.slice(start, at);
      yield token.id;
      start = at + token.text.length;
    }
    if (start < text.length) yield text.slice(start);
  }
}
