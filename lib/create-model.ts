import { join } from 'node:path';
import { checkInteger, checkOptions } from './arguments.js';
import { inCacheFolder } from './cache-folder.js';
import { paddedGpt2Vocabulary } from './checkpoint/vocabulary.js';
import { requireSpace } from './files.js';
import {
  equalNumbers,
  matrixType,
  type PlannedTensor,
  type WriteOptions,
  writeModelFile,
} from './gguf/model-file.js';
import { type ModelTensor, tiedModelTensors } from './gguf/model-tensors.js';
import { byteSize, type WeightType } from './gguf/tensor-types.js';
import { checkGpt2Config, type Gpt2Config, type PresetName, sizesOf } from './gpt2-config.js';
import { makeTemporaryFolder, removeLeftovers } from './leftovers.js';
import { checkLoadOptions, type LoadOptions, loadModel, loadOptionNames } from './load-model.js';
import type { Model } from './model.js';
import { unlessAborted } from './native/abort.js';
import type { Gpt2Module } from './native/types.js';

export interface CreateOptions extends Omit<LoadOptions, 'adapters'> {
  /** Determines the weights: same seed, same weights. Default: a random one for every call. */
  seed?: number;
}

// There is no checkpoint to merge adapters into.
const optionNames = loadOptionNames.filter((name) => name !== 'adapters');

/**
 * Makes an untrained model with GPT-2's initialisation (Radford et al. 2019, section 2.3). The head is the token
 * embedding. With a vocabulary of 50,257 to 50,304 tokens, the model has GPT-2's tokenizer.
 *
 * The weights are written to a file in the cache folder, which is removed before the call returns.
 *
 * @param config a published size, or a dictionary as in "Build a Large Language Model (From Scratch)"
 * @throws INVALID_ARGUMENT, UNKNOWN_OPTION, FILE_UNWRITABLE, OUT_OF_MEMORY, DEVICE_UNAVAILABLE
 * @example
 * const model = await createModel('124M', { seed: 123 });
 * const small = await createModel({
 *   vocab_size: 50257, context_length: 256, emb_dim: 192, n_heads: 6, n_layers: 6, drop_rate: 0.1, qkv_bias: false,
 * });
 */
export async function createModel(
  config: Gpt2Config | PresetName,
  options?: CreateOptions,
): Promise<Model> {
  const fullConfig = checkGpt2Config(config);
  const checked = checkOptions('createModel', options, ['seed', ...optionNames]);
  const { seed = Math.floor(Math.random() * 2 ** 53), ...loadOptions } = checked;
  checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER);
  const { type = 'f32', cacheDir, threads, signal, onProgress } = checkLoadOptions(loadOptions);
  signal?.throwIfAborted();

  return await inCacheFolder(cacheDir, async (cacheFolder) => {
    await unlessAborted(signal, removeLeftovers(cacheFolder));
    const folder = await makeTemporaryFolder(cacheFolder);
    try {
      await requireSpace(folder.path, modelBytes(fullConfig, type));
      const path = join(folder.path, 'model.gguf');
      const untrained = { config: fullConfig, seed, type };
      await writeUntrained(path, untrained, { threads, signal, onProgress });
      // Windows does not remove a file that is mapped.
      const mmap = process.platform === 'win32' ? false : loadOptions.mmap;
      return await loadModel(path, { ...loadOptions, mmap });
    } finally {
      await folder.remove();
    }
  });
}

function modelBytes(config: Required<Gpt2Config>, type: WeightType): number {
  let bytes = 0;
  for (const { name, rowLength, rows, isVector } of tiedModelTensors(sizesOf(config))) {
    bytes += byteSize(
      isVector ? 'f32' : matrixType(name, rowLength, type, config.n_layers),
      rowLength,
      rows,
    );
  }
  return bytes;
}

// Radford et al. 2019, section 2.3, and https://github.com/openai/gpt-2/blob/master/src/model.py
const deviation = 0.02;
const positionDeviation = 0.01;

/** The standard deviation of a matrix's elements. */
function deviationOf({ role }: Gpt2Module, layerCount: number): number {
  if (role === 'positionEmbedding') return positionDeviation;
  // Two projections per layer add to the residual stream. Scaling them keeps its variance independent of the depth.
  const isAdded = role === 'attentionOutput' || role === 'feedForwardDown';
  return isAdded ? deviation / Math.sqrt(2 * layerCount) : deviation;
}

function planTensor(tensor: ModelTensor, stream: number, model: Untrained): PlannedTensor {
  const { name, module, parameter, rowLength, rows, isVector } = tensor;
  if (isVector) return equalNumbers(name, parameter === 'weight' ? 1 : 0, rowLength);
  const { seed, type, config } = model;
  return {
    name,
    type: matrixType(name, rowLength, type, config.n_layers),
    shape: [rowLength, rows],
    numbers: {
      drawn: {
        seed,
        stream,
        deviation: deviationOf(module, config.n_layers),
        rows,
        columns: rowLength,
      },
    },
    sourceBytes: 4 * rowLength * rows,
  };
}

interface Untrained {
  config: Required<Gpt2Config>;
  seed: number;
  type: WeightType;
}

/** @internal Writes an untrained model to a file, for `createModel` and the benchmark. */
export async function writeUntrained(
  path: string,
  model: Untrained,
  options: WriteOptions,
): Promise<void> {
  const { vocab_size, n_heads, qkv_bias, drop_rate } = model.config;
  const sizes = sizesOf(model.config);
  const tensors = [...tiedModelTensors(sizes)];
  const qkvBiases = tensors.filter(
    ({ module, parameter }) => module.role === 'attentionQkv' && parameter === 'bias',
  );
  const description = {
    name: 'untrained',
    config: {
      ...sizes,
      headCount: n_heads,
      layerNormEpsilon: 1e-5,
      activation: 'gelu_new' as const,
      endOfText: [],
    },
    vocabulary: await paddedGpt2Vocabulary(vocab_size),
    absentBiases: qkv_bias ? [] : qkvBiases.map(({ name }) => name),
    dropRate: drop_rate,
    requestedType: model.type,
  };
  const planned = tensors.map((tensor, i) => planTensor(tensor, i, model));
  await writeModelFile(path, description, planned, options);
}
