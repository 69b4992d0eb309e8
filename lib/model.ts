import { checkOptions } from './arguments.js';
import { Gpt2Error } from './errors.js';
import {
  type GenerateOptions,
  type Generation,
  type GenerationPart,
  generationSettings,
} from './generation.js';
import type { Input } from './input.js';
import type { Logits } from './logits.js';
import { LinkedSignal } from './native/abort.js';
import { asyncDispose } from './native/globals.js';
import { callNative, callNativeSync } from './native/native-call.js';
import type { Logger, NativeModel, NativeModelDescription } from './native/types.js';
import { type EvaluateOptions, Session } from './session.js';
import { Gpt2Tokenizer, type Tokenizer } from './tokenizer/tokenizer.js';

/** The sizes and types of a model. */
export interface ModelConfig {
  readonly vocabSize: number;
  /** The longest sequence, in tokens. The option `contextLength` lowers it. */
  readonly contextLength: number;
  /** The width of the residual stream. */
  readonly embeddingLength: number;
  readonly headCount: number;
  readonly layerCount: number;
  /** The width of the feed-forward layers. */
  readonly feedForwardLength: number;
  readonly layerNormEpsilon: number;
  /** The number of weights. A tied head counts once. */
  readonly parameterCount: number;
  /** The type of most of the weights, for example 'f32' or 'q8_0'. */
  readonly fileType: string;
  /** The type of keys and values in sessions. */
  readonly cacheType: 'f32' | 'f16';
  /** Whether the head is the token embedding. */
  readonly headIsTied: boolean;
}

/**
 * A GPT-2 model in memory, made by `loadModel` or `createModel`. Calls may run concurrently; the engine batches them.
 *
 * @example
 * await using model = await loadModel('gpt2.gguf');
 * const { data, shape } = await model.logits('Hello, my name is'); // shape [1, 50257]
 */
export class Model implements AsyncDisposable {
  readonly config: ModelConfig;
  /** The device that computes. */
  readonly device: 'cpu' | 'cuda' | 'metal' | 'vulkan';
  /** Threads that compute. */
  readonly threads: number;
  /** Text to token ids and back. Its calls throw TOKENIZER_MISSING if the model's files have no tokenizer. */
  readonly tokenizer: Tokenizer;
  readonly #native: NativeModel;
  /** The logger, referenced here because the addon holds it only weakly. */
  readonly logger: Logger | undefined;
  #disposing: Promise<void> | undefined;

  /** @internal Use `loadModel`. */
  constructor(
    native: NativeModel,
    description: NativeModelDescription,
    tokenizer: Tokenizer,
    logger: Logger | undefined,
  ) {
    const { device, threads, vocabulary: _, ...config } = description;
    this.#native = native;
    this.logger = logger;
    this.tokenizer = tokenizer;
    this.config = Object.freeze(config);
    this.device = device;
    this.threads = threads;
  }

  /**
   * Computes the logits of the token that follows each selected position, shape [positions, vocabSize]. The call keeps
   * no state; use a session to continue a sequence.
   *
   * @throws TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW, INVALID_ARGUMENT, UNKNOWN_OPTION, OUT_OF_MEMORY,
   *   FILE_UNREADABLE (the mapped file has changed), TOKENIZER_MISSING (for text), DISPOSED
   * @example
   * const { data, shape: [rows, vocabSize] } = await model.logits('The dog', { positions: 'all' });
   * const last = data.subarray((rows - 1) * vocabSize); // scores of the token after "The dog"
   */
  async logits(input: Input, options?: EvaluateOptions): Promise<Logits> {
    checkOptions('logits', options, ['positions', 'signal']);
    const session = this.createSession();
    try {
      return await session.evaluate(input, options);
    } finally {
      session.dispose();
    }
  }

  /**
   * Creates an empty sequence with a KV cache of its own.
   *
   * @throws UNKNOWN_OPTION (there are no options), DISPOSED
   * @example
   * using session = model.createSession();
   * await session.evaluate('Once upon');
   */
  createSession(options?: Record<string, never>): Session {
    checkOptions('createSession', options, []);
    this.checkAlive();
    return new Session(
      this,
      callNativeSync(() => this.#native.createSession()),
    );
  }

  /**
   * Continues a prompt, or each of several prompts at the same time. If one of them fails, the others are stopped and
   * the call rejects with that failure.
   *
   * @throws as {@link logits}, and NOT_FINITE if the logits are NaN or infinite
   * @example
   * const { text } = await model.generate('Once upon a time', { maxTokens: 40, topK: 40, seed: 1 });
   */
  async generate(prompt: Input, options?: GenerateOptions): Promise<Generation>;
  async generate(prompts: readonly Input[], options?: GenerateOptions): Promise<Generation[]>;
  async generate(
    prompt: Input | readonly Input[],
    options?: GenerateOptions,
  ): Promise<Generation | Generation[]> {
    return isList(prompt)
      ? await this.#generateAll(prompt, options)
      : await this.#generate(prompt, options);
  }

  /** Continues each of several prompts. The first failure stops the others. */
  async #generateAll(
    prompts: readonly Input[],
    options: GenerateOptions | undefined,
  ): Promise<Generation[]> {
    this.checkAlive();
    const { signal } = generationSettings('generate', options);
    const stop = new LinkedSignal(signal);
    // Array.from() visits the holes of a sparse array too, which are invalid prompts.
    const running = Array.from(prompts, async (prompt) => {
      try {
        return await this.#generate(prompt, { ...options, signal: stop.signal });
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    });
    await Promise.allSettled(running);
    stop.unlink();
    stop.signal.throwIfAborted(); // throws the reason: the failure that happened first
    return await Promise.all(running);
  }

  async #generate(prompt: Input, options: GenerateOptions | undefined): Promise<Generation> {
    const session = this.createSession();
    try {
      return await session.generate(prompt, options);
    } finally {
      session.dispose();
    }
  }

  /**
   * Continues a prompt and yields the text part by part. Leaving the loop stops the generation.
   *
   * @throws as {@link generate}, at the first step of the loop
   * @example
   * for await (const { text } of model.stream('Once upon a time')) process.stdout.write(text);
   */
  async *stream(
    prompt: Input,
    options?: GenerateOptions,
  ): AsyncGenerator<GenerationPart, void, void> {
    const session = this.createSession();
    try {
      yield* session.stream(prompt, options);
    } finally {
      session.dispose();
    }
  }

  /**
   * Stops the calls in flight, which reject with DISPOSED, and frees the memory. Later calls fail with DISPOSED.
   *
   * @example await model.dispose();
   */
  dispose(): Promise<void> {
    this.#disposing ??= callNative(undefined, () => this.#native.dispose()).catch((error) => {
      this.#disposing = undefined; // there was no memory for the call, and the model stays usable
      throw error;
    });
    return this.#disposing;
  }

  [asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** @internal */
  checkAlive(): void {
    if (this.#disposing) throw new Gpt2Error('DISPOSED', 'The model was disposed.');
  }

  /** @internal The tokenizer, or undefined for a model without one. */
  get textTokenizer(): Gpt2Tokenizer | undefined {
    return this.tokenizer instanceof Gpt2Tokenizer ? this.tokenizer : undefined;
  }
}

// An array whose first element is not a token id is a list of prompts.
function isList(prompt: Input | readonly Input[]): prompt is readonly Input[] {
  return Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== 'number';
}
