import { clearTimeout, setTimeout } from 'node:timers';
import { invalidArgument } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { LinkedSignal } from '../native/abort.js';
import { callNative } from '../native/native-call.js';
import type { NativeGeneration, NativeSession } from '../native/types.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { GenerationSettings } from './check-options.js';
import { GeneratedText } from './generated-text.js';
import type { GenerationPart } from './generation.js';

/** A run of the engine's decode loop on a session. */
export interface Run {
  native: NativeSession;
  /** The tokens of the native session to keep. */
  keep: number;
  /** Those to append before the new ones. */
  tokens: Uint32Array;
  /** The tokens before the new ones: those kept and `tokens`. */
  context: readonly number[];
  settings: GenerationSettings;
  /** undefined for a model without one */
  tokenizer: Tokenizer | undefined;
  signal: AbortSignal;
  /** The index of the prompt, for onPart. */
  index: number;
}

/** The new text, and how the engine's loop ended. */
export interface Outcome {
  text: GeneratedText;
  native: NativeGeneration;
  /** Whether the native session has no tokens that were not handed out. */
  isWhole: boolean;
}

/**
 * Runs the decode loop to its end. `onToken` receives the tokens that are handed out, and `onPart` the parts that they
 * form.
 *
 * @throws what the options' functions throw, and what the engine throws
 */
export async function runToEnd(
  run: Run,
  onToken: (token: number) => void = () => {},
  onPart: (part: GenerationPart) => void = () => {},
): Promise<Outcome> {
  const { settings, native, tokenizer } = run;
  const { options } = settings;
  const text = new GeneratedText(settings, tokenizer);
  const stop = new LinkedSignal(run.signal); // aborted too if a function of the options throws
  const steps = new HostSteps(run, stop);
  let ignored = 0;

  const handOut = (part: GenerationPart | undefined) => {
    if (!part) return;
    onPart(part);
    const { onPart: listener, stopWhen } = options;
    const answer: unknown = listener?.(run.index, part);
    // A listener may be asynchronous; its rejection is that of the call.
    if (isThenable(answer)) answer.then(undefined, (error) => stop.abort(error));
    if (stopWhen && !steps.isStopped) steps.isStopped = isTrue(stopWhen(part));
  };
  const guarded = (work: () => void) => {
    if (stop.signal.aborted) return;
    try {
      work();
    } catch (error) {
      stop.abort(error);
    }
  };
  try {
    const ended = await callNative(stop.signal, (cancellation) =>
      native.generate(
        run.keep,
        run.tokens,
        settings.native,
        (token, logprob, topTokens, topLogprobs) => {
          if (steps.isStopped) {
            ignored++; // it came together with the part that ends the text
            return;
          }
          onToken(token);
          guarded(() => handOut(text.push({ token, logprob, topTokens, topLogprobs })));
        },
        (lastToken, logits) => void steps.answer(lastToken, logits),
        cancellation,
      ),
    );
    guarded(() => handOut(text.end()));
    stop.signal.throwIfAborted();
    const { stopMatched, ...rest } = ended;
    const early = steps.reason;
    return {
      text,
      native: early === undefined ? ended : { ...rest, finishReason: early },
      isWhole: ignored === 0,
    };
  } finally {
    steps.end();
    if (stop.signal.aborted) wake(native);
    stop.unlink();
  }
}

/** Lets the engine notice that the call was cancelled, while it waits for an answer. */
function wake(native: NativeSession): void {
  try {
    native.wake();
  } catch {
    // The session or the model was disposed, which ends the call.
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function';
}

function isTrue(answer: unknown): boolean {
  if (typeof answer === 'boolean') return answer;
  if (isThenable(answer)) answer.then(undefined, () => {}); // this error is thrown instead
  throw invalidArgument('stopWhen to return true or false', answer);
}

/** The longest time of a timer, in milliseconds. */
const maxTimeout = 2 ** 31 - 1;

/** The answers of the options' functions before each token. The engine waits for them. */
class HostSteps {
  /** Whether stopWhen has returned true. */
  isStopped = false;
  readonly #run: Run;
  readonly #stop: LinkedSignal;
  readonly #sampled: number[] = [];
  readonly #timer: NodeJS.Timeout | undefined;
  #isLate = false;
  #isWaited = false;
  #isOver = false;

  constructor(run: Run, stop: LinkedSignal) {
    this.#run = run;
    this.#stop = stop;
    const { timeBudgetMs, logitsProcessor } = run.settings.options;
    if (logitsProcessor && timeBudgetMs !== undefined) {
      // The engine looks at its clock between tokens, not while it waits.
      this.#timer = setTimeout(() => this.#timeOut(), Math.min(timeBudgetMs, maxTimeout));
    }
  }

  /** Why the text ends early; undefined if it does not. */
  get reason(): 'predicate' | 'time' | undefined {
    return this.isStopped ? 'predicate' : this.#isLate ? 'time' : undefined;
  }

  #timeOut(): void {
    if (!this.#isWaited) return; // the engine ends the text after this token
    this.#isLate = true;
    this.#resume(true, undefined);
  }

  /** Answers the engine. Aborts the run if the processor throws. */
  async answer(lastToken: number | undefined, logits: Float32Array | undefined): Promise<void> {
    if (this.#isOver) return;
    this.#isWaited = true;
    if (lastToken !== undefined) this.#sampled.push(lastToken);
    if (!this.isStopped && logits) {
      try {
        await this.#process(logits);
      } catch (error) {
        this.#stop.abort(error); // which ends the steps
        return;
      }
    }
    this.#resume(this.isStopped, logits);
  }

  async #process(logits: Float32Array): Promise<void> {
    const { context, settings } = this.#run;
    const { length } = logits;
    const { logitsProcessor } = settings.options;
    await logitsProcessor?.(logits, {
      tokens: Uint32Array.from([...context, ...this.#sampled]),
      promptLength: context.length,
      step: this.#sampled.length,
    });
    if (logits.length !== length) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        'Expected the logitsProcessor to change the logits in place but their buffer was transferred',
      );
    }
  }

  /** Answers no more. */
  end(): void {
    clearTimeout(this.#timer);
    this.#isOver = true;
  }

  #resume(stops: boolean, logits: Float32Array | undefined): void {
    if (!this.#isWaited || this.#isOver) return;
    this.#isWaited = false;
    try {
      this.#run.native.resume(stops, logits);
    } catch {
      // The session or the model was disposed, which ends the call.
    }
  }
}
