/** A byte-level BPE vocabulary in the spelling of Hugging Face and GGUF: bytes as printable characters. */
export interface Vocabulary {
  /** By id. */
  tokens: readonly string[];
  /** GGUF's token types (`tokenizer.ggml.token_type`), by id. */
  kinds: ArrayLike<number>;
  /** Pairs `left right`, by rank. */
  merges: readonly string[];
  settings: TokenizerSettings;
}

/** The largest vocabulary that text is encoded with. */
export const maxTokens = 2 ** 18;

/** What a tokenizer's files say beside its tokens and merges. */
export interface TokenizerSettings {
  /** Whether a space is put in front of a text that does not begin with one. */
  readonly addsPrefixSpace: boolean;
  /** The ids that `addSpecial` puts in front of a text and after it. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** The id that starts a text from nothing, and the one that ends a text. */
  readonly startOfText: number | undefined;
  readonly endOfText: number | undefined;
  /** The token of bytes that have none. Without it, they are left out. */
  readonly unknown: number | undefined;
}

/** Those of GPT-2's own tokenizer, in which every byte has a token. */
export const plainSettings: TokenizerSettings = {
  addsPrefixSpace: false,
  before: [],
  after: [],
  startOfText: undefined,
  endOfText: undefined,
  unknown: undefined,
};

/** The kinds of tokens, with their numbers in GGUF's tokenizer.ggml.token_type. */
export const tokenKinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5 } as const;

/** Whether a token pads the vocabulary up to the size of the embedding. llama.cpp's converter writes [PAD<id>]. */
export function isPadding(text: string, id: number, kind: number | undefined): boolean {
  return kind === tokenKinds.unused || (text.startsWith('[PAD') && text === `[PAD${id}]`);
}

// The names that programs give to the token that separates documents.
const namesOfEnd = ['<|endoftext|>', '</s>', '<|end_of_text|>'];

/** The id of the token that separates documents, by its usual names. */
export function namedEndOfText(tokens: readonly string[]): number | undefined {
  for (const name of namesOfEnd) {
    const id = tokens.indexOf(name);
    if (id !== -1) return id;
  }
  return undefined;
}
