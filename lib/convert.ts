import { basename, parse, resolve } from 'node:path';
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
import { type Checkpoint, openCheckpoint } from './checkpoint/checkpoint.js';
import { isGgufFile } from './checkpoint/checkpoint-files.js';
import { mergeAdapters } from './checkpoint/merge-adapters.js';
import { withScaledQueries } from './checkpoint/scaled-queries.js';
import { type CheckpointTensor, nativePart, ownType } from './checkpoint/tensor-parts.js';
import { paddedGpt2Vocabulary, readVocabulary } from './checkpoint/vocabulary.js';
import { Gpt2Error } from './errors.js';
import {
  equalNumbers,
  matrixType,
  type PlannedTensor,
  type Vocabulary,
  writeModelFile,
} from './gguf/model-file.js';
import { weightName } from './gguf/model-tensors.js';
import { requantize } from './gguf/requantize.js';
import { type WeightType, weightTypes } from './gguf/tensor-types.js';
import { removeLeftovers } from './leftovers.js';
import type { LocalModel } from './local-model.js';
import { findModel } from './model-source.js';
import { type AbortSignalLike, unlessAborted } from './native/abort.js';
import type { Logger } from './native/types.js';
import type { LoadProgress } from './progress.js';
import { checkSource, type UrlLike } from './source.js';

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
      'adapters',
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

/** @internal Converts a model on this machine, as `convert` does. The options have been checked. */
export async function convertLocal(
  { path: source, name }: LocalModel,
  target: string,
  options: ConversionSettings,
): Promise<void> {
  const { type, signal } = options;
  if (await unlessAborted(signal, isGgufFile(source, signal))) {
    refuseAdapters(source, options);
    if (type === undefined) {
      throw new Gpt2Error(
        'INVALID_ARGUMENT',
        `${source}: it is a GGUF file; expected a type to convert it to`,
      );
    }
    await requantize(source, target, type, options);
    return;
  }
  const checkpoint = await openCheckpoint(source, signal, options);
  try {
    const { adapters } = checkpoint;
    const plan = (tensor: CheckpointTensor) =>
      planTensor(tensor, type, checkpoint.config.layerCount);
    const tensors = mergeAdapters(planTensors(checkpoint, plan), adapters, plan);
    const vocabSize = rowsOfEmbedding(tensors);
    const config = { ...checkpoint.config, vocabSize };
    const vocabulary = await unlessAborted(signal, vocabularyOf(checkpoint, vocabSize));
    const description = {
      name: name ?? basename(resolve(source)),
      config,
      vocabulary,
      absentBiases: checkpoint.absentBiases
        .filter(({ name }) => !adapters.some(({ replaced }) => replaced.has(name)))
        .map(({ name }) => name),
      requestedType: type,
      notes: [...checkpoint.notes, ...adapters.map(({ note }) => note)],
    };
    for (const note of checkpoint.notes) options.logger?.(`${source}: ${note}`, 'warn');
    const scaled = tensors.map((tensor) => withScaledQueries(tensor, config));
    await writeModelFile(target, description, scaled, options);
  } finally {
    checkpoint.close();
  }
}

/** @internal Refuses adapters of a GGUF file. */
export function refuseAdapters(path: string, { adapters = [] }: ConversionSettings): void {
  if (adapters.length === 0) return;
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `${path}: it is a GGUF file; expected a checkpoint as the base of adapters, which are merged when it is converted`,
  );
}

function rowsOfEmbedding(tensors: readonly PlannedTensor[]): number {
  const name = weightName('tokenEmbedding');
  return tensors.find((tensor) => tensor.name === name)?.shape[1] ?? 0;
}

/** Reads the vocabulary and pads it to `vocabSize`. An adapter that adds tokens may have brought it. */
async function vocabularyOf(
  { folder, config, adapters, hasNoVocabulary, notes }: Checkpoint,
  vocabSize: number,
): Promise<Vocabulary | undefined> {
  const ofAdapters =
    vocabSize === config.vocabSize ? [] : adapters.map((adapter) => adapter.folder);
  for (const place of [...ofAdapters, folder]) {
    const vocabulary = await readVocabulary(place, vocabSize);
    if (vocabulary === 'unsupported') {
      notes.push(
        `left out: the tokenizer, which is not byte-level BPE or does not fit ${vocabSize} tokens; the model takes token ids`,
      );
      return undefined;
    }
    if (vocabulary !== undefined) return vocabulary;
  }
  return hasNoVocabulary ? await paddedGpt2Vocabulary(vocabSize) : undefined;
}

function planTensors(
  checkpoint: Checkpoint,
  plan: (tensor: CheckpointTensor) => PlannedTensor,
): PlannedTensor[] {
  // llama.cpp's loader requires every bias.
  const zeros = checkpoint.absentBiases.map(({ name, length }) => equalNumbers(name, 0, length));
  return [...checkpoint.tensors.map(plan), ...zeros];
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
    numbers: { parts: parts.map(nativePart) },
    sourceBytes: parts.reduce((sum, { entry }) => sum + entry.byteSize, 0),
  };
}
