import { invalidArgument } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { LinkedSignal, onAbort } from '../native/abort.js';
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
  const stopListening = onAbort(stop.signal, () => steps.end());

  const handOut = (part: GenerationPart | undefined) => {
    if (!part) return;
    onPart(part);
    options.onPart?.(run.index, part);
    if (options.stopWhen && !steps.isStopped) steps.isStopped = isTrue(options.stopWhen(part));
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
          if (steps.isStopped) return; // it came together with the part that ends the text
          onToken(token);
          guarded(() => handOut(text.push({ token, logprob, topTokens, topLogprobs })));
        },
        (lastToken, logits) => void steps.answer(lastToken, logits),
        cancellation,
      ),
    );
    guarded(() => handOut(text.end()));
    stop.signal.throwIfAborted();
    const isPredicate = steps.isStopped;
    return { text, native: isPredicate ? { ...ended, finishReason: 'predicate' } : ended };
  } finally {
    steps.end();
    stopListening();
    stop.unlink();
  }
}

function isTrue(answer: unknown): boolean {
  if (typeof answer !== 'boolean') {
    throw invalidArgument('stopWhen to return true or false', answer);
  }
  return answer;
}

/** The answers of the options' functions before each token. The engine waits for them. */
class HostSteps {
  /** Whether stopWhen has returned true. */
  isStopped = false;
  readonly #run: Run;
  readonly #stop: LinkedSignal;
  readonly #sampled: number[] = [];
  #isWaited = false;
  #isOver = false;

  constructor(run: Run, stop: LinkedSignal) {
    this.#run = run;
    this.#stop = stop;
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
    await settings.options.logitsProcessor?.(logits, {
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

  /** Answers no more. A call that waits ends. */
  end(): void {
    this.#resume(true, undefined);
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
