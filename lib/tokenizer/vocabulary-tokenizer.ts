import { Gpt2Error } from '../errors.js';
import { eventLoopTurn } from '../event-loop.js';
import type { NativeAddedTokens } from '../native/types.js';
import { AddedTokens } from './added-tokens.js';
import { BytePairEncoder } from './byte-pair-encoder.js';
import { type ResolvedVocabulary, resolveVocabulary } from './resolve-vocabulary.js';
import type { TokenBytes } from './token-bytes.js';
import { BytePairTokenizer, type Tokenizer } from './tokenizer.js';
import { isPadding, namedEndOfText, tokenKinds, type Vocabulary } from './vocabulary.js';

// Limits of the tokens beside words: their number, and their characters, 16 per token.
const maxTokensBesideWords = 16_384;
const maxCharactersBesideWords = 262_144;

/**
 * Returns the tokenizer for any byte-level BPE vocabulary; the reason in words, if text cannot be encoded with it.
 */
export async function tokenizerOf(
  vocabSize: number,
  vocabulary: Vocabulary,
): Promise<Tokenizer | string> {
  const added = tokensBesideWords(vocabulary);
  const { texts } = added;
  const characters = texts.reduce((sum, text) => sum + text.length, 0);
  if (texts.length > maxTokensBesideWords || characters > maxCharactersBesideWords) {
    return `its ${texts.length} special and added tokens are too many, or their names are too long`;
  }
  const resolved = await resolveVocabulary(vocabulary);
  return typeof resolved === 'string'
    ? resolved
    : new VocabularyTokenizer(vocabSize, added, vocabulary, resolved);
}

/** Byte-level BPE with any vocabulary. */
class VocabularyTokenizer extends BytePairTokenizer {
  readonly longestToken: number;
  readonly #endOfText: number | undefined;
  readonly #startOfText: number | undefined;
  readonly #tokenBytes: TokenBytes;
  /** What the encoder is built from. */
  readonly #resolved: ResolvedVocabulary;
  #encoder: BytePairEncoder | undefined;

  constructor(
    vocabSize: number,
    added: NativeAddedTokens,
    { tokens, settings }: Vocabulary,
    resolved: ResolvedVocabulary,
  ) {
    super(vocabSize, new AddedTokens(added), settings);
    this.longestToken = Math.max(resolved.longestToken, this.added.longest);
    this.#endOfText = settings.endOfText ?? namedEndOfText(tokens);
    this.#startOfText = settings.startOfText ?? this.#endOfText;
    this.#tokenBytes = resolved.tokenBytes;
    this.#resolved = resolved;
  }

  get endOfText(): number {
    return this.#require(this.#endOfText, 'ends');
  }

  get startOfText(): number {
    return this.#require(this.#startOfText, 'starts');
  }

  #require(id: number | undefined, role: string): number {
    if (id !== undefined) return id;
    throw new Gpt2Error(
      'TOKENIZER_MISSING',
      `The vocabulary of this model has no token that ${role} a text: begin with a text or with token ids`,
    );
  }

  protected get encoder(): BytePairEncoder {
    const { merges, symbolOfByte, tokenOfSymbol } = this.#resolved;
    this.#encoder ??= new BytePairEncoder(merges, symbolOfByte, tokenOfSymbol);
    return this.#encoder;
  }

  protected async prepare(): Promise<void> {
    if (this.#encoder) return;
    void this.encoder;
    await eventLoopTurn();
  }

  protected bytesOf(id: number): Uint8Array {
    return this.#tokenBytes.of(id);
  }
}

/** The tokens of a vocabulary that are special or always recognised. */
function tokensBesideWords({ tokens, kinds }: Vocabulary): NativeAddedTokens {
  const ids: number[] = [];
  for (const [id, text] of tokens.entries()) {
    if (kinds[id] !== tokenKinds.normal && !isPadding(text, id, kinds[id])) ids.push(id);
  }
  return {
    ids: Float64Array.from(ids),
    kinds: Int32Array.from(ids, (id) => kinds[id] as number),
    texts: ids.map((id) => tokens[id] as string),
  };
}
