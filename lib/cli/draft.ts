import { isUtf8 } from 'node:buffer';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { graphemes } from './text-columns.js';

interface Version {
  readonly text: string;
  /** Tokens after the text whose bytes are not whole characters yet. */
  readonly unfinished: readonly number[];
}

/** The text that is being written, and its earlier versions. */
export class Draft {
  readonly #tokenizer: Tokenizer;
  readonly #earlier: Version[] = [];
  #version: Version;
  #lastStep: 'typing' | 'deleting' | undefined;

  constructor(tokenizer: Tokenizer, text: string) {
    this.#tokenizer = tokenizer;
    this.#version = { text, unfinished: [] };
  }

  /** The whole characters. */
  get text(): string {
    return this.#version.text;
  }

  /** The bytes after the text that are not whole characters yet. */
  get unfinished(): Uint8Array {
    return this.#bytesOf(this.#version.unfinished);
  }

  /**
   * Whether the text ends with a space. Tokens of words include the space before the word, so it begins the next token.
   * After a token of its own, which texts seldom have, the model expects hardly any word.
   */
  get endsWithSpace(): boolean {
    return this.text.endsWith(' ') && this.#version.unfinished.length === 0;
  }

  /**
   * The tokens before the next one, or the one that starts a text if there are none. A special token may be written by its name.
   */
  tokens(): number[] {
    const text = this.#tokenizer.encode(this.#textBefore, { allowedSpecial: 'all' });
    const tokens = [...text, ...this.#version.unfinished];
    return tokens.length > 0 ? tokens : [this.#tokenizer.startOfText];
  }

  /** Appends a typed character. A word with the spaces before it is one step of `undo`. */
  type(character: string): void {
    const isNewWord = /^\s/.test(character) && !/\s$/.test(this.text);
    if (this.#lastStep !== 'typing' || isNewWord) this.#keep();
    this.#lastStep = 'typing';
    this.#append(character);
  }

  paste(text: string): void {
    this.#keep();
    this.#append(text);
  }

  /** Appends a token. After a space, it is one that begins with a space. */
  take(token: number): void {
    this.#keep();
    const text = this.#textBefore;
    const unfinished = [...this.#version.unfinished, token];
    const bytes = this.#bytesOf(unfinished);
    this.#version = isUtf8(bytes)
      ? { text: text + Buffer.from(bytes).toString(), unfinished: [] }
      : { text, unfinished };
  }

  /** Deletes the last character. Characters deleted one after the other are one step of `undo`. */
  deleteCharacter(): void {
    const { text, unfinished } = this.#version;
    if (text === '' && unfinished.length === 0) return;
    if (this.#lastStep !== 'deleting') this.#keep();
    this.#lastStep = 'deleting';
    this.#version =
      unfinished.length > 0
        ? { text, unfinished: unfinished.slice(0, -1) }
        : { text: withoutLast(text), unfinished };
  }

  undo(): void {
    this.#version = this.#earlier.pop() ?? this.#version;
    this.#lastStep = undefined;
  }

  get #textBefore(): string {
    return this.endsWithSpace ? this.text.slice(0, -1) : this.text;
  }

  #keep(): void {
    this.#earlier.push(this.#version);
    this.#lastStep = undefined;
  }

  #append(text: string): void {
    // Nothing can complete the bytes any more: they become U+FFFD.
    const before = this.text + Buffer.from(this.unfinished).toString();
    this.#version = { text: before + text, unfinished: [] };
  }

  #bytesOf(tokens: readonly number[]): Uint8Array {
    return Buffer.concat(tokens.map((token) => this.#tokenizer.decodeToken(token)));
  }
}

function withoutLast(text: string): string {
  // The end of the text has its last character, unless that has more than a hundred accents.
  const last = graphemes(text.slice(-100)).at(-1) ?? '';
  return text.slice(0, text.length - last.length);
}
