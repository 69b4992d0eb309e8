// The entry gpt2-native/tokenizer, which does not load the addon.

import { Gpt2Tokenizer, type Tokenizer } from './tokenizer/tokenizer.js';

export { type ErrorCode, Gpt2Error } from './errors.js';
export { loadTokenizer } from './load-tokenizer.js';
export type { UrlLike } from './source.js';
export type { TokenSpans } from './tokenizer/token-spans.js';
export type { EncodeOptions, Tokenizer } from './tokenizer/tokenizer.js';

/** GPT-2's own tokenizer. */
export const gpt2Tokenizer: Tokenizer = new Gpt2Tokenizer();
