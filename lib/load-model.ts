import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  checkThreads,
} from './arguments.js';
import { isCheckpointFile } from './checkpoint/checkpoint-files.js';
import { cachedConversion, defaultCacheFolder } from './conversion-cache.js';
import { Gpt2Error } from './errors.js';
import { sizeWithParts } from './gguf/model-size.js';
import { type WeightType, weightTypes } from './gguf/tensor-types.js';
import { Model } from './model.js';
import { findModel } from './model-source.js';
import { unlessAborted } from './native/abort.js';
import { addon } from './native/addon.js';
import { callNative } from './native/native-call.js';
import type { Logger } from './native/types.js';
import type { LoadProgress } from './progress.js';
import { tokenizerFor } from './tokenizer/tokenizer.js';

export interface LoadOptions {
  /** Where to compute. Default 'auto': a GPU if this build knows one that is there, else the CPU. */
  device?: 'auto' | 'cpu' | 'cuda' | 'metal' | 'vulkan';
  /**
   * Threads that compute, and that convert a checkpoint. Default: the physical cores that the process may use,
   * within the control group's limit. More threads than processors gain nothing.
   */
  threads?: number;
  /** Tokens at most in a sequence, from 1 to the model's own, which is the default. */
  contextLength?: number;
  /**
   * The type of the weights when a checkpoint is converted. Default: the checkpoint's own. Of several GGUF files
   * on the hub it chooses the one with the type in its name.
   */
  type?: WeightType;
  /** The type of keys and values. Default: f32 for weights in f32, else f16. */
  cacheType?: 'f32' | 'f16';
  /** Map the file, so that processes share its memory and it is read as needed. Default true. */
  mmap?: boolean;
  /** Where conversions are kept. Default: the platform's cache folder, or GPT2_NATIVE_CACHE. */
  cacheDir?: string;
  /**
   * Takes models of the hub from the cache alone; the network is never touched. Default: what HF_HUB_OFFLINE
   * says.
   */
  offline?: boolean;
  /** Stops the loading, which then rejects with the signal's reason. */
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
  /**
   * Hears what ggml says while it works for this model: mostly nothing on the CPU, what a driver reports on
   * a GPU, and how much memory was asked for where there was too little. Default: nobody; it is never
   * written to stdout or stderr.
   */
  logger?: Logger;
}

export const loadOptionNames = [
  'device',
  'threads',
  'contextLength',
  'type',
  'cacheType',
  'mmap',
  'cacheDir',
  'offline',
  'signal',
  'onProgress',
  'logger',
] as const;

/**
 * Opens a model: a GGUF file (of a split one, the first part), or a checkpoint, as its folder or as the file with
 * its weights, which is converted once into the cache: Hugging Face's, OpenAI's, nanoGPT's or the book's
 * (docs/checkpoints.md); or the name of one on the Hugging Face hub, which is fetched once: `gpt2`, `gpt2-medium`,
 * `gpt2-large`, `gpt2-xl`, `distilgpt2`, or `owner/name`, each also with `@revision`. What there is under a path is
 * never taken for a name.
 * Without a source it is the small model that comes with the package, for trying things out.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, FILE_UNWRITABLE (the cache), INVALID_FILE, UNSUPPORTED_MODEL,
 *   DEVICE_UNAVAILABLE, OUT_OF_MEMORY, INVALID_ARGUMENT, UNKNOWN_OPTION; for a name MODEL_NOT_FOUND,
 *   ACCESS_DENIED, HUB_UNAVAILABLE, CHECKSUM_MISMATCH
 * @example
 * const toy = await loadModel();
 * const model = await loadModel('./my-gpt2', { type: 'q8_0', threads: 2 });
 * const published = await loadModel('gpt2', { onProgress: ({ stage, done, total }) => {} });
 */
export async function loadModel(source?: string, options?: LoadOptions): Promise<Model> {
  const checked = checkLoadOptions(checkOptions('loadModel', options, loadOptionNames));
  const { cacheDir, signal, onProgress, logger } = checked;
  signal?.throwIfAborted();

  const { path, size } = await findModelFile(source, cacheDir, checked);
  onProgress?.({ stage: 'load', done: 0, total: size });
  const nativeOptions = {
    device: checked.device,
    threads: checked.threads ?? 0,
    contextLength: checked.contextLength ?? 0,
    cacheType: checked.cacheType,
    mmap: checked.mmap,
  };
  const hear = logger && withUncaughtErrors(logger);
  const native = await callNative(signal, async (cancellation) => {
    const opened = await addon().openModel(path, nativeOptions, hear, cancellation);
    if (signal?.aborted) await opened.dispose(); // nobody waits for it any more
    return opened;
  });
  try {
    const description = native.describe();
    const tokenizer = tokenizerFor(description.vocabSize, description.vocabulary);
    signal?.throwIfAborted();
    onProgress?.({ stage: 'load', done: size, total: size });
    return new Model(native, description, tokenizer, hear);
  } catch (error) {
    await native.dispose();
    throw error;
  }
}

/** Load options, checked, with their defaults. */
export function checkLoadOptions(options: LoadOptions) {
  const { device = 'auto', mmap = true, cacheDir = defaultCacheFolder() } = options;
  const { threads, contextLength, type, cacheType, offline, signal, onProgress, logger } = options;
  checkOneOf('device', device, ['auto', 'cpu', 'cuda', 'metal', 'vulkan']);
  if (threads !== undefined) checkThreads(threads);
  if (contextLength !== undefined) {
    checkInteger('contextLength', contextLength, 1, Number.MAX_SAFE_INTEGER);
  }
  if (type !== undefined) checkOneOf('type', type, weightTypes);
  if (cacheType !== undefined) checkOneOf('cacheType', cacheType, ['f32', 'f16']);
  checkBoolean('mmap', mmap);
  if (offline !== undefined) checkBoolean('offline', offline);
  checkString('cacheDir', cacheDir);
  checkSignal(signal);
  checkFunction('onProgress', onProgress);
  checkFunction('logger', logger);
  return { ...options, device, mmap, cacheDir };
}

// Node drops what a function throws that an addon calls, and writes a warning to stderr.
function withUncaughtErrors(logger: Logger): Logger {
  return (line, level) => {
    try {
      logger(line, level);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}

/** The GGUF file that a source means, fetched and converted if need be. */
export async function findModelFile(
  source: string | undefined,
  cacheFolder: string,
  options: Pick<LoadOptions, 'type' | 'threads' | 'offline' | 'signal' | 'onProgress'>,
): Promise<{ path: string; size: number }> {
  const { type, threads, signal, onProgress } = options;
  if (source !== undefined) checkString('the model', source);
  const model = await findModel(source, options);
  const found = await unlessAborted(signal, stat(model.path));
  if (found.isFile() && !(await isCheckpointFile(model.path, signal))) {
    return { path: model.path, size: await sizeWithParts(model.path, found.size) };
  }
  if (!found.isFile() && !found.isDirectory()) {
    throw new Gpt2Error('FILE_UNREADABLE', `${model.path}: neither a file nor a folder`);
  }
  const path = await cachedConversion(model, resolve(cacheFolder), {
    type,
    threads,
    signal,
    onProgress,
  });
  return { path, size: (await stat(path)).size };
}
