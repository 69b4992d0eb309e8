import { join } from 'node:path';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { readJsonObject } from '../files.js';
import type { Activation, Hyperparameters } from '../gguf/model-file.js';

/** A checkpoint's description of its model. */
export interface CheckpointConfig extends Omit<Hyperparameters, 'activation'> {
  /** undefined if the checkpoint does not state it */
  activation: Activation | undefined;
  /** undefined if the checkpoint does not state it */
  headIsTied: boolean | undefined;
  /** The factor of a layer's attention scores, beside 1 ÷ √head size. Undefined if it is 1 in every layer. */
  scoreFactor: ((layer: number) => number) | undefined;
}

type Settings = Readonly<Record<string, unknown>>;

/** The names of the sizes in one form of config; the first name that is present counts. */
interface SettingNames {
  vocabSize: string[];
  contextLength: string[];
  embeddingLength: string[];
  headCount: string[];
  layerCount: string[];
}

type Defaults = Partial<Record<keyof SettingNames, number>>;

// Hugging Face's config.json; https://huggingface.co/docs/transformers/model_doc/gpt2
// The last names are those of its attribute_map.
const huggingFaceNames: SettingNames = {
  vocabSize: ['vocab_size'],
  contextLength: ['n_positions', 'max_position_embeddings', 'n_ctx'],
  embeddingLength: ['n_embd', 'hidden_size'],
  headCount: ['n_head', 'num_attention_heads'],
  layerCount: ['n_layer', 'num_hidden_layers'],
};
// Those of its GPT2Config.
const huggingFaceDefaults: Defaults = {
  vocabSize: 50_257,
  contextLength: 1024,
  embeddingLength: 768,
  headCount: 12,
  layerCount: 12,
};
// OpenAI's hparams.json; https://github.com/openai/gpt-2/blob/master/src/model.py
const openAiNames: SettingNames = {
  ...huggingFaceNames,
  vocabSize: ['n_vocab'],
  contextLength: ['n_ctx'],
};
// nanoGPT's model_args; https://github.com/karpathy/nanoGPT/blob/master/model.py
const nanoGptNames: SettingNames = { ...huggingFaceNames, contextLength: ['block_size'] };
// GPT_CONFIG_124M of "Build a Large Language Model (From Scratch)"
const fromScratchNames: SettingNames = {
  vocabSize: ['vocab_size'],
  contextLength: ['context_length'],
  embeddingLength: ['emb_dim'],
  headCount: ['n_heads'],
  layerCount: ['n_layers'],
};

const defaultEpsilon = 1e-5;

/**
 * Reads the config beside the weights: hparams.json in OpenAI's release, config.json elsewhere. Returns undefined if
 * there is none.
 *
 * @throws UNSUPPORTED_MODEL if a setting has a value that the engine does not support; INVALID_FILE, FILE_UNREADABLE
 */
export async function readConfigFile(
  folder: string,
  isTensorflow: boolean,
  headCount?: number,
): Promise<CheckpointConfig | undefined> {
  const path = join(folder, isTensorflow ? 'hparams.json' : 'config.json');
  const settings = await readSettings(path);
  if (!settings) return undefined;
  const stated = headCount === undefined ? {} : { headCount };
  if (isTensorflow) return configOf(path, settings, openAiNames, stated);
  if ('emb_dim' in settings) return configOf(path, settings, fromScratchNames, stated);
  checkSupported(path, settings);
  return configOf(path, settings, huggingFaceNames, { ...huggingFaceDefaults, ...stated });
}

/** Reads a config whose numbers and booleans may be written as text. */
async function readSettings(path: string): Promise<Settings | undefined> {
  const settings = await readJsonObject(path);
  return (
    settings &&
    Object.fromEntries(Object.entries(settings).map(([k, v]) => [k, untextedSetting(v)]))
  );
}

/** Lists, such as those of token ids, are flat: a recursion would be as deep as a hostile file is nested. */
function untextedSetting(value: unknown): unknown {
  return Array.isArray(value) ? value.map(untexted) : untexted(value);
}

function untexted(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (/^(true|false)$/i.test(value)) return value.toLowerCase() === 'true';
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value) ? Number(value) : value;
}

/**
 * The config in a nanoGPT checkpoint. The checkpoint does not record the activation: a config.json in its folder may
 * state it.
 */
export async function nanoGptConfig(
  path: string,
  modelArguments: Settings,
  folder: string,
): Promise<CheckpointConfig> {
  const beside = join(folder, 'config.json');
  const settings = (await readSettings(beside)) ?? {};
  // nanoGPT computes the erf form of GELU since 2023. Before, and in build-nanogpt, there is the tanh form and no
  // setting `bias`.
  const usual = 'bias' in modelArguments ? 'gelu' : 'gelu_new';
  const activation = activationOf(beside, settings) ?? usual;
  return { ...configOf(path, modelArguments, nanoGptNames), activation };
}

// Hugging Face's names: https://github.com/huggingface/transformers/blob/main/src/transformers/activations.py
// gelu_fast, gelu_accurate, gelu_pytorch_tanh and gelu_python_tanh write the formula of gelu_new in other ways.
const activations: ReadonlyMap<unknown, Activation> = new Map([
  ...(['gelu_new', 'gelu_fast', 'gelu_accurate', 'gelu_pytorch_tanh', 'gelu_python_tanh'].map(
    (name) => [name, 'gelu_new'],
  ) as [string, Activation][]),
  ['gelu', 'gelu'],
  ['gelu_python', 'gelu'],
  ['relu', 'relu'],
  ['silu', 'silu'],
  ['swish', 'silu'],
]);

function activationOf(path: string, settings: Settings): Activation | undefined {
  const { activation_function: name } = settings;
  if (name == null) return undefined;
  const activation = activations.get(name);
  if (activation) return activation;
  throw new Gpt2Error(
    'UNSUPPORTED_MODEL',
    `${path}: expected activation_function to be ${[...activations.keys()].map(show).join(', ')} but found ${show(name)}`,
  );
}

/** The shapes of the embeddings, and the number of layers in the weights. */
export interface WeightShapes {
  tokenEmbedding: readonly number[];
  positionEmbedding: readonly number[];
  layerCount: number;
}

/** Names that training programs use in the objects beside a state dict. */
export const trainingNames: SettingNames = {
  vocabSize: ['vocab_size', 'n_vocab'],
  contextLength: [
    'block_size',
    'n_positions',
    'n_ctx',
    'context_length',
    'max_position_embeddings',
    'max_seq_len',
  ],
  embeddingLength: ['n_embd', 'emb_dim', 'hidden_size', 'd_model', 'embed_dim'],
  headCount: ['n_head', 'n_heads', 'num_heads', 'num_attention_heads'],
  layerCount: ['n_layer', 'n_layers', 'num_layers', 'num_hidden_layers'],
};

/** The config in an object beside a state dict. Sizes that it lacks are those of the weights. */
export function configOfTraining(
  path: string,
  settings: Settings,
  { tokenEmbedding, positionEmbedding, layerCount }: WeightShapes,
): CheckpointConfig {
  // Here model_type is the program's own word.
  checkSupported(path, { ...settings, model_type: 'gpt2' });
  const sizes = {
    vocab_size: tokenEmbedding[0],
    block_size: positionEmbedding[0],
    n_embd: tokenEmbedding[1],
    n_layer: layerCount,
  };
  const config = configOf(path, { ...settings, ...sizes }, trainingNames);
  // build-nanogpt and all others but nanoGPT, which alone has a setting `bias`, compute the tanh form of GELU.
  return { ...config, activation: config.activation ?? ('bias' in settings ? 'gelu' : 'gelu_new') };
}

// Width, layers and heads of the models that OpenAI and Hugging Face (distilgpt2) published. Only these are recognised
// by their shapes: other models of the same width may have any number of heads.
const published: readonly (readonly [width: number, layerCount: number, headCount: number])[] = [
  [768, 6, 12],
  [768, 12, 12],
  [1024, 24, 16],
  [1280, 36, 20],
  [1600, 48, 25],
];

/** The head count of a published size, undefined for other sizes. */
export function publishedHeadCount(width: number, layerCount: number): number | undefined {
  return published.find((size) => size[0] === width && size[1] === layerCount)?.[2];
}

/** Derives the config of weights that come without one from the shapes of the embeddings and the number of layers. */
export function configOfShapes(
  path: string,
  tokenEmbedding: readonly number[],
  positionEmbedding: readonly number[],
  layerCount: number,
  headCount: number,
): CheckpointConfig {
  const settings = {
    vocab_size: tokenEmbedding[0],
    context_length: positionEmbedding[0],
    emb_dim: tokenEmbedding[1],
    n_heads: headCount,
    n_layers: layerCount,
  };
  return configOf(path, settings, fromScratchNames);
}

function configOf(
  path: string,
  settings: Settings,
  names: SettingNames,
  defaults: Defaults = {},
): CheckpointConfig {
  const size = (candidates: string[], fallback: number | undefined) => {
    const name = candidates.find((candidate) => settings[candidate] != null);
    const value = name === undefined ? fallback : settings[name];
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) >= 2 ** 31) {
      throw new Gpt2Error(
        'INVALID_FILE',
        `${path}: expected ${candidates[0]} to be a whole number of at least 1 but found ${show(value)}`,
      );
    }
    return value as number;
  };
  const embeddingLength = size(names.embeddingLength, defaults.embeddingLength);
  const headCount = size(names.headCount, defaults.headCount);
  if (embeddingLength % headCount !== 0) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: ${names.embeddingLength[0]} ${embeddingLength} is not a multiple of ${names.headCount[0]} ${headCount}`,
    );
  }
  const layerNormEpsilon = settings.layer_norm_epsilon ?? defaultEpsilon;
  // GGUF stores it in f32, where it may round to 0 or infinity.
  const isPositive = (number: number) => number > 0 && number < Number.POSITIVE_INFINITY;
  if (typeof layerNormEpsilon !== 'number' || !isPositive(Math.fround(layerNormEpsilon))) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected layer_norm_epsilon to be a positive number but found ${show(layerNormEpsilon)}`,
    );
  }
  const { tie_word_embeddings: headIsTied } = settings;
  return {
    vocabSize: size(names.vocabSize, defaults.vocabSize),
    contextLength: size(names.contextLength, defaults.contextLength),
    embeddingLength,
    headCount,
    layerCount: size(names.layerCount, defaults.layerCount),
    feedForwardLength: size(['n_inner'], 4 * embeddingLength),
    layerNormEpsilon,
    activation: activationOf(path, settings),
    headIsTied: typeof headIsTied === 'boolean' ? headIsTied : undefined,
    endOfText: endOfTextOf(settings),
    scoreFactor: scoreFactorOf(settings, embeddingLength / headCount),
  };
}

/** Hugging Face's two settings for the scale of attention scores. */
function scoreFactorOf(
  { scale_attn_weights: isScaled, scale_attn_by_inverse_layer_idx: isByLayer }: Settings,
  headSize: number,
): CheckpointConfig['scoreFactor'] {
  if (isScaled !== false && isByLayer !== true) return undefined;
  const factor = isScaled === false ? Math.sqrt(headSize) : 1;
  return (layer) => (isByLayer === true ? factor / (layer + 1) : factor);
}

/**
 * The ids that end a text according to generation_config.json, which Hugging Face's generate() reads before config.json.
 * Empty if there is no such file or if it does not name any.
 */
export async function readGenerationConfig(folder: string): Promise<number[]> {
  return endOfTextOf((await readSettings(join(folder, 'generation_config.json'))) ?? {});
}

/** eos_token_id: an id, a list of ids, or null. Other values, such as -1, stand for none. */
function endOfTextOf({ eos_token_id: ids }: Settings): number[] {
  const isId = (id: unknown): id is number =>
    Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 31;
  return [...new Set([ids].flat().filter(isId))];
}

// The settings that change the computation, each with the values that the engine supports. The default of every
// setting is among them. reorder_and_upcast_attn is not one of these settings: in f32 it computes the same.
const supported: Record<string, readonly unknown[]> = {
  model_type: ['gpt2'],
  scale_attn_weights: [true, false],
  scale_attn_by_inverse_layer_idx: [false, true],
  add_cross_attention: [false],
  is_encoder_decoder: [false],
  quantization_config: [null],
};

function checkSupported(path: string, config: Settings): void {
  for (const [setting, values] of Object.entries(supported)) {
    const value = config[setting];
    if (value == null || values.includes(value)) continue;
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${path}: expected ${setting} to be ${values.map(show).join(' or ')} but found ${show(value)}`,
    );
  }
}
