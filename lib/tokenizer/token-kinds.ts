/** What a token is, in the numbers of GGUF's tokenizer.ggml.token_type. */
export const tokenKinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5 } as const;
