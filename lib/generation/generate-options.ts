// Written by scripts/write-generate-options.mjs from option-table.ts.

import type { AbortSignalLike } from '../native/abort.js';
import type { GenerationPart, LogitsContext } from './generation.js';

/** A stage of the sampler, named as its option. */
export type SamplerName =
  | 'repetitionPenalty'
  | 'presencePenalty'
  | 'frequencyPenalty'
  | 'dry'
  | 'noRepeatNgramSize'
  | 'badWords'
  | 'logitBias'
  | 'suppressTokens'
  | 'minTokens'
  | 'forcedTokens'
  | 'temperature'
  | 'topNSigma'
  | 'topK'
  | 'typicalP'
  | 'topP'
  | 'minP'
  | 'xtc'
  | 'mirostat';

/** The options of generate and stream. */
export interface GenerateOptions {
  /** The maximum number of new tokens. The context length limits them too, unless `overflow` is "slide". At least 0. Default 128. */
  maxTokens?: number;
  /** Same seed and input: same text. Default: a random one, which the result contains. At least 0. */
  seed?: number;
  /** The number of samples. They share the evaluation of the prompt; the seed of each is one more than that of the sample before. 1 to 65536. Default 1. */
  n?: number;
  /** Draws so many samples and returns the n with the highest log-probability per token, the best first. Default: n, in the order of the seeds. 1 to 65536. */
  bestOf?: number;
  /** Divides the logits of tokens in the penalty window, or multiplies those that are negative. Above 1 discourages repetition. Above 0. Default 1. */
  repetitionPenalty?: number;
  /** Is subtracted from the logits of tokens in the penalty window. Default 0. */
  presencePenalty?: number;
  /** Is subtracted from a logit for each time that its token is in the penalty window. Default 0. */
  frequencyPenalty?: number;
  /** The number of last tokens, of the prompt and the new text, that the three penalties regard. Default: all. At least 1. */
  penaltyWindow?: number;
  /** DRY: subtracts multiplier · base^(L − allowedLength) from the logit of a token that would lengthen a repetition of L tokens. */
  dry?: {
    /** The penalty at the allowed length. At least 0. */
    multiplier: number;
    /** Its growth per token. At least 1. Default 1.75. */
    base?: number;
    /** The length from which repetitions are penalised. At least 1. Default 2. */
    allowedLength?: number;
    /** The number of last tokens that are regarded. Default: all. At least 1. */
    window?: number;
    /** Repetitions do not extend over tokens that contain one of these. Default ["\n",":","\"","*"]. */
    sequenceBreakers?: string | readonly string[];
  };
  /** Removes tokens that would complete a sequence of so many tokens which the text has already. 0: none. At least 0. Default 0. */
  noRepeatNgramSize?: number;
  /** Strings and token sequences that the new text never completes. A string is recognised wherever it begins and ends within tokens. */
  badWords?: readonly (string | readonly number[] | Uint32Array)[];
  /** Is added to logits, by token id or text; −Infinity removes a token. A key of digits is an id. A text of several tokens changes its last token where the others precede. */
  logitBias?: Readonly<Record<string | number, number>>;
  /** Tokens that are never sampled. */
  suppressTokens?: readonly number[] | Uint32Array;
  /** The minimum number of new tokens. Before, no end-of-text or stop token is sampled, and no stop string counts that ends there. At least 0. Default 0. */
  minTokens?: number;
  /** The first new tokens. */
  forcedTokens?: readonly number[] | Uint32Array;
  /** Divides the logits. 0 always selects the likeliest token. At least 0. Default 1. */
  temperature?: number;
  /** Keeps the tokens whose logits are within n standard deviations of the largest. Default: all. Above 0. */
  topNSigma?: number;
  /** Keeps the k likeliest tokens. 0: all. At least 0. Default 0. */
  topK?: number;
  /** Keeps the smallest set of tokens with a total probability of p whose surprisals are closest to the entropy. 1: all. Above 0, at most 1. Default 1. */
  typicalP?: number;
  /** Keeps the smallest set of likeliest tokens with a total probability of p. 1: all. Above 0, at most 1. Default 1. */
  topP?: number;
  /** Keeps the tokens with at least p times the largest probability. 0: all. 0 to 1. Default 0. */
  minP?: number;
  /** XTC (exclude top choices): with a probability, removes all tokens that reach a threshold but the least likely of them. */
  xtc?: {
    /** How often this happens. 0 to 1. */
    probability: number;
    /** The probability from which a token is a top choice. Above 0, at most 1. Default 0.1. */
    threshold?: number;
  };
  /** Mirostat 2: keeps the tokens below a limit of surprisal, which moves so that the text has a surprisal of tau per token. */
  mirostat?: {
    /** The surprisal, in bits. Above 0. Default 5. */
    tau?: number;
    /** How fast the limit moves. 0 to 1. Default 0.1. */
    eta?: number;
  };
  /** The stages to apply, in this order. Default: the order above. An option of a stage that is left out is an error. */
  samplers?: readonly (SamplerName | (string & {}))[];
  /** Changes the logits in place, before all stages; −Infinity removes a token. What it throws rejects the call. It must not await a call on the same session, which waits for it. */
  logitsProcessor?: (logits: Float32Array, context: LogitsContext) => void | Promise<void>;
  /** Strings that end the text before them. They are found across the borders of tokens, by their bytes in UTF-8, of which each has fewer than the context has tokens. */
  stop?: string | readonly string[];
  /** Tokens that end the text before them. */
  stopTokens?: readonly number[] | Uint32Array;
  /** Ends the text after a part for which it returns true. What it throws rejects the call. */
  stopWhen?: (part: GenerationPart) => boolean;
  /** Ends the text when so many milliseconds have passed. At least 0. */
  timeBudgetMs?: number;
  /** Goes on after an end-of-text token, which is then part of the text. */
  ignoreEndOfText?: boolean;
  /** What to do when the context is full: fail, end the text, or drop the first half of the context and evaluate the rest again. A prompt longer than the context is an error in any case. Default "stop". */
  overflow?: 'error' | 'stop' | 'slide';
  /** Aborts the call within one token. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
  /** Returns the log-probability of each new token, in nats. */
  logprobs?: boolean;
  /** Returns so many of the likeliest tokens for each new one, with their log-probabilities, and those of the new tokens. At least 0. */
  topLogprobs?: number;
  /** The distribution of the log-probabilities: the model's own, or the one that was sampled from, after all stages. Default "model". */
  logprobsFrom?: 'model' | 'sampler';
  /** Receives the parts of the text as they are generated, with the index of their prompt. What it throws rejects the call. Not with several samples. */
  onPart?: (index: number, part: GenerationPart) => void;
}
