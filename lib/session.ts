import { checkInteger, checkOptions, checkSignal } from './arguments.js';
import { Gpt2Error } from './errors.js';
import {
  type GenerateOptions,
  type Generation,
  type GenerationPart,
  generationSettings,
  runToEnd,
  streamParts,
} from './generation.js';
import { checkInput, checkNotEmpty, type Input, tooLong } from './input.js';
import {
  allocateLogits,
  checkPositions,
  type Logits,
  type Positions,
  positionIndices,
} from './logits.js';
import { type AbortSignalLike, LinkedSignal, unlessAborted } from './native/abort.js';
import { dispose } from './native/globals.js';
import { callNative, callNativeSync } from './native/native-call.js';
import type { NativeSession } from './native/types.js';
import { StreamTurn } from './stream-turn.js';
import type { Gpt2Tokenizer, Tokenizer } from './tokenizer/tokenizer.js';

export interface EvaluateOptions {
  /** The positions whose logits are returned. Indices count from the first token of this call. Default 'last'. */
  positions?: Positions;
  /** Aborts the call. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
}

/** @internal The part of a model that its sessions use. */
export interface SessionModel {
  readonly config: { readonly contextLength: number; readonly vocabSize: number };
  readonly tokenizer: Tokenizer;
  /** The tokenizer, or undefined for a model without one. */
  readonly textTokenizer: Gpt2Tokenizer | undefined;
  /** @throws DISPOSED */
  checkAlive(): void;
}

/**
 * A sequence of tokens with its KV cache, made by `model.createSession()`. Tokens that were evaluated once are not
 * evaluated again.
 *
 * Calls on one session queue up. A call that fails or is aborted leaves the session unchanged. A stream that ends
 * early leaves the prompt and the tokens that it had yielded.
 *
 * @example
 * const session = model.createSession();
 * await session.evaluate('The capital of France is');
 * const { data, shape } = await session.evaluate(' Paris'); // one row of logits
 */
export class Session implements Disposable {
  readonly #model: SessionModel;
  readonly #native: NativeSession;
  #tokens: number[];
  #running = 0;
  // The running calls that wait for their turn.
  #waiting = 0;
  // The turn of a stream whose generation has finished. A waiting call ends it, since the stream's loop may be awaiting
  // that call.
  #finishedStream: StreamTurn | undefined;
  #last: Promise<void> = Promise.resolve();
  // Aborted by dispose(), which stops the running call and the waiting ones.
  readonly #disposal = new LinkedSignal();

  /** @internal Use `model.createSession()`. */
  constructor(model: SessionModel, native: NativeSession, tokens: number[] = []) {
    this.#model = model;
    this.#native = native;
    this.#tokens = tokens;
  }

  /** The number of tokens in the session. */
  get length(): number {
    return this.#tokens.length;
  }

  /** A copy of the tokens in the session. */
  get tokens(): Uint32Array {
    return Uint32Array.from(this.#tokens);
  }

  /**
   * Appends tokens and returns logits, shape [positions, vocabSize].
   *
   * @throws TOKEN_OUT_OF_RANGE, CONTEXT_OVERFLOW, INVALID_ARGUMENT, UNKNOWN_OPTION, OUT_OF_MEMORY,
   *   FILE_UNREADABLE (the mapped file has changed), TOKENIZER_MISSING (for text), DISPOSED
   * @example
   * const { data } = await session.evaluate([464, 3290], { positions: 'all' }); // 2 × vocabSize
   */
  async evaluate(input: Input, options?: EvaluateOptions): Promise<Logits> {
    const checked = checkOptions('evaluate', options, ['positions', 'signal']);
    const { positions } = checked;
    const signal = checkSignal(checked.signal);
    this.#check();
    const { contextLength, vocabSize } = this.#model.config;
    const checkedInput = checkInput(input, this.#model.tokenizer, contextLength);
    checkNotEmpty(checkedInput);
    const maxCount = typeof checkedInput === 'string' ? contextLength : checkedInput.length;
    const selected = checkPositions(positions, maxCount);
    return this.#enqueue(signal, async (signal) => {
      const tokens = await this.#tokenize(checkedInput, signal);
      const indices = positionIndices(selected, tokens.length);
      const data = allocateLogits(indices.length, vocabSize);
      await callNative(signal, (cancellation) =>
        this.#native.evaluate(this.length, tokens, indices, data, cancellation),
      );
      for (const token of tokens) this.#tokens.push(token);
      return { data, shape: [indices.length, vocabSize], tokens };
    });
  }

  /**
   * Appends the prompt and then the model's continuation. An empty prompt continues the session as it is.
   *
   * @throws as {@link evaluate}, and NOT_FINITE if the logits are NaN or infinite
   * @example
   * const { text } = await session.generate('Once upon a time', { maxTokens: 40, seed: 1 });
   */
  async generate(prompt: Input, options?: GenerateOptions): Promise<Generation> {
    const settings = generationSettings('generate', options);
    const checkedInput = this.#checkPrompt(prompt);
    return this.#enqueue(settings.signal, async (signal) => {
      const tokens = await this.#readPrompt(checkedInput, signal);
      const keep = this.length;
      const generation = await runToEnd(
        (onToken, cancellation) =>
          this.#native.generate(keep, tokens, settings.native, onToken, cancellation),
        { ...settings, signal },
        this.#model.textTokenizer,
      );
      for (const token of tokens) this.#tokens.push(token);
      for (const token of generation.tokens) this.#tokens.push(token);
      return generation;
    });
  }

  /**
   * As {@link generate}, part by part. Leaving the loop early stops the generation; the session then holds the prompt
   * and the tokens that were yielded. The session's next call begins when all tokens are generated, whether or not they
   * were yielded, and all of them are then in the session.
   *
   * @throws as {@link generate}, at the first step of the loop
   * @example
   * for await (const { text } of session.stream('Once upon a time')) process.stdout.write(text);
   */
  async *stream(
    prompt: Input,
    options?: GenerateOptions,
  ): AsyncGenerator<GenerationPart, void, void> {
    const settings = generationSettings('stream', options);
    const checkedInput = this.#checkPrompt(prompt);
    const stop = new LinkedSignal(settings.signal, this.#disposal.signal);
    const { signal } = stop;
    let release = () => {};
    let turn: StreamTurn | undefined;
    try {
      release = await this.#turn(signal);
      this.#check();
      const tokens = await this.#readPrompt(checkedInput, signal);
      const keep = this.length;
      turn = new StreamTurn(this.#tokens, tokens, release);
      const { generated } = turn;
      yield* streamParts(
        async (onToken, cancellation) => {
          const receive = (token: number) => {
            generated.push(token);
            onToken(token);
          };
          const { native: options } = settings;
          const generation = await this.#native.generate(
            keep,
            tokens,
            options,
            receive,
            cancellation,
          );
          turn?.append(0);
          this.#finishedStream = turn;
          if (this.#waiting > 0) turn?.finish();
          return generation;
        },
        { ...settings, signal },
        this.#model.textTokenizer,
        (count) => turn?.append(count),
      );
    } finally {
      if (this.#finishedStream === turn) this.#finishedStream = undefined;
      if (turn) turn.end();
      else release();
      stop.unlink();
    }
  }

  /**
   * Keeps the first `length` tokens and drops the rest.
   *
   * @throws INVALID_ARGUMENT, SESSION_BUSY while a call is in flight, DISPOSED
   * @example session.rewind(0); // an empty session
   */
  rewind(length: number): void {
    this.#check();
    checkInteger('length', length, 0, this.length);
    this.#checkIdle('rewind');
    this.#tokens.length = length;
  }

  /**
   * Creates an independent session with the same tokens, at once: both share their keys and values until one of them
   * changes.
   *
   * @throws SESSION_BUSY while a call is in flight, DISPOSED
   * @example using other = session.fork();
   */
  fork(): Session {
    this.#check();
    this.#checkIdle('fork');
    const native = callNativeSync(() => this.#native.fork());
    return new Session(this.#model, native, [...this.#tokens]);
  }

  /**
   * Frees the keys and values. Calls in flight stop and reject with DISPOSED.
   *
   * @example session.dispose();
   */
  dispose(): void {
    if (this.#disposal.signal.aborted) return;
    this.#disposal.abort(new Gpt2Error('DISPOSED', 'The session was disposed.'));
    this.#native.dispose();
  }

  [dispose](): void {
    this.dispose();
  }

  #check(): void {
    this.#model.checkAlive();
    this.#disposal.signal.throwIfAborted();
  }

  #checkIdle(call: string): void {
    if (this.#running === 0) return;
    throw new Gpt2Error(
      'SESSION_BUSY',
      `Expected no call in flight on the session during ${call}(), which takes effect immediately. Await the calls first.`,
    );
  }

  #checkPrompt(prompt: Input): Uint32Array | string {
    this.#check();
    const { tokenizer, config } = this.#model;
    // An empty text is checked at the call's turn: it either starts or continues the session.
    return prompt === '' ? prompt : checkInput(prompt, tokenizer, config.contextLength);
  }

  /** Tokenizes text in steps, at the call's turn. */
  async #tokenize(input: Uint32Array | string, signal: AbortSignal): Promise<Uint32Array> {
    if (typeof input !== 'string') return input;
    const { textTokenizer, tokenizer, config } = this.#model;
    const { contextLength } = config;
    if (!textTokenizer) return tokenizer.encode(input); // throws TOKENIZER_MISSING
    const tokens = await textTokenizer.encodeInTurns(input, contextLength, signal);
    this.#check();
    if (!tokens) throw tooLong(input, contextLength);
    return tokens;
  }

  async #readPrompt(input: Uint32Array | string, signal: AbortSignal): Promise<Uint32Array> {
    if (input !== '') {
      if (this.length === 0) checkNotEmpty(input);
      return await this.#tokenize(input, signal);
    }
    if (this.length > 0) return new Uint32Array(0);
    return Uint32Array.of(this.#model.tokenizer.endOfText);
  }

  async #enqueue<T>(
    callSignal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const stop = new LinkedSignal(callSignal, this.#disposal.signal);
    const { signal } = stop;
    let release = () => {};
    try {
      release = await this.#turn(signal);
      this.#check();
      return await work(signal);
    } finally {
      release();
      stop.unlink();
    }
  }

  /**
   * Waits for the earlier calls. Resolves to a function that lets the next call begin. A call that is aborted while it
   * waits rejects immediately and leaves the queue.
   */
  async #turn(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    this.#finishedStream?.finish();
    const before = this.#last;
    let end = () => {};
    this.#last = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#running++;
    const release = () => {
      this.#running--;
      end();
    };
    this.#waiting++;
    try {
      await unlessAborted(signal, before);
    } catch (error) {
      void before.then(release);
      throw error;
    } finally {
      this.#waiting--;
    }
    return release;
  }
}
