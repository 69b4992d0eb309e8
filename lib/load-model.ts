import { stat } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { checkBoolean, checkInteger, checkOneOf, checkOptions, checkString } from './arguments.js';
import { inCacheFolder } from './cache-folder.js';
import { isCheckpointFile } from './checkpoint/checkpoint-files.js';
import {
  type AdapterOption,
  type ConversionSettings,
  checkConversion,
  refuseAdapters,
} from './conversion-options.js';
import { Gpt2Error } from './errors.js';
import { reading } from './files.js';
import { sizeWithParts } from './gguf/gguf-parts.js';
import type { WeightType } from './gguf/tensor-types.js';
import { Model } from './model.js';
import { findModel } from './model-source.js';
import { modelTokenizer } from './model-tokenizer.js';
import { type AbortSignalLike, unlessAborted } from './native/abort.js';
import { addon } from './native/addon.js';
import { nodeGlobal } from './native/globals.js';
import { callNative } from './native/native-call.js';
import type { Logger } from './native/types.js';
import type { LoadProgress } from './progress.js';
import { checkSource, type UrlLike } from './source.js';

export interface LoadOptions {
  /** The device that computes. Default 'auto': a GPU if this build supports one that is present, else the CPU. */
  device?: 'auto' | 'cpu' | 'cuda' | 'metal' | 'vulkan';
  /**
   * Threads that compute and that convert a checkpoint, 1 to 512. Default: the physical cores within the process's
   * affinity mask and cgroup limit. More threads than processors gain nothing.
   */
  threads?: number;
  /** The longest sequence in tokens, from 1 to the model's own. Default: the model's own. */
  contextLength?: number;
  /**
   * The type of the weights when a checkpoint is converted. Of several GGUF files on the hub, selects the one with
   * the type in its name. Default: the checkpoint's own.
   */
  type?: WeightType;
  /** The number of attention heads, for weights without a config. Default: that of the published sizes. */
  headCount?: number;
  /**
   * LoRA adapters of PEFT to merge into the weights when a checkpoint is converted: their folders, or the files with
   * their weights. `scale` multiplies an adapter's own factor. Default: none.
   */
  adapters?: readonly AdapterOption[];
  /** The type of keys and values. Default: 'f32' for f32 weights, else 'f16'. */
  cacheType?: 'f32' | 'f16';
  /**
   * The limit of the memory for the keys and values of all sequences, in bytes. Calls wait until there is room, and
   * idle sessions give theirs up: their next call evaluates their tokens again. Default: a quarter of the machine's
   * memory, and at least that of one sequence of `contextLength`.
   */
  cacheMemory?: number;
  /**
   * Whether sequences with an equal beginning share its keys and values, in blocks of 64 tokens: a call then evaluates
   * only what differs. Those of the last sequences, up to `contextLength` tokens, are kept for later calls. Does not
   * change a result. Default true.
   */
  prefixCache?: boolean;
  /** Maps the file, so that processes share its memory. false reads it into memory. Default true. */
  mmap?: boolean;
  /** The folder for conversions. Default: the variable GPT2_NATIVE_CACHE, or the platform's cache folder. */
  cacheDir?: string;
  /** Opens models of the hub from the cache only, without network access. Default: the variable HF_HUB_OFFLINE. */
  offline?: boolean;
  /** Aborts download, conversion and loading. The call then rejects with the signal's reason. */
  signal?: AbortSignalLike;
  /** Receives the progress of each stage, in bytes. */
  onProgress?: (progress: LoadProgress) => void;
  /**
   * Receives ggml's log lines for this model: mostly none on the CPU, a driver's reports on a GPU, and the size of a
   * failed allocation. Also receives a line for what the conversion of a checkpoint leaves out or rounds. Without a
   * logger they are dropped; nothing is written to stdout or stderr.
   */
  logger?: Logger;
}

export const loadOptionNames = [
  'device',
  'threads',
  'contextLength',
  'type',
  'headCount',
  'adapters',
  'cacheType',
  'cacheMemory',
  'prefixCache',
  'mmap',
  'cacheDir',
  'offline',
  'signal',
  'onProgress',
  'logger',
] as const;

/**
 * Opens a model.
 *
 * @param source One of
 *   - nothing: the small model that comes with the package, for trying things out;
 *   - the path of a GGUF file, or of the first part of a split one;
 *   - the path of a checkpoint's folder or of the file with its weights, in the formats of Hugging Face, OpenAI,
 *     nanoGPT and "Build a Large Language Model (From Scratch)" (docs/checkpoints.md); it is converted once, into the
 *     cache;
 *   - the name of a model on the Hugging Face hub, which is downloaded once: `gpt2`, `gpt2-medium`, `gpt2-large`,
 *     `gpt2-xl`, `distilgpt2` or `owner/name`, each optionally with `@revision`.
 *
 *   If a file or folder exists at that path, it is opened as a path, never looked up as a name.
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, FILE_UNWRITABLE (the cache), INVALID_FILE, UNSUPPORTED_MODEL,
 *   DEVICE_UNAVAILABLE, OUT_OF_MEMORY, INVALID_ARGUMENT, UNKNOWN_OPTION; for a name also MODEL_NOT_FOUND,
 *   ACCESS_DENIED, HUB_UNAVAILABLE, CHECKSUM_MISMATCH
 * @example
 * const toy = await loadModel();
 * const model = await loadModel('./my-gpt2', { type: 'q8_0', threads: 2 });
 * const published = await loadModel('gpt2', { onProgress: ({ stage, done, total }) => {} });
 */
export async function loadModel(source?: string | UrlLike, options?: LoadOptions): Promise<Model> {
  const checked = checkLoadOptions(checkOptions('loadModel', options, loadOptionNames));
  const { cacheDir, signal, onProgress, logger } = checked;
  signal?.throwIfAborted();

  const log = logger && withUncaughtErrors(logger);
  const { path, size } = await findModelFile(source, cacheDir, { ...checked, logger: log });
  onProgress?.({ stage: 'load', done: 0, total: size });
  const nativeOptions = {
    device: checked.device,
    threads: checked.threads ?? 0,
    contextLength: checked.contextLength ?? 0,
    cacheType: checked.cacheType,
    cacheBytes: checked.cacheMemory,
    machineBytes: machineMemory(),
    prefixCache: checked.prefixCache,
    mmap: checked.mmap,
  };
  const native = await callNative(signal, async (cancellation) => {
    const opened = await addon().openModel(path, nativeOptions, log, cancellation);
    if (signal?.aborted) await opened.dispose(); // the call has rejected, so nothing else disposes it
    return opened;
  });
  try {
    const description = native.describe();
    const { headCount = description.headCount } = checked;
    if (headCount !== description.headCount) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${path}: expected headCount to be ${description.headCount}, the model's own, but received ${headCount}`,
      );
    }
    const tokenizer = await modelTokenizer(path, description, signal);
    signal?.throwIfAborted();
    onProgress?.({ stage: 'load', done: size, total: size });
    return new Model(native, description, tokenizer, log);
  } catch (error) {
    await native.dispose();
    throw error;
  }
}

/** @internal Checks load options and adds the defaults. */
export function checkLoadOptions(options: LoadOptions) {
  const { device = 'auto', mmap = true, prefixCache = true, cacheDir } = options;
  const { contextLength, cacheType, cacheMemory } = options;
  checkOneOf('device', device, ['auto', 'cpu', 'cuda', 'metal', 'vulkan']);
  if (contextLength !== undefined) {
    checkInteger('contextLength', contextLength, 1, Number.MAX_SAFE_INTEGER);
  }
  if (cacheType !== undefined) checkOneOf('cacheType', cacheType, ['f32', 'f16']);
  if (cacheMemory !== undefined) {
    checkInteger('cacheMemory', cacheMemory, 1, Number.MAX_SAFE_INTEGER);
  }
  checkBoolean('prefixCache', prefixCache);
  checkBoolean('mmap', mmap);
  if (cacheDir !== undefined) checkString('cacheDir', cacheDir);
  return { ...checkConversion(options), device, mmap, prefixCache, cacheDir };
}

/** The machine's memory in bytes, within the limit of the process's cgroup. */
function machineMemory(): number {
  const limit = process.constrainedMemory?.() ?? 0; // 0: unknown
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

// Node drops an error that a function called by an addon throws, and writes a warning to stderr.
function withUncaughtErrors(logger: Logger): Logger {
  return (line, level) => {
    try {
      logger(line, level);
    } catch (error) {
      nodeGlobal('queueMicrotask')(() => {
        throw error;
      });
    }
  };
}

/**
 * @internal Finds the GGUF file of a source. A model is downloaded and converted first if necessary.
 *
 * @param cacheFolder default: `defaultCacheFolder()`, which a GGUF file does not need
 */
export async function findModelFile(
  source: string | UrlLike | undefined,
  cacheFolder: string | undefined,
  options: ConversionSettings,
): Promise<{ path: string; size: number }> {
  const { type, threads, headCount, adapters, signal, onProgress, logger } = options;
  const given = source === undefined ? undefined : checkSource('the model', source);
  const model = await findModel(given, options);
  const statOf = async (path: string) => await reading(path, async () => await stat(path));
  const found = await unlessAborted(signal, statOf(model.path));
  if (found.isFile() && !(await isCheckpointFile(model.path, signal))) {
    refuseAdapters(model.path, options);
    return { path: model.path, size: await sizeWithParts(model.path, found.size) };
  }
  if (!found.isFile() && !found.isDirectory()) {
    throw new Gpt2Error('FILE_UNREADABLE', `${model.path}: neither a file nor a folder`);
  }
  const conversion = { type, threads, headCount, adapters, signal, onProgress, logger };
  const path = await inCacheFolder(cacheFolder, (folder) =>
    conversionCache().cachedConversion(model, folder, conversion),
  );
  return { path, size: (await statOf(path)).size };
}

// Loaded on demand, since loading takes 10 ms and GGUF files do not need it.
function conversionCache(): typeof import('./conversion-cache.js') {
  return require('./conversion-cache.js');
}
