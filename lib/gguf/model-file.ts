import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { LinkedSignal } from '../native/abort.js';
import { addon } from '../native/addon.js';
import { callNativeToCompletion } from '../native/native-call.js';
import type { GgufDescription, ModuleRole, NativeTensor, TensorType } from '../native/types.js';
import type { LoadProgress } from '../progress.js';
import { leftOutKey } from '../tokenizer/tokenizer-metadata.js';
import { namedEndOfText, type Vocabulary } from '../tokenizer/vocabulary.js';
import { encodeMetadata, type GgufTensor, type GgufValue, ggufHeader } from './gguf-header.js';
import { type ModelSizes, tensorRole } from './model-tensors.js';
import {
  byteSize,
  fileTypeNumbers,
  fittingType,
  isQuantized,
  type WeightType,
} from './tensor-types.js';

/** The function between the two feed-forward layers, by Hugging Face's name. GPT-2's is `gelu_new`. */
export type Activation = 'gelu_new' | 'gelu' | 'relu' | 'silu';

/** The hyperparameters that a GGUF file records. */
export interface Hyperparameters extends ModelSizes {
  headCount: number;
  layerNormEpsilon: number;
  activation: Activation;
  /** The ids that end a text. If there are none, `<|endoftext|>` does, if the vocabulary has it. */
  endOfText: readonly number[];
}

/** The metadata of a GGUF file to be written. */
export interface ModelDescription {
  name: string;
  config: Hyperparameters;
  /** The vocabulary, or the reason in words why it is left out, if the checkpoint has one. */
  vocabulary: Vocabulary | string | undefined;
  /** The GGUF names of the biases that the model does not have. */
  absentBiases: readonly string[];
  /** Recorded only. Inference drops nothing. */
  dropRate?: number;
  /** The requested type of the weights. Default: the checkpoint's own. */
  requestedType?: WeightType;
  /** What the conversion left out or rounded. Recorded only. */
  notes?: readonly string[];
}

/** A tensor of the file to be written. */
export interface PlannedTensor extends GgufTensor {
  /** The source of its elements. */
  numbers: Omit<NativeTensor, 'name' | 'type'>;
  /** The number of bytes that are read or drawn for it, for the progress. */
  sourceBytes: number;
}

/** Options of writing a file. */
export interface WriteOptions {
  /** Threads that encode. Default: the physical cores that the process may use. */
  threads?: number;
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
}

/** Writes a model as a GGUF file. The engine reads or draws the weights, encodes and writes them. */
export async function writeModelFile(
  target: string,
  description: ModelDescription,
  tensors: readonly PlannedTensor[],
  options: WriteOptions,
): Promise<void> {
  const metadata = await encodeMetadata(metadataOf(description, tensors));
  await writeTensors(target, ggufHeader(metadata, tensors), tensors, options);
}

/** Writes a header and the tensors that it lists. */
export async function writeTensors(
  target: string,
  header: Uint8Array,
  tensors: readonly PlannedTensor[],
  { threads = 0, signal, onProgress }: WriteOptions,
): Promise<void> {
  const total = tensors.reduce((sum, { sourceBytes }) => sum + sourceBytes, 0);
  const report = (done: number) => onProgress?.({ stage: 'convert', done, total });
  // An error of the onProgress callback stops the conversion, which rejects with it.
  const stop = new LinkedSignal(signal);
  const failures: unknown[] = [];
  const onBytes = (done: number) => {
    try {
      if (!stop.signal.aborted) report(done);
    } catch (error) {
      failures.push(error);
      stop.abort(error);
    }
  };
  const sources = tensors.map(({ name, type, numbers }) => ({ name, type, ...numbers }));
  try {
    report(0);
    await callNativeToCompletion(stop.signal, (cancellation) =>
      addon().writeGguf(target, header, sources, threads, onBytes, cancellation),
    );
  } finally {
    stop.unlink();
  }
  if (failures.length > 0) throw failures[0]; // thrown at the last report: the file is complete and stays
}

/** The type of a matrix in a model of the weight type `type` with `layerCount` layers. */
export function matrixType(
  name: string,
  rowLength: number,
  type: WeightType,
  layerCount: number,
): TensorType {
  if (!isQuantized(type)) return type as TensorType;
  const { module, layer } = tensorRole(name) ?? {};
  // One row per position: quantising it saves little and adds an error to every token. llama.cpp keeps it too.
  if (module?.role === 'positionEmbedding') return 'f16';
  // The embedding is also the head. 4 bits for it ruin small models.
  if (module?.kind === 'table' && /^q[45]/.test(type)) return fittingType('q8_0', rowLength);
  return fittingType(mixedType(module?.role, layer, type, layerCount), rowLength);
}

/** llama.cpp's mixtures (src/llama-quant.cpp): finer types for the matrices that are most sensitive to rounding. */
function mixedType(
  role: ModuleRole | undefined,
  layer: number | undefined,
  type: WeightType,
  layerCount: number,
): TensorType {
  if (type !== 'q5_k_m' && type !== 'q4_k_m') return type;
  if (role === 'attentionQkv') return type === 'q5_k_m' ? 'q6_k' : 'q5_k';
  if (role === 'feedForwardDown' && getsMoreBits(layer ?? 0, layerCount)) return 'q6_k';
  return type === 'q5_k_m' ? 'q5_k' : 'q4_k';
}

/** The first and the last eighth of the layers, and every third between them. */
function getsMoreBits(layer: number, layerCount: number): boolean {
  const eighth = Math.floor(layerCount / 8);
  return layer < eighth || layer >= Math.floor((7 * layerCount) / 8) || (layer - eighth) % 3 === 2;
}

/** Plans a vector whose elements are all equal, as in an untrained model. */
export function equalNumbers(name: string, value: number, count: number): PlannedTensor {
  return {
    name,
    type: 'f32',
    shape: [count],
    numbers: { equal: { value, count } },
    sourceBytes: 0,
  };
}

function metadataOf(
  { name, config, vocabulary, absentBiases, dropRate, requestedType, notes = [] }: ModelDescription,
  tensors: readonly PlannedTensor[],
): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  const number = (key: string, value: number) => metadata.set(key, { type: 'uint32', value });
  const string = (key: string, value: string) => metadata.set(key, { type: 'string', value });

  string('general.architecture', 'gpt2');
  string('general.name', name);
  number('general.file_type', fileTypeNumber(tensors, requestedType));
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
  if (config.activation !== 'gelu_new') {
    // GGUF has no key for the activation.
    string('gpt2_native.activation_function', config.activation);
    string(
      'general.description',
      `The feed-forward activation is ${config.activation} (gpt2_native.activation_function). Programs that do not read this key, such as llama.cpp, compute this model wrongly, with GPT-2's tanh-GELU.`,
    );
  }
  if (absentBiases.length > 0) {
    // llama.cpp's loader requires every bias, so the file has zeros for them. This engine reads the names and skips
    // these biases.
    metadata.set('gpt2_native.absent_biases', {
      type: 'strings',
      value: absentBiases,
    });
  }
  if (dropRate !== undefined) {
    metadata.set('gpt2_native.drop_rate', { type: 'float32', value: dropRate });
  }
  if (notes.length > 0) {
    metadata.set('gpt2_native.conversion_notes', { type: 'strings', value: notes });
  }
  describeVocabulary(config, vocabulary, metadata);
  return metadata;
}

function describeVocabulary(
  config: Hyperparameters,
  vocabulary: ModelDescription['vocabulary'],
  metadata: Map<string, GgufValue>,
): void {
  const id = (name: string, value: number | undefined) => {
    if (value === undefined) return;
    metadata.set(`tokenizer.ggml.${name}_token_id`, { type: 'uint32', value });
  };
  const flag = (name: string, isSet: boolean) => {
    if (isSet) metadata.set(`tokenizer.ggml.${name}`, { type: 'bool', value: true });
  };
  const known = config.endOfText.filter((id) => id < config.vocabSize);
  if (typeof vocabulary !== 'object') {
    metadata.set('tokenizer.ggml.model', { type: 'string', value: 'no_vocab' });
    metadata.set('gpt2.vocab_size', { type: 'uint32', value: config.vocabSize });
    if (vocabulary !== undefined) metadata.set(leftOutKey, { type: 'string', value: vocabulary });
    endsOfText(known, known[0], metadata);
    // Without these keys, llama.cpp uses the id 11, which is a comma.
    id('bos', known[0]);
    id('eos', known[0]);
    return;
  }
  const { tokens, kinds, merges, settings } = vocabulary;
  const { before, after, addsPrefixSpace, unknown } = settings;
  metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' });
  metadata.set('tokenizer.ggml.pre', { type: 'string', value: 'gpt-2' });
  metadata.set('tokenizer.ggml.tokens', { type: 'strings', value: tokens });
  metadata.set('tokenizer.ggml.token_type', { type: 'int32s', value: kinds });
  metadata.set('tokenizer.ggml.merges', { type: 'strings', value: merges });
  const named = namedEndOfText(tokens);
  const own =
    after[0] ?? (tokens[named ?? -1] === '<|endoftext|>' ? undefined : settings.endOfText);
  const end = own ?? known[0] ?? named;
  const usualStart = tokens[named ?? -1] === '<|endoftext|>' ? named : undefined;
  id('bos', before[0] ?? settings.startOfText ?? usualStart ?? end);
  id('eos', end);
  endsOfText(known, end, metadata);
  id('unknown', unknown);
  flag('add_bos_token', before.length > 0);
  flag('add_eos_token', after.length > 0);
  flag('add_space_prefix', addsPrefixSpace);
}

/** Lists the ids that end a text, unless there is only the one in GGUF's own key. */
function endsOfText(
  known: readonly number[],
  end: number | undefined,
  metadata: Map<string, GgufValue>,
): void {
  if (known.every((id) => id === end)) return;
  metadata.set('gpt2_native.end_of_text_ids', { type: 'int32s', value: known });
}

/** The value of general.file_type: the requested mixture, or the type of most bytes. */
export function fileTypeNumber(
  tensors: readonly GgufTensor[],
  requestedType: WeightType | undefined,
): number {
  const isMixture = requestedType === 'q5_k_m' || requestedType === 'q4_k_m';
  return fileTypeNumbers[isMixture ? requestedType : dominantType(tensors)];
}

/** The type of most bytes. */
function dominantType(tensors: readonly GgufTensor[]): TensorType {
  const bytes = new Map<TensorType, number>();
  for (const { type, shape } of tensors) {
    const [rowLength = 1, rows = 1] = shape;
    bytes.set(type, (bytes.get(type) ?? 0) + byteSize(type, rowLength, rows));
  }
  const [[type]] = [...bytes].sort((a, b) => b[1] - a[1]) as [[TensorType, number]];
  return type;
}

/**
 * The metadata of a GGUF file by key.
 *
 * @throws UNSUPPORTED_MODEL if the file holds another architecture than GPT-2
 */
export function gpt2Metadata(
  path: string,
  { metadata }: GgufDescription,
): Map<string, GgufDescription['metadata'][number][1]> {
  const values = new Map(metadata.map(([key, value]) => [key, value]));
  const architecture = values.get('general.architecture');
  if (architecture === 'gpt2') return values;
  throw new Gpt2Error(
    'UNSUPPORTED_MODEL',
    `${path}: expected the architecture "gpt2" but found ${show(architecture)}`,
  );
}
