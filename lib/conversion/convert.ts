import { basename, resolve } from 'node:path';
import { addon, callNative } from '../addon.js';
import { checkFunction, checkOneOf, checkOptions, checkSignal, checkString } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import type { LoadProgress } from '../load-model.js';
import {
  byteSize,
  fileTypeNumbers,
  fittingType,
  isQuantized,
  type TensorType,
  tensorTypes,
} from '../tensor-types.js';
import { type CheckpointConfig, readCheckpointConfig } from './checkpoint-config.js';
import { type Checkpoint, type CheckpointTensor, openCheckpoint } from './checkpoint-tensors.js';
import { type GgufTensor, type GgufValue, GgufWriter } from './gguf-writer.js';
import { readVocabulary, type Vocabulary } from './vocabulary.js';

export interface ConvertOptions {
  /** The type of the weights. Default: the checkpoint's own. */
  type?: TensorType;
  /** Stops the conversion, which then leaves no file and rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Hears bytes of the checkpoint that are done, of all. */
  onProgress?: (progress: LoadProgress) => void;
}

/** A tensor of the file to be written, and where its numbers come from; undefined for an absent bias. */
interface PlannedTensor extends GgufTensor {
  source: CheckpointTensor | undefined;
}

// Read and encoded at a time, so that memory stays small beside the model.
const chunkBytes = 32 << 20;

const sourceTypes = { F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;

/**
 * Converts a checkpoint folder in Hugging Face's form (config.json, model.safetensors single or sharded,
 * tokenizer files if it has them) to a GGUF file, tensor by tensor. llama.cpp loads the file too.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, FILE_UNWRITABLE, INVALID_FILE, UNSUPPORTED_MODEL,
 *   INVALID_ARGUMENT, UNKNOWN_OPTION
 * @example
 * await convert('./my-gpt2', './my-gpt2.gguf', { type: 'q8_0' });
 */
export async function convert(
  folder: string,
  target: string,
  options?: ConvertOptions,
): Promise<void> {
  checkString('folder', folder);
  checkString('target', target);
  const { type, signal, onProgress } = checkOptions('convert', options, [
    'type',
    'signal',
    'onProgress',
  ]);
  if (type !== undefined) checkOneOf('type', type, tensorTypes);
  checkSignal(signal);
  checkFunction('onProgress', onProgress);

  const config = await readCheckpointConfig(folder);
  const checkpoint = await openCheckpoint(folder, config);
  try {
    // Padded to vocabSize, which is only now known to be no more than the embedding's rows.
    const vocabulary = await readVocabulary(folder, config.vocabSize);
    const tensors = planTensors(checkpoint, type);
    const metadata = describe(folder, config, vocabulary, checkpoint, tensors);
    signal?.throwIfAborted();
    const writer = await GgufWriter.create(target, metadata, tensors);
    try {
      await writeTensors(writer, tensors, signal, onProgress);
      await writer.commit();
    } catch (error) {
      await writer.discard();
      throw error;
    }
  } finally {
    await checkpoint.close();
  }
}

function planTensors(checkpoint: Checkpoint, type: TensorType | undefined): PlannedTensor[] {
  const planned: PlannedTensor[] = checkpoint.tensors.map((source) => {
    const [rowLength, rows] = source.transpose
      ? [source.rows, source.columns]
      : [source.columns, source.rows];
    const isVector = source.entry.shape.length === 1;
    return {
      name: source.name,
      type: isVector ? 'f32' : matrixType(source, rowLength, type),
      shape: isVector ? [rowLength] : [rowLength, rows],
      source,
    };
  });
  const zeros = checkpoint.absentBiases.map(
    ({ name, length }): PlannedTensor => ({
      name,
      type: 'f32',
      shape: [length],
      source: undefined,
    }),
  );
  return [...planned, ...zeros];
}

function matrixType(
  source: CheckpointTensor,
  rowLength: number,
  type: TensorType | undefined,
): TensorType {
  if (type === undefined) return sourceTypes[source.dtype];
  if (!isQuantized(type)) return type;
  // One row per position: little to save, and every token adds its error. llama.cpp keeps it too.
  if (source.name === 'position_embd.weight') return 'f16';
  // 4 bits for the embedding, which is the head as well, ruin small models.
  const isTable = source.name === 'token_embd.weight' || source.name === 'output.weight';
  return fittingType(isTable && /^q[45]/.test(type) ? 'q8_0' : type, rowLength);
}

function describe(
  folder: string,
  config: CheckpointConfig,
  vocabulary: Vocabulary | undefined,
  checkpoint: Checkpoint,
  tensors: readonly PlannedTensor[],
): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  const number = (key: string, value: number) => metadata.set(key, { type: 'uint32', value });
  const string = (key: string, value: string) => metadata.set(key, { type: 'string', value });

  string('general.architecture', 'gpt2');
  string('general.name', basename(resolve(folder)));
  number('general.file_type', fileTypeNumbers[dominantType(tensors)]);
  if (tensors.some((tensor) => isQuantized(tensor.type))) {
    number('general.quantization_version', 2);
  }
  number('gpt2.context_length', config.contextLength);
  number('gpt2.embedding_length', config.embeddingLength);
  number('gpt2.feed_forward_length', config.feedForwardLength);
  number('gpt2.block_count', config.layerCount);
  number('gpt2.attention.head_count', config.headCount);
  metadata.set('gpt2.attention.layer_norm_epsilon', {
    type: 'float32',
    value: config.layerNormEpsilon,
  });
  if (checkpoint.absentBiases.length > 0) {
    // llama.cpp's loader wants every bias, so zeros are written; this engine reads the names and leaves
    // them out.
    metadata.set('gpt2_native.absent_biases', {
      type: 'strings',
      value: checkpoint.absentBiases.map(({ name }) => name),
    });
  }
  describeVocabulary(config, vocabulary, metadata);
  return metadata;
}

function describeVocabulary(
  config: CheckpointConfig,
  vocabulary: Vocabulary | undefined,
  metadata: Map<string, GgufValue>,
): void {
  if (vocabulary) {
    metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' });
    metadata.set('tokenizer.ggml.pre', { type: 'string', value: 'gpt-2' });
    metadata.set('tokenizer.ggml.tokens', {
      type: 'strings',
      value: vocabulary.tokens,
    });
    metadata.set('tokenizer.ggml.token_type', {
      type: 'int32s',
      value: vocabulary.kinds,
    });
    metadata.set('tokenizer.ggml.merges', {
      type: 'strings',
      value: vocabulary.merges,
    });
  } else {
    metadata.set('tokenizer.ggml.model', { type: 'string', value: 'no_vocab' });
    metadata.set('gpt2.vocab_size', {
      type: 'uint32',
      value: config.vocabSize,
    });
  }
  // llama.cpp takes a missing id for 11, which is a comma.
  const named = vocabulary?.tokens.indexOf('<|endoftext|>') ?? -1;
  const endOfText = named >= 0 ? named : config.endOfText;
  if (endOfText !== undefined && endOfText >= 0 && endOfText < config.vocabSize) {
    metadata.set('tokenizer.ggml.bos_token_id', {
      type: 'uint32',
      value: endOfText,
    });
    metadata.set('tokenizer.ggml.eos_token_id', {
      type: 'uint32',
      value: endOfText,
    });
  }
}

/** The type of most bytes. */
function dominantType(tensors: readonly PlannedTensor[]): TensorType {
  const bytes = new Map<TensorType, number>();
  for (const { type, shape } of tensors) {
    const [rowLength = 1, rows = 1] = shape;
    bytes.set(type, (bytes.get(type) ?? 0) + byteSize(type, rowLength, rows));
  }
  const [[type]] = [...bytes].sort((a, b) => b[1] - a[1]) as [[TensorType, number]];
  return type;
}

async function writeTensors(
  writer: GgufWriter,
  tensors: readonly PlannedTensor[],
  signal: AbortSignal | undefined,
  onProgress: ConvertOptions['onProgress'],
): Promise<void> {
  const total = tensors.reduce((sum, { source }) => sum + (source?.entry.byteSize ?? 0), 0);
  let done = 0;
  onProgress?.({ stage: 'convert', done, total });
  for (const tensor of tensors) {
    const [rowLength = 1, rows = 1] = tensor.shape;
    const size = byteSize(tensor.type, rowLength, rows);
    if (tensor.source) {
      for await (const chunk of readChunks(tensor.source)) {
        await writer.write(await encode(tensor.source, chunk, tensor.type, signal));
        done += chunk.bytes.length;
        onProgress?.({ stage: 'convert', done, total });
      }
    } else {
      await writer.write(new Uint8Array(size));
    }
    await writer.pad(size);
  }
}

interface Chunk {
  bytes: Uint8Array;
  rows: number;
}

/** A tensor's rows, some at a time; all of them at once if they are to be transposed. */
async function* readChunks(source: CheckpointTensor): AsyncGenerator<Chunk, void, void> {
  const rowBytes = source.entry.byteSize / source.rows;
  const step = source.transpose ? source.rows : Math.max(1, Math.floor(chunkBytes / rowBytes));
  for (let row = 0; row < source.rows; row += step) {
    const rows = Math.min(step, source.rows - row);
    yield {
      bytes: await source.file.read(source.entry, row * rowBytes, rows * rowBytes),
      rows,
    };
  }
}

async function encode(
  source: CheckpointTensor,
  { bytes, rows }: Chunk,
  type: TensorType,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const sourceType = sourceTypes[source.dtype];
  if (sourceType === type && !source.transpose) {
    signal?.throwIfAborted();
    return bytes;
  }
  try {
    return await callNative(signal, (cancellation) =>
      addon.encodeTensor(
        bytes,
        sourceType,
        rows,
        source.columns,
        source.transpose,
        type,
        cancellation,
      ),
    );
  } catch (error) {
    if (!(error instanceof Gpt2Error)) throw error;
    const { path } = source.file;
    throw new Gpt2Error(error.code, `${path}: the tensor "${source.name}": ${error.message}`);
  }
}
