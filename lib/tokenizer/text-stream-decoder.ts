import { TextDecoder } from 'node:util';

/** What spells tokens. */
export interface TokenSpeller {
  decodeToken(token: number): Uint8Array;
}

/** Decodes a stream of tokens. Holds back the bytes of a character until it is complete. */
export class TextStreamDecoder {
  readonly #tokenizer: TokenSpeller;
  // ignoreBOM keeps a leading U+FEFF, which is an ordinary character here.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(tokenizer: TokenSpeller) {
    this.#tokenizer = tokenizer;
  }

  /** Returns the characters that this token completes, if any. */
  write(token: number): string {
    return this.#decoder.decode(this.#tokenizer.decodeToken(token), {
      stream: true,
    });
  }

  /** Returns U+FFFD if the stream ended within a character, otherwise an empty string. */
  end(): string {
    return this.#decoder.decode();
  }
}
