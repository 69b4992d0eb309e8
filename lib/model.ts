import { checkOptions } from './arguments.js';
import { Gpt2Error } from './errors.js';
import {
  checkOneSample,
  type GenerationSettings,
  generationSettings,
  settingsForPrompt,
} from './generation/check-options.js';
import type { GenerateOptions } from './generation/generate-options.js';
import type { Generation, GenerationPart, IndexedPart } from './generation/generation.js';
import { mergeStreams } from './generation/merge-streams.js';
import { type PartStream, readableStreamOf } from './generation/readable-stream.js';
import type { Input } from './input.js';
import type { Logits } from './logits.js';
import { LinkedSignal } from './native/abort.js';
import { asyncDispose } from './native/globals.js';
import { callNative, callNativeSync } from './native/native-call.js';
import type { Logger, NativeModel, NativeModelDescription, NativeSession } from './native/types.js';
import { type Classification, type ClassifyOptions, classifyText } from './scoring/classify.js';
import {
  type DecideOptions,
  type Decision,
  decideQuestion,
  type Rating,
  type Scale,
} from './scoring/decide.js';
import { type Embeddings, type EmbedOptions, embedTexts } from './scoring/embed.js';
import { type Ranking, type RankOptions, rankCandidates } from './scoring/rank.js';
import type { Score, ScoreOptions } from './scoring/score.js';
import { scoreTexts } from './scoring/score-texts.js';
import { type EvaluateOptions, Session } from './session.js';
import { together } from './together.js';
import { BytePairTokenizer, type Tokenizer } from './tokenizer/tokenizer.js';

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
    const { device, threads, vocabulary: _, tokenizerSettings: __, ...config } = description;
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
    return new Session(this, this.createNativeSession());
  }

  /**
   * Continues a prompt, or each of several prompts at the same time. If one of them fails, the others are stopped and
   * the call rejects with that failure. A prompt's result does not depend on the others.
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
    const settings = this.#settings('generate', options);
    return isList(prompt)
      ? await this.#generateAll(prompt, settings)
      : await this.#generate(prompt, settings, 0);
  }

  /** Continues each of several prompts. The first failure stops the others. */
  async #generateAll(
    prompts: readonly Input[],
    settings: GenerationSettings,
  ): Promise<Generation[]> {
    const stop = new LinkedSignal(settings.signal);
    const each = { ...settings, signal: stop.signal };
    try {
      return await together(stop, prompts, (prompt, index) =>
        this.#generate(prompt, settingsForPrompt(each), index),
      );
    } finally {
      stop.unlink();
    }
  }

  async #generate(prompt: Input, settings: GenerationSettings, index: number): Promise<Generation> {
    const session = this.createSession();
    try {
      return await session.generateWith(settings, prompt, index);
    } finally {
      session.dispose();
    }
  }

  /**
   * Continues a prompt and yields the text part by part. Of several prompts, the parts come as they are generated, each
   * with the index of its prompt; the first failure stops all. Leaving the loop stops the generation.
   *
   * @throws as {@link generate}, at the first step of the loop
   * @example
   * for await (const { text } of model.stream('Once upon a time')) process.stdout.write(text);
   * for await (const { index, text } of model.stream(['The cat', 'The dog'])) console.log(index, text);
   */
  stream(prompt: Input, options?: GenerateOptions): AsyncGenerator<GenerationPart, void, void>;
  stream(
    prompts: readonly Input[],
    options?: GenerateOptions,
  ): AsyncGenerator<IndexedPart, void, void>;
  async *stream(
    prompt: Input | readonly Input[],
    options?: GenerateOptions,
  ): AsyncGenerator<GenerationPart, void, void> {
    const settings = this.#settings('stream', options);
    checkOneSample(settings);
    if (isList(prompt)) {
      yield* mergeStreams(settings.signal, prompt, (one, index, signal) =>
        this.#stream(one, settingsForPrompt({ ...settings, signal }), index),
      );
    } else {
      yield* this.#stream(prompt, settings, 0);
    }
  }

  async *#stream(
    prompt: Input,
    settings: GenerationSettings,
    index: number,
  ): AsyncGenerator<GenerationPart, void, void> {
    const session = this.createSession();
    try {
      yield* session.streamWith(settings, prompt, index);
    } finally {
      session.dispose();
    }
  }

  /**
   * As {@link stream}, as a ReadableStream of the Web. Cancelling it stops the generation.
   *
   * @throws as {@link generate}; the stream fails with these errors
   * @example
   * const reader = model.readableStream('Once upon a time').getReader();
   * for (let part; !(part = await reader.read()).done; ) process.stdout.write(part.value.text);
   */
  readableStream(prompt: Input | readonly Input[], options?: GenerateOptions): PartStream {
    return readableStreamOf(this.stream(prompt as Input, options));
  }

  #settings(call: string, options: GenerateOptions | undefined): GenerationSettings {
    this.checkAlive();
    return generationSettings(call, options, this.tokenizer);
  }

  /**
   * Scores a text, or several at the same time: for each token its log-probability and rank, the entropy of the model's
   * distribution, and sums by word, by line and in all. A text may be longer than the context. A text's scores do not
   * depend on the others, bit for bit.
   *
   * @throws TOKEN_OUT_OF_RANGE, INVALID_ARGUMENT, UNKNOWN_OPTION, OUT_OF_MEMORY, NOT_FINITE,
   *   FILE_UNREADABLE (the mapped file has changed), TOKENIZER_MISSING (for text), DISPOSED
   * @example
   * const { perplexity, words } = await model.score('The cat sat on the mat.');
   * const [first, second] = await model.score(['The cat sat.', 'Cat the sat.'], { topK: 5 });
   */
  score(input: Input, options?: ScoreOptions): Promise<Score>;
  score(inputs: readonly Input[], options?: ScoreOptions): Promise<Score[]>;
  async score(input: Input | readonly Input[], options?: ScoreOptions): Promise<Score | Score[]> {
    this.checkAlive();
    if (isList(input)) return await scoreTexts(this, input, options);
    const [score] = await scoreTexts(this, [input], options);
    return score as Score;
  }

  /**
   * Ranks continuations of a prompt by their log-likelihoods. The prompt is evaluated once. Prompt and candidates are
   * tokenized apart, so a candidate usually begins with a space.
   *
   * @throws as {@link score}, and CONTEXT_OVERFLOW
   * @example
   * const { order, probabilities } = await model.rank('The capital of France is', [' Paris', ' London', ' a']);
   */
  async rank(prompt: Input, candidates: readonly Input[], options?: RankOptions): Promise<Ranking> {
    this.checkAlive();
    return await rankCandidates(this, prompt, candidates, options);
  }

  /**
   * Judges which label fits a text: the probabilities with which the base model continues the text by the labels in a
   * template. It was not trained for this, and the words of the template matter.
   *
   * @throws as {@link rank}
   * @example
   * const { label, probabilities } = await model.classify('The ship left the harbour.', ['the sea', 'money']);
   */
  async classify(
    text: string,
    labels: readonly string[],
    options?: ClassifyOptions,
  ): Promise<Classification> {
    this.checkAlive();
    return await classifyText(this, text, labels, options);
  }

  /**
   * Answers a question by one of several texts, by yes or no (true or false), or by a number on a scale: with which
   * probability the base model continues the question by each answer. It was not trained for this, and answers as the
   * texts that it has read do.
   *
   * @throws as {@link rank}
   * @example
   * const { answer, probabilities } = await model.decide('Is the sea salty?', 'yesNo'); // answer: true or false
   * const { mean } = await model.decide('From 1 to 5, how warm is a fire?', { from: 1, to: 5 });
   */
  decide(question: string, answers: 'yesNo', options?: DecideOptions): Promise<Decision<boolean>>;
  decide<Answer extends string>(
    question: string,
    answers: readonly Answer[],
    options?: DecideOptions,
  ): Promise<Decision<Answer>>;
  decide(question: string, answers: Scale, options?: DecideOptions): Promise<Rating>;
  async decide(
    question: string,
    answers: 'yesNo' | readonly string[] | Scale,
    options?: DecideOptions,
  ): Promise<Decision<boolean> | Decision<string> | Rating> {
    this.checkAlive();
    return await decideQuestion(this, question, answers, options);
  }

  /**
   * Computes vectors of texts, shape [texts, embeddingLength]: the pooled hidden states of their tokens. GPT-2 was not
   * trained for embeddings; they are useful as features.
   *
   * @throws as {@link logits}
   * @example
   * const { data, shape } = await model.embed(['a cat', 'a dog'], { normalize: true }); // [2, 768] for the 124M
   */
  async embed(input: Input | readonly Input[], options?: EmbedOptions): Promise<Embeddings> {
    this.checkAlive();
    return await embedTexts(this, isList(input) ? input : [input], options);
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

  /** @internal */
  createNativeSession(): NativeSession {
    this.checkAlive();
    return callNativeSync(() => this.#native.createSession());
  }

  /** @internal The tokenizer, or undefined for a model without one. */
  get textTokenizer(): BytePairTokenizer | undefined {
    return this.tokenizer instanceof BytePairTokenizer ? this.tokenizer : undefined;
  }
}

// An array whose first element is not a token id is a list of prompts.
function isList(prompt: Input | readonly Input[]): prompt is readonly Input[] {
  return Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== 'number';
}
