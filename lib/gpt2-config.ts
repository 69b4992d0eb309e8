import {
  checkBoolean,
  checkInteger,
  checkNumber,
  checkOneOf,
  checkOptions,
  invalidArgument,
} from './arguments.js';
import type { ModelSizes } from './gguf/model-tensors.js';

/** The sizes of a GPT-2, as in "Build a Large Language Model (From Scratch)". */
export interface Gpt2Config {
  vocab_size: number;
  /** The longest sequence, in tokens. */
  context_length: number;
  /** The width of the model, a multiple of `n_heads`. */
  emb_dim: number;
  n_heads: number;
  n_layers: number;
  /** Recorded in the file; inference drops nothing. Default 0.1. */
  drop_rate?: number;
  /** Whether queries, keys and values have biases, as in OpenAI's weights. Default true. */
  qkv_bias?: boolean;
}

/** A size that OpenAI published, named by its number of parameters. */
export type PresetName = (typeof presetNames)[number];

export const presetNames = ['124M', '355M', '774M', '1558M'] as const;

// The names in the paper, whose parameter counts OpenAI corrected later.
const paperNames: Readonly<Record<string, PresetName>> = {
  '117M': '124M',
  '345M': '355M',
  '762M': '774M',
  '1542M': '1558M',
};

// Radford et al. 2019, table 2.
const sizes: Readonly<Record<PresetName, [layers: number, width: number, heads: number]>> = {
  '124M': [12, 768, 12],
  '355M': [24, 1024, 16],
  '774M': [36, 1280, 20],
  '1558M': [48, 1600, 25],
};

const maxSize = 2 ** 24;
const maxLayers = 10_000;

/**
 * Checks a preset or a dictionary and adds the defaults.
 *
 * @throws INVALID_ARGUMENT, UNKNOWN_OPTION
 */
export function checkGpt2Config(config: Gpt2Config | PresetName): Required<Gpt2Config> {
  if (typeof config === 'string') {
    checkOneOf('the config', config, [...presetNames, ...Object.keys(paperNames)]);
    const [n_layers, emb_dim, n_heads] = sizes[paperNames[config] ?? config];
    const published = { vocab_size: 50_257, context_length: 1024, drop_rate: 0.1, qkv_bias: true };
    return { ...published, n_layers, emb_dim, n_heads };
  }
  if (typeof config !== 'object' || config === null) {
    throw invalidArgument(`the config to be an object or one of ${presetNames.join(', ')}`, config);
  }
  const {
    drop_rate = 0.1,
    qkv_bias = true,
    ...rest
  } = checkOptions('the config', config, [
    'vocab_size',
    'context_length',
    'emb_dim',
    'n_heads',
    'n_layers',
    'drop_rate',
    'qkv_bias',
  ]);
  const sizeNames = ['vocab_size', 'context_length', 'emb_dim', 'n_heads', 'n_layers'] as const;
  for (const name of sizeNames) {
    checkInteger(name, rest[name], 1, name === 'n_layers' ? maxLayers : maxSize);
  }
  if (rest.emb_dim % rest.n_heads !== 0) {
    throw invalidArgument(`emb_dim to be a multiple of n_heads ${rest.n_heads}`, rest.emb_dim);
  }
  checkNumber('drop_rate', drop_rate, (rate) => rate >= 0 && rate <= 1, 'a number from 0 to 1');
  checkBoolean('qkv_bias', qkv_bias);
  return { ...rest, drop_rate, qkv_bias };
}

export function sizesOf(config: Required<Gpt2Config>): ModelSizes {
  return {
    vocabSize: config.vocab_size,
    contextLength: config.context_length,
    embeddingLength: config.emb_dim,
    feedForwardLength: 4 * config.emb_dim,
    layerCount: config.n_layers,
  };
}
