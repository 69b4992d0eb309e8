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
import { callNative, callNativeNow } from './native/native-call.js';
import type { Logger, NativeModel, NativeModelDescription } from './native/types.js';
import { type EvaluateOptions, Session } from './session.js';
import { Gpt2Tokenizer, type Tokenizer } from './tokenizer/tokenizer.js';

/** What a model is made of. */
export interface ModelConfig {
  readonly vocabSize: number;
  /** Tokens at most in a sequence; the `contextLength` option lowers it. */
  readonly contextLength: number;
  /** The width of the model: numbers per token between the blocks. */
  readonly embeddingLength: number;
  readonly headCount: number;
  readonly layerCount: number;
  /** Numbers per token inside the feed-forward part of a block. */
  readonly feedForwardLength: number;
  readonly layerNormEpsilon: number;
  /** Numbers in the weights; a tied head counts once. */
  readonly parameterCount: number;
  /** The type that most of the weights have, for example 'f32' or 'q8_0'. */
  readonly fileType: string;
  /** The type of the keys and values in sessions. */
  readonly cacheType: 'f32' | 'f16';
  /** Whether the token embedding serves as the head too. */
  readonly headIsTied: boolean;
}

/**
 * A GPT-2 model in memory. Made by `loadModel`.
 *
 * @example
 * await using model = await loadModel('gpt2.gguf');
 * const { data, shape } = await model.logits('Hello, my name is'); // shape [1, 50257]
 */
export class Model implements AsyncDisposable {
  readonly config: ModelConfig;
  /** Where it computes. */
  readonly device: 'cpu' | 'cuda' | 'metal' | 'vulkan';
  readonly threads: number;
  /** Text to token ids and back. Its calls throw TOKENIZER_MISSING if the model came without one. */
  readonly tokenizer: Tokenizer;
  readonly #native: NativeModel;
  /** Held for the addon, which lets go of it with this object. */
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
   * The logits of the token that follows each position asked for, shape [positions, vocabSize].
   *
   * @throws TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW, INVALID_ARGUMENT, UNKNOWN_OPTION, OUT_OF_MEMORY,
   *   TOKENIZER_MISSING (for text), DISPOSED
   * @example
   * const { data, shape: [rows, vocabSize] } = await model.logits('The dog', { positions: 'all' });
   * const last = data.subarray((rows - 1) * vocabSize); // scores of what follows "The dog"
   */
  async logits(input: Input, options?: EvaluateOptions): Promise<Logits> {
    checkOptions('logits', options, ['positions', 'signal']);
    using session = this.createSession();
    return await session.evaluate(input, options);
  }

  /**
   * A sequence of its own that remembers what it has evaluated.
   *
   * @throws DISPOSED, UNKNOWN_OPTION (there are none)
   * @example
   * using session = model.createSession();
   * await session.evaluate('Once upon');
   */
  createSession(options?: Record<string, never>): Session {
    checkOptions('createSession', options, []);
    this.checkAlive();
    return new Session(
      this,
      callNativeNow(() => this.#native.createSession()),
    );
  }

  /**
   * Continues a prompt, or each of several.
   *
   * @throws as {@link logits}, and NOT_FINITE if the model's logits are no numbers
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
    using stop = new LinkedSignal(signal);
    const running = prompts.map(async (prompt) => {
      try {
        return await this.#generate(prompt, { ...options, signal: stop.signal });
      } catch (error) {
        stop.abort(error);
        throw error;
      }
    });
    await Promise.allSettled(running);
    stop.signal.throwIfAborted(); // with the first failure, whichever prompt it was
    return await Promise.all(running);
  }

  async #generate(prompt: Input, options: GenerateOptions | undefined): Promise<Generation> {
    using session = this.createSession();
    return await session.generate(prompt, options);
  }

  /**
   * Continues a prompt part by part. Leaving the loop early stops the work.
   *
   * @throws as {@link generate}, at the first step of the loop
   * @example
   * for await (const { text } of model.stream('Once upon a time')) process.stdout.write(text);
   */
  async *stream(
    prompt: Input,
    options?: GenerateOptions,
  ): AsyncGenerator<GenerationPart, void, void> {
    using session = this.createSession();
    yield* session.stream(prompt, options);
  }

  /**
   * Stops the calls under way, which reject with DISPOSED, and frees the memory.
   *
   * @example await model.dispose();
   */
  dispose(): Promise<void> {
    this.#disposing ??= callNative(undefined, () => this.#native.dispose());
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** @internal */
  checkAlive(): void {
    if (this.#disposing) throw new Gpt2Error('DISPOSED', 'The model was disposed.');
  }

  /** @internal The tokenizer if the model has one. */
  get textTokenizer(): Gpt2Tokenizer | undefined {
    return this.tokenizer instanceof Gpt2Tokenizer ? this.tokenizer : undefined;
  }
}

// A list of prompts, that is, an array whose first element is no token id.
function isList(prompt: Input | readonly Input[]): prompt is readonly Input[] {
  return Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== 'number';
}
