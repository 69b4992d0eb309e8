import { checkBoolean, checkInteger, checkOneOf, checkOptions, checkSignal } from '../arguments.js';
import { checkInput, checkNotEmpty, type Input } from '../input.js';
import { type AbortSignalLike, LinkedSignal } from '../native/abort.js';
import { callNative } from '../native/native-call.js';
import { together } from '../together.js';
import type { ScoringModel } from './score-texts.js';
import { SequencesInFlight } from './sequences-in-flight.js';

export interface EmbedOptions {
  /**
   * Whose output is pooled: 0 is the sum of token and position embeddings, i that of block i, and the number of layers
   * that of the final norm, as in Hugging Face's `hidden_states`. Default: the number of layers.
   */
  layer?: number;
  /** How the tokens' vectors become one. Default 'mean'. */
  pooling?: 'mean' | 'last' | 'max';
  /** Whether vectors have the length 1. Default false. */
  normalize?: boolean;
  /** Aborts the call. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
}

export interface Embeddings {
  /** One vector after the other. */
  data: Float32Array;
  shape: [texts: number, embeddingLength: number];
}

/** Embeds texts at the same time. The first failure stops the others. */
export async function embedTexts(
  model: ScoringModel & {
    readonly config: { readonly layerCount: number; readonly embeddingLength: number };
  },
  inputs: readonly Input[],
  options: EmbedOptions | undefined,
): Promise<Embeddings> {
  const { contextLength, layerCount, embeddingLength } = model.config;
  const given = checkOptions('embed', options, ['layer', 'pooling', 'normalize', 'signal']);
  const layer = checkInteger('layer', given.layer ?? layerCount, 0, layerCount);
  const pooling = checkOneOf('pooling', given.pooling ?? 'mean', ['mean', 'last', 'max']);
  const normalizes = checkBoolean('normalize', given.normalize ?? false);
  const texts = Array.from(inputs, (input) => {
    const checked = checkInput(input, model.tokenizer, contextLength);
    checkNotEmpty(checked);
    return checked;
  });
  const stop = new LinkedSignal(checkSignal(given.signal));
  const inFlight = new SequencesInFlight();
  const data = new Float32Array(texts.length * embeddingLength);
  const embedOne = async (text: Uint32Array | string, index: number) => {
    const tokens = typeof text === 'string' ? model.tokenizer.encode(text) : text;
    await inFlight.run(tokens.length, async () => {
      stop.signal.throwIfAborted();
      const session = model.createNativeSession();
      try {
        const vector = await callNative(stop.signal, (cancellation) =>
          session.embed(tokens, layer, pooling, cancellation),
        );
        data.set(normalizes ? normalized(vector) : vector, index * embeddingLength);
      } finally {
        session.dispose();
      }
    });
  };
  try {
    await together(stop, texts, embedOne);
  } finally {
    stop.unlink();
  }
  return { data, shape: [texts.length, embeddingLength] };
}

/** A vector divided by its length; zeros stay zeros. */
function normalized(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}
