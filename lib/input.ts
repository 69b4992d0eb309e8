import { types } from 'node:util';
import { invalidArgument, show } from './arguments.js';
import { Gpt2Error } from './errors.js';
import { checkHasTokenizer, type Tokenizer } from './tokenizer/tokenizer.js';

/** Text or token ids. Empty text stands for the token that starts a text, `<|endoftext|>` in GPT-2's vocabulary. */
export type Input = string | readonly number[] | Uint32Array | Int32Array;

/**
 * Checks an input as far as possible without tokenizing it. Copies token ids, since the caller may change them.
 *
 * @throws INVALID_ARGUMENT, TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW, TOKENIZER_MISSING
 */
export function checkInput(
  input: Input,
  tokenizer: Tokenizer,
  contextLength: number,
): Uint32Array | string {
  if (typeof input === 'string') {
    // Checked first, since tokenizing such a text takes long.
    if (input.length > contextLength * tokenizer.longestToken) throw tooLong(input, contextLength);
    checkHasTokenizer(tokenizer);
    return input === '' ? Uint32Array.of(tokenizer.startOfText) : input;
  }
  // These checks hold for arrays of any realm, which instanceof does not.
  if (!Array.isArray(input) && !types.isUint32Array(input) && !types.isInt32Array(input)) {
    throw invalidArgument('text or an array of token ids', input);
  }
  if (input.length > contextLength) {
    throw new Gpt2Error(
      'CONTEXT_OVERFLOW',
      `Expected at most ${contextLength} tokens, the context length, but received ${input.length}`,
    );
  }
  return checkTokenIds(input, tokenizer);
}

/** @throws TOKEN_OUT_OF_RANGE */
export function checkTokenIds(
  input: readonly number[] | Uint32Array | Int32Array,
  { vocabSize }: Tokenizer,
): Uint32Array {
  for (let index = 0; index < input.length; index++) {
    const token = input[index];
    if (!Number.isInteger(token) || (token as number) < 0 || (token as number) >= vocabSize) {
      throw new Gpt2Error(
        'TOKEN_OUT_OF_RANGE',
        `Expected token ids to be whole numbers from 0 to ${vocabSize - 1} but received ${show(token)} at index ${index}`,
      );
    }
  }
  return Uint32Array.from(input);
}

/** The error for a text of more tokens than the context length. */
export function tooLong(text: string, contextLength: number): Gpt2Error {
  return new Gpt2Error(
    'CONTEXT_OVERFLOW',
    `Expected at most ${contextLength} tokens, the context length, but received a text of ${text.length} characters, which has more`,
  );
}

/** Checks that an input has at least one token or character. */
export function checkNotEmpty(tokens: Uint32Array | string): void {
  if (tokens.length > 0) return;
  throw new Gpt2Error('INVALID_ARGUMENT', 'Expected at least one token but received none');
}
