import { checkInteger, checkNumber, checkOptions, checkSignal } from './arguments.js';
import { type AbortSignalLike, LinkedSignal } from './native/abort.js';
import { callNative } from './native/native-call.js';
import type {
  NativeCancellation,
  NativeGenerateOptions,
  NativeGeneration,
} from './native/types.js';
import { TextStreamDecoder, type Tokenizer } from './tokenizer/tokenizer.js';

export interface GenerateOptions {
  /** The maximum number of new tokens. Default 128. The context length limits them too. */
  maxTokens?: number;
  /** Divides the logits before sampling. 0 always selects the likeliest token. Default 1. */
  temperature?: number;
  /** Samples from the k likeliest tokens. Default 0: from all. */
  topK?: number;
  /** Samples from the smallest set of likeliest tokens with a total probability of p, after topK. Default 1: all. */
  topP?: number;
  /** Same seed and input: same text. Default: a random one, which the result contains. */
  seed?: number;
  /** Aborts the call within one token. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
}

export interface Generation {
  /** The new text. Empty for a model without a tokenizer. */
  text: string;
  /** The new tokens, without a final end-of-text token. */
  tokens: Uint32Array;
  /**
   * 'length': maxTokens or the context length was reached. 'endOfText': the model generated `<|endoftext|>` or another
   * token that the model's files name as the end of a text.
   */
  finishReason: 'length' | 'endOfText';
  seed: number;
  usage: {
    promptTokens: number;
    completionTokens: number;
    /** Prompt tokens that were not evaluated: the session has their keys and values, or shares another sequence's. */
    cachedTokens: number;
  };
  timings: {
    /** The evaluation of the prompt. */
    promptMs: number;
    /** From the start to the first new token. */
    firstTokenMs: number;
    totalMs: number;
    /** New tokens per second, without the first; 0 for fewer than two. */
    tokensPerSecond: number;
  };
}

/** A part of a stream: text of whole characters, and its tokens. */
export interface GenerationPart {
  text: string;
  tokens: number[];
}

/** @internal Checked options with defaults. */
export interface GenerationSettings {
  native: NativeGenerateOptions;
  signal: AbortSignal | undefined;
}

/** @internal */
export function generationSettings(
  call: string,
  options: GenerateOptions | undefined,
): GenerationSettings {
  const {
    maxTokens = 128,
    temperature = 1,
    topK = 0,
    topP = 1,
    seed = Math.floor(Math.random() * 2 ** 32),
    signal,
  } = checkOptions(call, options, ['maxTokens', 'temperature', 'topK', 'topP', 'seed', 'signal']);
  return {
    native: {
      maxTokens: checkInteger('maxTokens', maxTokens, 0, Number.MAX_SAFE_INTEGER),
      temperature: checkNumber(
        'temperature',
        temperature,
        (value) => value >= 0 && value < Number.POSITIVE_INFINITY,
        'a number of at least 0',
      ),
      topK: checkInteger('topK', topK, 0, Number.MAX_SAFE_INTEGER),
      topP: checkNumber(
        'topP',
        topP,
        (value) => value > 0 && value <= 1,
        'a number above 0 and at most 1',
      ),
      seed: checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER),
    },
    signal: checkSignal(signal),
  };
}

/** One run of the native decode loop. */
export type NativeRun = (
  onToken: (token: number) => void,
  cancellation?: NativeCancellation,
) => Promise<NativeGeneration>;

/** @internal Runs the decode loop to its end and returns the result. */
export async function runToEnd(
  run: NativeRun,
  settings: GenerationSettings,
  tokenizer: Tokenizer | undefined,
): Promise<Generation> {
  const tokens: number[] = [];
  const native = await callNative(settings.signal, (cancellation) =>
    run((token) => tokens.push(token), cancellation),
  );
  const { promptTokens, cachedTokens, completionTokens, finishReason } = native;
  const { promptMs, firstTokenMs, totalMs } = native;
  return {
    text: tokenizer?.decode(tokens) ?? '',
    tokens: Uint32Array.from(tokens),
    finishReason,
    seed: settings.native.seed,
    usage: { promptTokens, completionTokens, cachedTokens },
    timings: {
      promptMs,
      firstTokenMs,
      totalMs,
      tokensPerSecond:
        completionTokens > 1 ? ((completionTokens - 1) * 1000) / (totalMs - firstTokenMs) : 0,
    },
  };
}

/**
 * @internal Runs the decode loop and yields the result part by part. Leaving the loop over the parts early stops the run.
 *
 * @param onPart receives the number of tokens of a part before the part is yielded
 */
export async function* streamParts(
  run: NativeRun,
  settings: GenerationSettings,
  tokenizer: Tokenizer | undefined,
  onPart: (count: number) => void,
): AsyncGenerator<GenerationPart, void, void> {
  const decoder = tokenizer && new TextStreamDecoder(tokenizer);
  const arrived: number[] = [];
  let wake = () => {};
  let ended = false;

  // Aborted by the caller's signal, and at the end of the loop.
  const stop = new LinkedSignal(settings.signal);
  const running = callNative(stop.signal, (cancellation) =>
    run((token) => {
      arrived.push(token);
      wake();
    }, cancellation),
  ).finally(() => {
    ended = true;
    wake();
  });
  running.catch(() => {}); // awaited below, unless the loop is left early

  try {
    let pending: number[] = []; // their bytes end within a character
    while (true) {
      if (arrived.length > 0) {
        const tokens = arrived.splice(0);
        pending.push(...tokens);
        onPart(tokens.length);
        const text = tokens.map((token) => decoder?.write(token) ?? '').join('');
        if (text !== '' || !decoder) {
          yield { text, tokens: pending };
          pending = [];
        }
      } else if (ended) {
        break;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    await running;
    if (pending.length > 0) yield { text: decoder?.end() ?? '', tokens: pending };
  } finally {
    stop.abort();
    stop.unlink();
    await running.catch(() => {});
  }
}
