import { resolve } from 'node:path';
import { checkInteger, checkOptions, checkSignal, invalidArgument } from './arguments.js';
import { Gpt2Error } from './errors.js';
import {
  checkOneSample,
  type GenerationSettings,
  generationSettings,
} from './generation/check-options.js';
import type { GenerateOptions } from './generation/generate-options.js';
import type { Generation, GenerationPart } from './generation/generation.js';
import { type Run, runToEnd } from './generation/run.js';
import { drawSamples, withSamples } from './generation/samples.js';
import { streamParts } from './generation/stream-parts.js';
import { StreamTurn } from './generation/stream-turn.js';
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
import type { BytePairTokenizer, Tokenizer } from './tokenizer/tokenizer.js';

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
  readonly textTokenizer: BytePairTokenizer | undefined;
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
  /** The number of first tokens that the native session has too. It receives the others with the next call. */
  #known: number;
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
    this.#known = tokens.length;
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
      const { keep, all, before } = this.#withUnknown(tokens);
      const rows = before === 0 ? indices : indices.map((index) => index + before);
      await callNative(signal, (cancellation) =>
        this.#native.evaluate(keep, all, rows, data, cancellation),
      );
      for (const token of tokens) this.#tokens.push(token);
      this.#known = this.length;
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
    return this.generateWith(
      generationSettings('generate', options, this.#model.tokenizer),
      prompt,
    );
  }

  /**
   * @internal As {@link generate}, with checked options.
   *
   * @param index of the prompt among several
   */
  async generateWith(settings: GenerationSettings, prompt: Input, index = 0): Promise<Generation> {
    const checkedInput = this.#checkPrompt(prompt);
    return this.#enqueue(settings.signal, async (signal) => {
      const tokens = await this.#readPrompt(checkedInput, signal);
      const run = this.#runOf(tokens, settings, signal, index);
      try {
        if (settings.bestOf > 1) return await this.#generateSamples(run);
        const { text, native, isWhole } = await runToEnd(run);
        const generation = text.generation(native, settings.native.seed);
        this.#tokens = [...run.context, ...generation.tokens];
        this.#endRun(settings, isWhole ? native.droppedTokens : undefined);
        return generation;
      } catch (error) {
        this.#forgetSlide(settings);
        throw error;
      }
    });
  }

  /** The session then holds the first sample. They are generated on forks, so the native session has the prompt alone. */
  async #generateSamples(run: Run): Promise<Generation> {
    const samples = await drawSamples(run);
    const generation = withSamples(samples);
    this.#tokens = [...run.context, ...generation.tokens];
    const [first] = samples;
    this.#endRun(run.settings, first?.isWhole ? first.native.droppedTokens : undefined);
    this.#known = first?.native.droppedTokens === 0 ? run.context.length - 1 : 0;
    return generation;
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
    yield* this.streamWith(generationSettings('stream', options, this.#model.tokenizer), prompt);
  }

  /** @internal As {@link stream}, with checked options. */
  async *streamWith(
    settings: GenerationSettings,
    prompt: Input,
    index = 0,
  ): AsyncGenerator<GenerationPart, void, void> {
    checkOneSample(settings);
    const checkedInput = this.#checkPrompt(prompt);
    const stop = new LinkedSignal(settings.signal, this.#disposal.signal);
    const { signal } = stop;
    let release = () => {};
    let turn: StreamTurn | undefined;
    try {
      release = await this.#turn(signal);
      this.#check();
      const tokens = await this.#readPrompt(checkedInput, signal);
      const run = this.#runOf(tokens, settings, signal, index);
      let hasPrompt = false;
      const current = new StreamTurn({
        append: (next) => {
          if (!hasPrompt) this.#tokens = [...run.context];
          hasPrompt = true;
          for (const token of next) this.#tokens.push(token);
        },
        end: (droppedTokens) => {
          if (hasPrompt) this.#endRun(settings, droppedTokens);
          else this.#forgetSlide(settings);
          release();
        },
      });
      turn = current;
      yield* streamParts(run, current, () => {
        this.#finishedStream = current;
        if (this.#waiting > 0) current.finish();
      });
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
    this.#known = Math.min(this.#known, length);
  }

  /**
   * Writes the tokens to a file, with their keys and values, so that `restore` does not evaluate them again. A file at
   * this path is replaced when the new one is complete.
   *
   * @throws INVALID_ARGUMENT, FILE_UNWRITABLE, DISPOSED
   * @example await session.save('chapter.session');
   */
  async save(path: string, options?: { signal?: AbortSignalLike }): Promise<void> {
    const checked = checkOptions('save', options, ['signal']);
    const file = checkPath(path);
    this.#check();
    return this.#enqueue(checkSignal(checked.signal), async (signal) => {
      const { keep, all } = this.#withUnknown(new Uint32Array(0));
      await callNative(signal, (cancellation) => this.#native.save(keep, all, file, cancellation));
      this.#known = this.length;
    });
  }

  /**
   * Replaces the session by the one in a file, which was saved with the same model. If the file has keys and values of
   * another `cacheType`, or of another processor's kernels, the next call evaluates the tokens again.
   *
   * @throws INVALID_ARGUMENT, FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE (damaged, or of another model),
   *   CONTEXT_OVERFLOW, OUT_OF_MEMORY, DISPOSED
   * @example
   * await session.restore('chapter.session');
   * const { text } = await session.generate('');
   */
  async restore(path: string, options?: { signal?: AbortSignalLike }): Promise<void> {
    const checked = checkOptions('restore', options, ['signal']);
    const file = checkPath(path);
    this.#check();
    return this.#enqueue(checkSignal(checked.signal), async (signal) => {
      try {
        const tokens = await callNative(signal, (cancellation) =>
          this.#native.restore(file, cancellation),
        );
        this.#tokens = Array.from(tokens);
        this.#known = this.length;
      } catch (error) {
        this.#known = 0; // the native session may have been replaced when the call was aborted
        throw error;
      }
    });
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
    const session = new Session(this.#model, native, [...this.#tokens]);
    session.#known = this.#known;
    return session;
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
    this.#finishedStream?.finish();
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
    return Uint32Array.of(this.#model.tokenizer.startOfText);
  }

  /** The tokens that the native session lacks, and these. `before`: the number of those that it lacks. */
  #withUnknown(tokens: Uint32Array): { keep: number; all: Uint32Array; before: number } {
    const unknown = this.#tokens.slice(this.#known);
    const all = unknown.length === 0 ? tokens : Uint32Array.from([...unknown, ...tokens]);
    return { keep: this.#known, all, before: unknown.length };
  }

  /** A run that begins with these tokens. With `overflow: 'slide'`, they take the place of the first ones. */
  #runOf(
    tokens: Uint32Array,
    settings: GenerationSettings,
    signal: AbortSignal,
    index: number,
  ): Run {
    const { config, textTokenizer } = this.#model;
    const common = { native: this.#native, settings, tokenizer: textTokenizer, signal, index };
    const context = [...this.#tokens, ...tokens];
    if (settings.native.overflow === 'slide' && context.length > config.contextLength) {
      const kept = Math.max(Math.floor(config.contextLength / 2), tokens.length);
      const window = context.slice(-kept);
      return { ...common, keep: 0, tokens: Uint32Array.from(window), context: window };
    }
    const { keep, all } = this.#withUnknown(tokens);
    return { ...common, keep, tokens: all, context };
  }

  /**
   * Ends a run whose tokens were appended. `droppedTokens`: those that the engine dropped from the start, or undefined if
   * it was stopped before all its tokens were appended.
   */
  #endRun(settings: GenerationSettings, droppedTokens: number | undefined): void {
    const { contextLength } = this.#model.config;
    if (droppedTokens !== undefined) {
      this.#tokens = this.#tokens.slice(droppedTokens);
    } else if (this.length > contextLength) {
      this.#tokens = this.#tokens.slice(-Math.max(Math.floor(contextLength / 2), 1));
    }
    this.#known = this.length;
    if (droppedTokens === undefined) this.#forgetSlide(settings);
  }

  /** After a run that was stopped and may have slid, the native session has other tokens. */
  #forgetSlide(settings: GenerationSettings): void {
    if (settings.native.overflow === 'slide') this.#known = 0;
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

/** The absolute path of a file. Only text without NUL is one. */
function checkPath(path: unknown): string {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw invalidArgument('the path of a file', path);
  }
  return resolve(path);
}
