import { TextStreamDecoder, type TokenSpeller } from './text-stream-decoder.js';
import { GrowingArray } from './typed-memory.js';

/** Where tokens begin, and the text that they spell. */
export interface TokenSpans {
  text: string;
  /** In UTF-16 code units, [tokens]. A token within a character begins where that does. */
  offsets: Uint32Array;
  /** In bytes of UTF-8, [tokens]. Those of a token that is no whole character count too. */
  byteOffsets: Uint32Array;
  /** Of all tokens. */
  byteCount: number;
}

/** Finds where tokens begin in their text: the bytes of a character become text with the token that completes it. */
export class SpanFinder {
  readonly #tokenizer: TokenSpeller;
  readonly #decoder: TextStreamDecoder;
  readonly #parts: string[] = [];
  readonly #offsets = new GrowingArray((length) => new Uint32Array(length));
  readonly #byteOffsets = new GrowingArray((length) => new Uint32Array(length));
  #length = 0;
  #byteCount = 0;

  constructor(tokenizer: TokenSpeller) {
    this.#tokenizer = tokenizer;
    this.#decoder = new TextStreamDecoder(tokenizer);
  }

  add(token: number): void {
    this.#offsets.push(this.#length);
    this.#byteOffsets.push(this.#byteCount);
    const part = this.#decoder.write(token);
    this.#parts.push(part);
    this.#length += part.length;
    this.#byteCount += this.#tokenizer.decodeToken(token).length;
  }

  end(): TokenSpans {
    return {
      text: this.#parts.join('') + this.#decoder.end(),
      offsets: this.#offsets.view().slice(),
      byteOffsets: this.#byteOffsets.view().slice(),
      byteCount: this.#byteCount,
    };
  }
}
