import {
  checkBoolean,
  checkFunction,
  checkHeadCount,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  checkThreads,
  invalidArgument,
} from './arguments.js';
import type { AdapterSource } from './checkpoint/adapter.js';
import { Gpt2Error } from './errors.js';
import { type WeightType, weightTypes } from './gguf/tensor-types.js';
import type { AbortSignalLike } from './native/abort.js';
import type { Logger } from './native/types.js';
import type { LoadProgress } from './progress.js';
import { checkSource } from './source.js';

/** The path of a LoRA adapter, or with a factor. */
export type AdapterOption = string | { path: string; scale?: number };

export interface ConvertOptions {
  /** The type of the weights. Default: the checkpoint's own. Required for a GGUF file. */
  type?: WeightType;
  /** Threads that encode the weights. Default: the physical cores that the process may use. */
  threads?: number;
  /** The number of attention heads, for weights without a config. Default: that of the published sizes. */
  headCount?: number;
  /**
   * LoRA adapters of PEFT to merge into the weights of a checkpoint: their folders, or the files with their weights.
   * `scale` multiplies an adapter's own factor. Default: none.
   */
  adapters?: readonly AdapterOption[];
  /** Reads models of the hub from the cache only, without network access. Default: the variable HF_HUB_OFFLINE. */
  offline?: boolean;
  /** Aborts the conversion, which then leaves no file and rejects with the signal's reason. */
  signal?: AbortSignalLike;
  /** Receives the number of bytes converted so far and the total. */
  onProgress?: (progress: LoadProgress) => void;
  /** Receives a line for what a conversion leaves out or rounds, with the level 'warn'. */
  logger?: Logger;
}

/** @internal Checked options. */
export type ConversionSettings = Omit<ConvertOptions, 'signal' | 'adapters'> & {
  signal?: AbortSignal | undefined;
  adapters?: readonly AdapterSource[];
};

/** @internal Checks the options that `loadModel` has as well. */
export function checkConversion<T extends ConvertOptions>(
  options: T,
): Omit<T, 'signal' | 'adapters'> & Pick<ConversionSettings, 'signal' | 'adapters'> {
  const { type, threads, headCount, offline, onProgress, logger } = options;
  if (type !== undefined) checkOneOf('type', type, weightTypes);
  if (threads !== undefined) checkThreads(threads);
  if (headCount !== undefined) checkHeadCount(headCount);
  if (offline !== undefined) checkBoolean('offline', offline);
  checkFunction('onProgress', onProgress);
  checkFunction('logger', logger);
  return {
    ...options,
    adapters: checkAdapters(options.adapters),
    signal: checkSignal(options.signal),
  };
}

function checkAdapters(adapters: unknown = []): AdapterSource[] {
  if (!Array.isArray(adapters)) {
    throw invalidArgument('adapters to be a list of paths, or of objects with a path', adapters);
  }
  return Array.from(adapters, (adapter: unknown, index) => {
    const name = `adapters[${index}]`;
    if (typeof adapter === 'string') return { path: checkSource(name, adapter), scale: 1 };
    if (typeof adapter !== 'object' || adapter === null || Array.isArray(adapter)) {
      throw invalidArgument(`${name} to be a path or an object with a path`, adapter);
    }
    const { path, scale = 1 } = checkOptions<Exclude<AdapterOption, string>>(
      name,
      adapter as Exclude<AdapterOption, string>,
      ['path', 'scale'],
    );
    checkNumber(`${name}.scale`, scale, Number.isFinite, 'a finite number');
    return { path: checkSource(name, checkString(`${name}.path`, path)), scale };
  });
}

/** @internal Refuses adapters of a GGUF file. */
export function refuseAdapters(path: string, { adapters = [] }: ConversionSettings): void {
  if (adapters.length === 0) return;
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `${path}: it is a GGUF file; expected a checkpoint as the base of adapters, which are merged when it is converted`,
  );
}
