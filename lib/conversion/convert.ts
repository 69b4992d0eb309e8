import { basename, resolve } from 'node:path';
import { LinkedSignal, unlessAborted } from '../abort.js';
import { addon, type NativeTensor } from '../addon.js';
import { checkFunction, checkOneOf, checkOptions, checkSignal, checkString } from '../arguments.js';
import type { LoadProgress } from '../load-model.js';
import { callNativeToItsEnd } from '../native-call.js';
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
import { type GgufTensor, type GgufValue, ggufHeader } from './gguf-header.js';
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

  const config = await unlessAborted(signal, readCheckpointConfig(folder));
  const checkpoint = await openCheckpoint(folder, config, signal);
  try {
    // Padded to vocabSize, which is only now known to be no more than the embedding's rows.
    const vocabulary = await unlessAborted(signal, readVocabulary(folder, config.vocabSize));
    const tensors = planTensors(checkpoint, type);
    const metadata = describe(folder, config, vocabulary, checkpoint, tensors);
    await write(target, await ggufHeader(metadata, tensors), tensors, signal, onProgress);
  } finally {
    checkpoint.close();
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

/** Has the engine read, encode and write the tensors, on a thread of its own. */
async function write(
  target: string,
  header: Uint8Array,
  tensors: readonly PlannedTensor[],
  signal: AbortSignal | undefined,
  onProgress: ConvertOptions['onProgress'],
): Promise<void> {
  const total = tensors.reduce((sum, { source }) => sum + (source?.entry.byteSize ?? 0), 0);
  const report = (done: number) => onProgress?.({ stage: 'convert', done, total });
  // An error that the listener throws stops the conversion and is what it rejects with.
  using stop = new LinkedSignal(signal);
  const failures: unknown[] = [];
  report(0);
  await callNativeToItsEnd(stop.signal, (cancellation) =>
    addon.writeGguf(
      target,
      header,
      tensors.map(toNativeTensor),
      (done) => {
        try {
          if (!stop.signal.aborted) report(done);
        } catch (error) {
          failures.push(error);
          stop.abort(error);
        }
      },
      cancellation,
    ),
  );
  if (failures.length > 0) throw failures[0]; // it came with the last report: the file is whole and stays
}

function toNativeTensor({ name, type, shape, source }: PlannedTensor): NativeTensor {
  if (!source) return { name, type, zeros: shape[0] ?? 0 };
  const { file, entry, dtype, rows, columns, transpose } = source;
  return {
    name,
    type,
    source: {
      file: file.native,
      offset: entry.offset,
      type: sourceTypes[dtype],
      rows,
      columns,
      transpose,
    },
  };
}
