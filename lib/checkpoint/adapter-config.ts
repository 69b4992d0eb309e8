import { join } from 'node:path';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { readJsonObject } from '../files.js';
import { unsupportedMethod } from './peft.js';

/** What a PEFT config says about its adapter; https://huggingface.co/docs/peft/package_reference/lora */
export interface AdapterConfig {
  path: string;
  /** The rank of all modules. Undefined if it differs between modules or is not stated. */
  rank: number | undefined;
  /** The factor of the product of a module's two matrices. */
  factor(module: string, rank: number): number;
}

type Settings = Readonly<Record<string, unknown>>;

export const adapterConfigName = 'adapter_config.json';
const defaultAlpha = 8; // of PEFT's LoraConfig

/**
 * Reads the config of a LoRA adapter. Returns undefined if there is none in the folder.
 *
 * @throws UNSUPPORTED_MODEL for other methods than LoRA; INVALID_FILE, FILE_UNREADABLE
 */
export async function readAdapterConfig(folder: string): Promise<AdapterConfig | undefined> {
  const path = join(folder, adapterConfigName);
  const settings = await readJsonObject(path);
  if (!settings) return undefined;
  checkMethod(path, settings);
  const alpha = settings.lora_alpha == null ? defaultAlpha : numberOf(path, settings, 'lora_alpha');
  const patterns = patternsOf(path, settings);
  const isRsLora = settings.use_rslora === true;
  const hasRankPattern = Object.keys(settings.rank_pattern ?? {}).length > 0;
  return {
    path,
    rank: settings.r == null || hasRankPattern ? undefined : numberOf(path, settings, 'r'),
    factor(module, rank) {
      const own = patterns.find(({ matches }) => matches(module))?.alpha ?? alpha;
      // LoRA: Hu et al. 2021, section 4.1. rsLoRA: Kalajdzievski 2023.
      return own / (isRsLora ? Math.sqrt(rank) : rank);
    },
  };
}

function numberOf(path: string, settings: Settings, name: string): number {
  const value = settings[name];
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new Gpt2Error(
    'INVALID_FILE',
    `${path}: expected ${name} to be a number but found ${show(value)}`,
  );
}

// Settings that change the computation, and whether a value does. Those of other methods are known by their tensors.
const otherMethods: Readonly<Record<string, (value: unknown) => boolean>> = {
  use_dora: Boolean,
  use_qalora: Boolean,
  lora_bias: Boolean,
  layer_replication: (value) => !isEmpty(value),
  trainable_token_indices: (value) => !isEmpty(value),
  target_parameters: (value) => !isEmpty(value),
  alora_invocation_tokens: (value) => !isEmpty(value),
  // Some initialisations subtract the first product from the weights of the base model.
  init_lora_weights: (value) =>
    ![true, false, 'gaussian', 'eva', 'orthogonal'].includes(value as string),
};

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function checkMethod(path: string, settings: Settings): void {
  const { peft_type: method } = settings;
  if (method !== 'LORA') throw unsupportedMethod(path, `the peft_type ${show(method)}`);
  for (const [name, changes] of Object.entries(otherMethods)) {
    const value = settings[name];
    if (value != null && changes(value)) throw unsupportedMethod(path, `${name} ${show(value)}`);
  }
}

interface AlphaPattern {
  alpha: number;
  matches(module: string): boolean;
}

/**
 * The alphas of single modules: by their whole name or by the end of it. PEFT takes these names as regular expressions.
 * Only names are supported, and `^` for the start, since an expression of a stranger may take forever.
 */
function patternsOf(path: string, { alpha_pattern: patterns }: Settings): AlphaPattern[] {
  if (typeof patterns !== 'object' || patterns === null) return [];
  return Object.keys(patterns).map((key) => {
    const name = key.replace(/^\^/, '').replaceAll('\\.', '.').replace(/\$$/, '');
    if (!/^[\w.]+$/.test(name)) {
      throw new Gpt2Error(
        'UNSUPPORTED_MODEL',
        `${path}: expected the keys of alpha_pattern to be names of modules but found ${show(key)}`,
      );
    }
    const isWhole = key.startsWith('^');
    return {
      alpha: numberOf(path, patterns as Settings, key),
      matches: (module) => module === name || (!isWhole && module.endsWith(`.${name}`)),
    };
  });
}
