import { checkBoolean, checkOptions, checkSignal, invalidArgument } from '../arguments.js';
import { checkInput, checkNotEmpty, type Input } from '../input.js';
import { type AbortSignalLike, LinkedSignal } from '../native/abort.js';
import { callNative, callNativeSync } from '../native/native-call.js';
import type { NativeSession } from '../native/types.js';
import { together } from '../together.js';
import type { ScoringModel } from './score-texts.js';
import { SequencesInFlight } from './sequences-in-flight.js';

export interface RankOptions {
  /** Also returns `pmi`, which evaluates every candidate once more. Default false. */
  pmi?: boolean;
  /** Aborts the call. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
}

/** Arrays have one element for each candidate, in the order given. Logarithms are natural. */
export interface Ranking {
  /** ln p(candidate | prompt): the sum over its tokens. */
  logprobs: Float64Array;
  /** logprobs ÷ tokens */
  perToken: Float64Array;
  /** logprobs ÷ bytes of UTF-8. NaN for a model without a tokenizer. */
  perByte: Float64Array;
  /** logprobs ÷ characters, in UTF-16 code units. NaN for a model without a tokenizer. */
  perCharacter: Float64Array;
  /** The probabilities of the candidates among themselves: the softmax of `logprobs`. */
  probabilities: Float64Array;
  /** The indices of the candidates, the likeliest by `logprobs` first. */
  order: Uint32Array;
  /**
   * With the option: ln p(candidate | prompt) − ln p(candidate | `<|endoftext|>`), the pointwise mutual information with
   * the prompt (Holtzman et al. 2021, "Surface Form Competition").
   */
  pmi?: Float64Array;
}

/** Ranks continuations of a prompt, which is evaluated once. The first failure stops the others. */
export async function rankCandidates(
  model: ScoringModel,
  prompt: Input,
  candidates: readonly Input[],
  options: RankOptions | undefined,
): Promise<Ranking> {
  const given = checkOptions('rank', options, ['pmi', 'signal']);
  const withPmi = checkBoolean('pmi', given.pmi ?? false);
  const stop = new LinkedSignal(checkSignal(given.signal));
  if (!Array.isArray(candidates) || candidates.length === 0) {
    stop.unlink();
    throw invalidArgument('candidates to be an array of at least one text', candidates);
  }
  const { contextLength } = model.config;
  const base = model.createNativeSession();
  try {
    const tokensOf = (input: Input) => {
      const checked = checkInput(input, model.tokenizer, contextLength);
      return typeof checked === 'string' ? model.tokenizer.encode(checked) : checked;
    };
    const start = tokensOf(prompt);
    checkNotEmpty(start);
    const texts = Array.from(candidates, (candidate, index) => {
      const tokens = candidate === '' ? new Uint32Array(0) : tokensOf(candidate);
      if (tokens.length > 0) return tokens;
      throw invalidArgument(`candidates[${index}] to have at least one token`, candidate);
    });
    const { signal } = stop;
    const inFlight = new SequencesInFlight();
    await evaluate(base, start.subarray(0, -1), signal);
    const conditional = scoreAfter(base, start, texts, inFlight, stop);
    const unconditional = withPmi
      ? scoreAfterEndOfText(model, texts, inFlight, stop)
      : Promise.resolve(undefined);
    await Promise.allSettled([conditional, unconditional]);
    signal.throwIfAborted(); // throws the reason: the failure that happened first
    return describe(model, texts, await conditional, await unconditional);
  } finally {
    base.dispose();
    stop.unlink();
  }
}

async function evaluate(
  session: NativeSession,
  tokens: Uint32Array,
  signal: AbortSignal,
): Promise<void> {
  if (tokens.length === 0) return;
  await callNative(signal, (cancellation) =>
    session.evaluate(0, tokens, new Uint32Array(0), new Float32Array(0), cancellation),
  );
}

async function scoreAfterEndOfText(
  model: ScoringModel,
  texts: readonly Uint32Array[],
  inFlight: SequencesInFlight,
  stop: LinkedSignal,
): Promise<Float64Array> {
  const empty = model.createNativeSession();
  try {
    const start = Uint32Array.of(model.tokenizer.startOfText);
    return await scoreAfter(empty, start, texts, inFlight, stop);
  } finally {
    empty.dispose();
  }
}

/** The log-likelihoods of texts after the tokens of `start`, of which the session has all but the last. */
async function scoreAfter(
  base: NativeSession,
  start: Uint32Array,
  texts: readonly Uint32Array[],
  inFlight: SequencesInFlight,
  stop: LinkedSignal,
): Promise<Float64Array> {
  const sums = new Float64Array(texts.length);
  const scoreOne = async (text: Uint32Array, index: number) => {
    const tokens = Uint32Array.from([start.at(-1) as number, ...text.subarray(0, -1)]);
    await inFlight.run(tokens.length, async () => {
      stop.signal.throwIfAborted();
      const fork = callNativeSync(() => base.fork());
      try {
        const { logprobs } = await callNative(stop.signal, (cancellation) =>
          fork.score(start.length - 1, tokens, 0, text, 0, undefined, cancellation),
        );
        sums[index] = logprobs.reduce((sum, logprob) => sum + logprob, 0);
      } finally {
        fork.dispose();
      }
    });
  };
  await together(stop, texts, scoreOne);
  return sums;
}

/** The probabilities of alternatives among themselves, and their order, by their log-likelihoods. */
export function comparison(logprobs: Float64Array): Pick<Ranking, 'probabilities' | 'order'> {
  const largest = logprobs.reduce((a, b) => Math.max(a, b));
  const powers = logprobs.map((logprob) => Math.exp(logprob - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  const order = Uint32Array.from(logprobs.keys()).sort(
    (a, b) => (logprobs[b] as number) - (logprobs[a] as number) || a - b,
  );
  return { probabilities: powers.map((power) => power / sum), order };
}

function describe(
  { textTokenizer }: ScoringModel,
  texts: readonly Uint32Array[],
  logprobs: Float64Array,
  unconditional: Float64Array | undefined,
): Ranking {
  const decoded = texts.map((tokens) => textTokenizer?.decode(tokens) ?? '');
  const per = (countOf: (index: number) => number) =>
    logprobs.map((logprob, index) => logprob / (countOf(index) || Number.NaN));
  return {
    logprobs,
    perToken: per((index) => (texts[index] as Uint32Array).length),
    perByte: per((index) => Buffer.byteLength(decoded[index] as string)),
    perCharacter: per((index) => (decoded[index] as string).length),
    ...comparison(logprobs),
    ...(unconditional && {
      pmi: logprobs.map((logprob, index) => logprob - (unconditional[index] as number)),
    }),
  };
}
