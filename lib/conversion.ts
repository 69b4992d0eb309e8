import { basename, resolve } from 'node:path';
import { type Checkpoint, openCheckpoint } from './checkpoint/checkpoint.js';
import { isGgufFile } from './checkpoint/checkpoint-files.js';
import { mergeAdapters } from './checkpoint/merge-adapters.js';
import { withScaledQueries } from './checkpoint/scaled-queries.js';
import { type CheckpointTensor, nativePart, ownType } from './checkpoint/tensor-parts.js';
import { paddedGpt2Vocabulary, readVocabulary } from './checkpoint/vocabulary.js';
import { type ConversionSettings, refuseAdapters } from './conversion-options.js';
import { Gpt2Error } from './errors.js';
import { equalNumbers, matrixType, type PlannedTensor, writeModelFile } from './gguf/model-file.js';
import { weightName } from './gguf/model-tensors.js';
import { requantize } from './gguf/requantize.js';
import type { WeightType } from './gguf/tensor-types.js';
import type { LocalModel } from './local-model.js';
import { unlessAborted } from './native/abort.js';
import type { Vocabulary } from './tokenizer/vocabulary.js';

/** Converts a model on this machine, as `convert` does. The options have been checked. */
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

function rowsOfEmbedding(tensors: readonly PlannedTensor[]): number {
  const name = weightName('tokenEmbedding');
  return tensors.find((tensor) => tensor.name === name)?.shape[1] ?? 0;
}

/**
 * Reads the vocabulary and pads it to `vocabSize`. An adapter that adds tokens may have brought it. Returns the reason in
 * words, if it is left out.
 */
async function vocabularyOf(
  { folder, config, adapters, hasNoVocabulary, notes }: Checkpoint,
  vocabSize: number,
): Promise<Vocabulary | string | undefined> {
  const ofAdapters =
    vocabSize === config.vocabSize ? [] : adapters.map((adapter) => adapter.folder);
  for (const place of [...ofAdapters, folder]) {
    const vocabulary = await readVocabulary(place, vocabSize);
    if (typeof vocabulary === 'string') {
      notes.push(`left out: the tokenizer, since ${vocabulary}; the model takes token ids`);
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
