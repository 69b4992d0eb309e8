import { basename, parse, resolve } from 'node:path';
import {
  checkBoolean,
  checkFunction,
  checkHeadCount,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  checkThreads,
} from './arguments.js';
import { type Checkpoint, type CheckpointTensor, openCheckpoint } from './checkpoint/checkpoint.js';
import { isGgufFile } from './checkpoint/checkpoint-files.js';
import { withScaledQueries } from './checkpoint/scaled-queries.js';
import { paddedGpt2Vocabulary, readVocabulary } from './checkpoint/vocabulary.js';
import { Gpt2Error } from './errors.js';
import { equalNumbers, matrixType, type PlannedTensor, writeModelFile } from './gguf/model-file.js';
import { requantize } from './gguf/requantize.js';
import { type WeightType, weightTypes } from './gguf/tensor-types.js';
import { removeLeftovers } from './leftovers.js';
import type { LocalModel } from './local-model.js';
import { findModel } from './model-source.js';
import { type AbortSignalLike, unlessAborted } from './native/abort.js';
import type { Logger, TensorType } from './native/types.js';
import type { LoadProgress } from './progress.js';
import { checkSource, type UrlLike } from './source.js';

export interface ConvertOptions {
  /** The type of the weights. Default: the checkpoint's own. Required for a GGUF file. */
  type?: WeightType;
  /** Threads that encode the weights. Default: the physical cores that the process may use. */
  threads?: number;
  /** The number of attention heads, for weights without a config. Default: that of the published sizes. */
  headCount?: number;
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
export type ConversionSettings = Omit<ConvertOptions, 'signal'> & {
  signal?: AbortSignal | undefined;
};

const sourceTypes = { F64: 'f64', F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;

/**
 * Writes a checkpoint, or a GGUF file in another type, to the single GGUF file `target`. llama.cpp loads it too.
 *
 * @param source The path of a checkpoint's folder or of the file with its weights, in the formats of Hugging Face,
 *   OpenAI, nanoGPT and "Build a Large Language Model (From Scratch)" (docs/checkpoints.md); the path of a GGUF file;
 *   or the name of a model on the hub, as for `loadModel`.
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, FILE_UNWRITABLE, INVALID_FILE, UNSUPPORTED_MODEL, OUT_OF_MEMORY,
 *   INVALID_ARGUMENT, UNKNOWN_OPTION; for a name also MODEL_NOT_FOUND, ACCESS_DENIED, HUB_UNAVAILABLE,
 *   CHECKSUM_MISMATCH
 * @example
 * await convert('./my-gpt2', './my-gpt2.gguf', { type: 'q8_0' });
 * await convert('gpt2', './gpt2.gguf', { type: 'q8_0' });
 */
export async function convert(
  source: string | UrlLike,
  target: string,
  options?: ConvertOptions,
): Promise<void> {
  const given = checkSource('the checkpoint', source);
  checkString('target', target);
  const checked = checkConversion(
    checkOptions('convert', options, [
      'type',
      'threads',
      'headCount',
      'offline',
      'signal',
      'onProgress',
      'logger',
    ]),
  );
  const { signal } = checked;
  signal?.throwIfAborted();
  const model = await findModel(given, checked);
  const { dir, base } = parse(resolve(target));
  await unlessAborted(signal, removeLeftovers(dir, base));
  await convertLocal(model, target, checked);
}

/** @internal Checks the options that `loadModel` has as well. */
export function checkConversion<T extends ConvertOptions>(
  options: T,
): Omit<T, 'signal'> & Pick<ConversionSettings, 'signal'> {
  const { type, threads, headCount, offline, onProgress, logger } = options;
  if (type !== undefined) checkOneOf('type', type, weightTypes);
  if (threads !== undefined) checkThreads(threads);
  if (headCount !== undefined) checkHeadCount(headCount);
  if (offline !== undefined) checkBoolean('offline', offline);
  checkFunction('onProgress', onProgress);
  checkFunction('logger', logger);
  return { ...options, signal: checkSignal(options.signal) };
}

/** @internal Converts a model on this machine, as `convert` does. The options have been checked. */
export async function convertLocal(
  { path: source, name }: LocalModel,
  target: string,
  options: ConversionSettings,
): Promise<void> {
  const { type, signal } = options;
  if (await unlessAborted(signal, isGgufFile(source, signal))) {
    if (type === undefined) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${source}: it is a GGUF file; expected a type to convert it to`,
      );
    }
    await requantize(source, target, type, options);
    return;
  }
  const checkpoint = await openCheckpoint(source, signal, options.headCount);
  try {
    const { folder, config, hasNoVocabulary } = checkpoint;
    // Padded to vocabSize, which openCheckpoint has checked against the rows of the embedding.
    let vocabulary = await unlessAborted(signal, readVocabulary(folder, config.vocabSize));
    if (vocabulary === undefined && hasNoVocabulary) {
      vocabulary = await unlessAborted(signal, paddedGpt2Vocabulary(config.vocabSize));
    }
    const description = {
      name: name ?? basename(resolve(source)),
      config,
      vocabulary: vocabulary === 'unsupported' ? undefined : vocabulary,
      absentBiases: checkpoint.absentBiases.map(({ name }) => name),
      requestedType: type,
      notes: checkpoint.notes,
    };
    const tensors = planTensors(checkpoint, type).map((tensor) =>
      withScaledQueries(tensor, config),
    );
    for (const note of checkpoint.notes) options.logger?.(`${source}: ${note}`, 'warn');
    await writeModelFile(target, description, tensors, options);
  } finally {
    checkpoint.close();
  }
}

function planTensors(checkpoint: Checkpoint, type: WeightType | undefined): PlannedTensor[] {
  // llama.cpp's loader requires every bias.
  const zeros = checkpoint.absentBiases.map(({ name, length }) => equalNumbers(name, 0, length));
  const { layerCount } = checkpoint.config;
  return [...checkpoint.tensors.map((tensor) => planTensor(tensor, type, layerCount)), ...zeros];
}

function planTensor(
  tensor: CheckpointTensor,
  type: WeightType | undefined,
  layerCount: number,
): PlannedTensor {
  const { name, isVector, rowLength, rows, parts } = tensor;
  return {
    name,
    type: isVector ? 'f32' : matrixType(name, rowLength, type ?? ownType(tensor), layerCount),
    shape: isVector ? [rowLength] : [rowLength, rows],
    numbers: {
      parts: parts.map(({ entry, dtype, ...part }) => ({
        ...part,
        file: entry.file.native,
        offset: entry.offset,
        type: sourceTypes[dtype],
      })),
    },
    sourceBytes: parts.reduce((sum, { entry }) => sum + entry.byteSize, 0),
  };
}

function ownType({ parts }: CheckpointTensor): TensorType {
  const [own = 'F32', ...others] = new Set(parts.map((part) => part.dtype));
  return others.length > 0 || own === 'F64' ? 'f32' : sourceTypes[own];
}
