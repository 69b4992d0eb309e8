import { invalidArgument, show } from './arguments.js';
import { Gpt2Error } from './errors.js';
import type { Tokenizer } from './tokenizer/tokenizer.js';

/** Text, or token ids. The empty text means: start from `<|endoftext|>`. */
export type Input = string | readonly number[] | Uint32Array | Int32Array;

/** What can be checked of an input before its turn: token ids, copied, or a text that is still to be tokenized. */
export function checkInput(
  input: Input,
  tokenizer: Tokenizer,
  contextLength: number,
): Uint32Array | string {
  if (typeof input === 'string') {
    // Refused without tokenizing it, which would take long.
    if (input.length > contextLength * tokenizer.longestToken) {
      throw new Gpt2Error(
        'CONTEXT_OVERFLOW',
        `Expected at most ${contextLength} tokens, the context length, but received a text of ${input.length} characters, which is more`,
      );
    }
    const { endOfText } = tokenizer; // throws if there is no tokenizer
    return input === '' ? Uint32Array.of(endOfText) : input;
  }
  if (!Array.isArray(input) && !(input instanceof Uint32Array) && !(input instanceof Int32Array)) {
    throw invalidArgument('text or an array of token ids', input);
  }
  if (input.length > contextLength) {
    throw new Gpt2Error(
      'CONTEXT_OVERFLOW',
      `Expected at most ${contextLength} tokens, the context length, but received ${input.length}`,
    );
  }
  for (let index = 0; index < input.length; index++) {
    const token = input[index];
    if (
      !Number.isInteger(token) ||
      (token as number) < 0 ||
      (token as number) >= tokenizer.vocabSize
    ) {
      throw new Gpt2Error(
        'TOKEN_OUT_OF_RANGE',
        `Expected token ids to be whole numbers from 0 to ${tokenizer.vocabSize - 1} but received ${show(token)} at index ${index}`,
      );
    }
  }
  return Uint32Array.from(input);
}

export function checkSome(tokens: Uint32Array | string): void {
  if (tokens.length > 0) return;
  throw new Gpt2Error('INVALID_ARGUMENT', 'Expected at least one token but received none');
}
