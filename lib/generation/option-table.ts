// The options of generate and stream, each declared once. From this table follow the checks (check-options.ts), the type
// and its documentation (generate-options.ts and docs/api.md, written by scripts/write-generate-options.mjs), the options
// of the command and what the engine's stages receive (sampler-stages.ts). It imports nothing, so that a script can run it.

interface Described {
  /** Its first sentence is the help of the command. */
  readonly help: string;
  /** Not an option of the command. */
  readonly isCode?: true;
}

/** A number within a range. `above`: min itself is excluded. */
export interface NumberSpec extends Described {
  readonly kind: 'integer' | 'number';
  readonly min: number;
  readonly max?: number;
  readonly above?: true;
  readonly default?: number;
}

/** The setting of a sampler stage: its key in the engine. The default has no effect. */
interface StageNumberSpec extends NumberSpec {
  readonly stage: string;
  /** Whether the stage regards the last `penaltyWindow` tokens. */
  readonly hasWindow?: true;
}

/** The settings of a sampler stage. Without a default, a field is required. */
export interface StageObjectSpec extends Described {
  readonly kind: 'object';
  readonly stage: true;
  readonly fields: Readonly<Record<string, NumberSpec | TextsSpec>>;
}

export interface TextsSpec extends Described {
  readonly kind: 'texts';
  readonly default?: readonly string[];
}

interface StageListSpec extends Described {
  readonly kind: 'tokens' | 'words' | 'biases';
  readonly stage?: true;
}

interface ChoiceSpec extends Described {
  readonly kind: 'choice';
  readonly choices: readonly string[];
  readonly default: string;
}

interface OtherSpec extends Described {
  readonly kind: 'boolean' | 'samplers';
}

interface CodeSpec extends Described {
  readonly kind: 'function' | 'signal';
  readonly isCode: true;
  /** the type of a function */
  readonly signature?: string;
}

export type OptionSpec =
  | NumberSpec
  | StageNumberSpec
  | StageObjectSpec
  | TextsSpec
  | StageListSpec
  | ChoiceSpec
  | OtherSpec
  | CodeSpec;

const window = { kind: 'integer', min: 1 } as const;

export const optionTable = {
  maxTokens: {
    kind: 'integer',
    min: 0,
    default: 128,
    help: 'The maximum number of new tokens. The context length limits them too, unless `overflow` is "slide".',
  },
  seed: {
    kind: 'integer',
    min: 0,
    help: 'Same seed and input: same text. Default: a random one, which the result contains.',
  },
  n: {
    kind: 'integer',
    min: 1,
    max: 65_536,
    default: 1,
    help: 'The number of samples. They share the evaluation of the prompt; the seed of each is one more than that of the sample before.',
  },
  bestOf: {
    kind: 'integer',
    min: 1,
    max: 65_536,
    help: 'Draws so many samples and returns the n with the highest log-probability per token, the best first. Default: n, in the order of the seeds.',
  },

  // ---- sampling, in the order in which the stages are applied by default
  repetitionPenalty: {
    kind: 'number',
    min: 0,
    above: true,
    default: 1,
    stage: 'penalty',
    hasWindow: true,
    help: 'Divides the logits of tokens in the penalty window, or multiplies those that are negative. Above 1 discourages repetition.',
  },
  presencePenalty: {
    kind: 'number',
    min: Number.NEGATIVE_INFINITY,
    above: true,
    default: 0,
    stage: 'penalty',
    hasWindow: true,
    help: 'Is subtracted from the logits of tokens in the penalty window.',
  },
  frequencyPenalty: {
    kind: 'number',
    min: Number.NEGATIVE_INFINITY,
    above: true,
    default: 0,
    stage: 'penalty',
    hasWindow: true,
    help: 'Is subtracted from a logit for each time that its token is in the penalty window.',
  },
  penaltyWindow: {
    ...window,
    help: 'The number of last tokens, of the prompt and the new text, that the three penalties regard. Default: all.',
  },
  dry: {
    kind: 'object',
    stage: true,
    help: 'DRY: subtracts multiplier · base^(L − allowedLength) from the logit of a token that would lengthen a repetition of L tokens.',
    fields: {
      multiplier: { kind: 'number', min: 0, help: 'The penalty at the allowed length.' },
      base: { kind: 'number', min: 1, default: 1.75, help: 'Its growth per token.' },
      allowedLength: {
        kind: 'integer',
        min: 1,
        default: 2,
        help: 'The length from which repetitions are penalised.',
      },
      window: { ...window, help: 'The number of last tokens that are regarded. Default: all.' },
      sequenceBreakers: {
        kind: 'texts',
        default: ['\n', ':', '"', '*'],
        help: 'Repetitions do not extend over tokens that contain one of these.',
      },
    },
  },
  noRepeatNgramSize: {
    kind: 'integer',
    min: 0,
    default: 0,
    stage: 'size',
    help: 'Removes tokens that would complete a sequence of so many tokens which the text has already. 0: none.',
  },
  badWords: {
    kind: 'words',
    stage: true,
    help: 'Strings and token sequences that the new text never completes. A string is recognised wherever it begins and ends within tokens.',
  },
  logitBias: {
    kind: 'biases',
    stage: true,
    help: 'Is added to logits, by token id or text; −Infinity removes a token. A key of digits is an id. A text of several tokens changes its last token where the others precede.',
  },
  suppressTokens: {
    kind: 'tokens',
    stage: true,
    help: 'Tokens that are never sampled.',
  },
  minTokens: {
    kind: 'integer',
    min: 0,
    default: 0,
    stage: 'count',
    help: 'The minimum number of new tokens. Before, no end-of-text or stop token is sampled, and no stop string counts that ends there.',
  },
  forcedTokens: {
    kind: 'tokens',
    stage: true,
    help: 'The first new tokens.',
  },
  temperature: {
    kind: 'number',
    min: 0,
    default: 1,
    stage: 'temperature',
    help: 'Divides the logits. 0 always selects the likeliest token.',
  },
  topNSigma: {
    kind: 'number',
    min: 0,
    above: true,
    stage: 'n',
    help: 'Keeps the tokens whose logits are within n standard deviations of the largest. Default: all.',
  },
  topK: {
    kind: 'integer',
    min: 0,
    default: 0,
    stage: 'k',
    help: 'Keeps the k likeliest tokens. 0: all.',
  },
  typicalP: {
    kind: 'number',
    min: 0,
    above: true,
    max: 1,
    default: 1,
    stage: 'p',
    help: 'Keeps the smallest set of tokens with a total probability of p whose surprisals are closest to the entropy. 1: all.',
  },
  topP: {
    kind: 'number',
    min: 0,
    above: true,
    max: 1,
    default: 1,
    stage: 'p',
    help: 'Keeps the smallest set of likeliest tokens with a total probability of p. 1: all.',
  },
  minP: {
    kind: 'number',
    min: 0,
    max: 1,
    default: 0,
    stage: 'p',
    help: 'Keeps the tokens with at least p times the largest probability. 0: all.',
  },
  xtc: {
    kind: 'object',
    stage: true,
    help: 'XTC (exclude top choices): with a probability, removes all tokens that reach a threshold but the least likely of them.',
    fields: {
      probability: { kind: 'number', min: 0, max: 1, help: 'How often this happens.' },
      threshold: {
        kind: 'number',
        min: 0,
        above: true,
        max: 1,
        default: 0.1,
        help: 'The probability from which a token is a top choice.',
      },
    },
  },
  mirostat: {
    kind: 'object',
    stage: true,
    help: 'Mirostat 2: keeps the tokens below a limit of surprisal, which moves so that the text has a surprisal of tau per token.',
    fields: {
      tau: { kind: 'number', min: 0, above: true, default: 5, help: 'The surprisal, in bits.' },
      eta: { kind: 'number', min: 0, max: 1, default: 0.1, help: 'How fast the limit moves.' },
    },
  },
  samplers: {
    kind: 'samplers',
    help: 'The stages to apply, in this order. Default: the order above. An option of a stage that is left out is an error.',
  },
  logitsProcessor: {
    kind: 'function',
    isCode: true,
    signature: '(logits: Float32Array, context: LogitsContext) => void | Promise<void>',
    help: 'Changes the logits in place, before all stages; −Infinity removes a token. What it throws rejects the call. It must not await a call on the same session, which waits for it.',
  },

  // ---- stopping
  stop: {
    kind: 'texts',
    help: 'Strings that end the text before them. They are found across the borders of tokens, by their bytes in UTF-8, of which each has fewer than the context has tokens.',
  },
  stopTokens: {
    kind: 'tokens',
    help: 'Tokens that end the text before them.',
  },
  stopWhen: {
    kind: 'function',
    isCode: true,
    signature: '(part: GenerationPart) => boolean',
    help: 'Ends the text after a part for which it returns true. What it throws rejects the call.',
  },
  timeBudgetMs: {
    kind: 'number',
    min: 0,
    help: 'Ends the text when so many milliseconds have passed.',
  },
  ignoreEndOfText: {
    kind: 'boolean',
    help: 'Goes on after an end-of-text token, which is then part of the text.',
  },
  overflow: {
    kind: 'choice',
    choices: ['error', 'stop', 'slide'],
    default: 'stop',
    help: 'What to do when the context is full: fail, end the text, or drop the first half of the context and evaluate the rest again. A prompt longer than the context is an error in any case.',
  },
  signal: {
    kind: 'signal',
    isCode: true,
    help: "Aborts the call within one token. It then rejects with the signal's reason.",
  },

  // ---- results
  logprobs: {
    kind: 'boolean',
    help: 'Returns the log-probability of each new token, in nats.',
  },
  topLogprobs: {
    kind: 'integer',
    min: 0,
    help: 'Returns so many of the likeliest tokens for each new one, with their log-probabilities, and those of the new tokens.',
  },
  logprobsFrom: {
    kind: 'choice',
    choices: ['model', 'sampler'],
    default: 'model',
    help: "The distribution of the log-probabilities: the model's own, or the one that was sampled from, after all stages.",
  },
  onPart: {
    kind: 'function',
    isCode: true,
    signature: '(index: number, part: GenerationPart) => void',
    help: 'Receives the parts of the text as they are generated, with the index of their prompt. What it throws rejects the call. Not with several samples.',
  },
} as const satisfies Readonly<Record<string, OptionSpec>>;

export type OptionName = keyof typeof optionTable;

type StageName = {
  [Name in OptionName]: (typeof optionTable)[Name] extends { stage: unknown } ? Name : never;
}[OptionName];

/** The options that are stages of the sampler, in their default order. */
export const stageNames = (Object.keys(optionTable) as OptionName[]).filter(
  (name): name is StageName => 'stage' in optionTable[name],
);
