import { join } from 'node:path';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { readJsonObject } from './files.js';

/** What a checkpoint's config.json says about its model. */
export interface CheckpointConfig {
  vocabSize: number;
  contextLength: number;
  embeddingLength: number;
  headCount: number;
  layerCount: number;
  feedForwardLength: number;
  layerNormEpsilon: number;
  /** undefined: config.json does not say */
  headIsTied: boolean | undefined;
  endOfText: number | undefined;
}

/**
 * Reads and checks config.json of a Hugging Face folder. Whatever it asks for that the engine does not
 * compute is refused by name.
 */
export async function readCheckpointConfig(folder: string): Promise<CheckpointConfig> {
  const path = join(folder, 'config.json');
  const config = await readJsonObject(path);
  if (!config) {
    throw new Gpt2Error('FILE_NOT_FOUND', `${folder}: there is no config.json in this folder`);
  }
  const size = (names: string[], fallback?: number) => {
    const name = names.find((candidate) => config[candidate] != null);
    const value = name === undefined ? fallback : config[name];
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) >= 2 ** 31) {
      throw new Gpt2Error(
        'INVALID_FILE',
        `${path}: expected ${names[0]} to be a whole number of at least 1 but found ${show(value)}`,
      );
    }
    return value as number;
  };
  const optionalSize = (name: string) =>
    Number.isInteger(config[name]) ? (config[name] as number) : undefined;

  checkSupported(path, config);
  const embeddingLength = size(['n_embd']);
  const headCount = size(['n_head']);
  if (embeddingLength % headCount !== 0) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: n_embd ${embeddingLength} is not a multiple of n_head ${headCount}`,
    );
  }
  const layerNormEpsilon = config.layer_norm_epsilon ?? 1e-5;
  // In f32, as the file keeps it: there it may be 0 or infinite.
  const isPositive = (number: number) => number > 0 && number < Number.POSITIVE_INFINITY;
  if (typeof layerNormEpsilon !== 'number' || !isPositive(Math.fround(layerNormEpsilon))) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected layer_norm_epsilon to be a positive number but found ${show(layerNormEpsilon)}`,
    );
  }
  return {
    vocabSize: size(['vocab_size']),
    contextLength: size(['n_positions', 'n_ctx']),
    embeddingLength,
    headCount,
    layerCount: size(['n_layer']),
    feedForwardLength: size(['n_inner'], 4 * embeddingLength),
    layerNormEpsilon,
    headIsTied:
      typeof config.tie_word_embeddings === 'boolean' ? config.tie_word_embeddings : undefined,
    endOfText: optionalSize('eos_token_id'),
  };
}

// Each setting that changes what is computed, with the values that the engine computes; one of them is
// what a config that leaves the setting out means.
const supported: Record<string, readonly unknown[]> = {
  model_type: ['gpt2'],
  activation_function: ['gelu_new', 'gelu_pytorch_tanh'],
  scale_attn_weights: [true],
  scale_attn_by_inverse_layer_idx: [false],
  reorder_and_upcast_attn: [false],
  add_cross_attention: [false],
  is_encoder_decoder: [false],
  quantization_config: [null],
};

function checkSupported(path: string, config: Record<string, unknown>): void {
  for (const [setting, values] of Object.entries(supported)) {
    const value = config[setting];
    if (value === undefined || values.includes(value)) continue;
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${path}: expected ${setting} to be ${values.map(show).join(' or ')} but found ${show(value)}`,
    );
  }
}
