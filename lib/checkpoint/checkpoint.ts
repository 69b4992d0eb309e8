import { join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import type { Activation } from '../gguf/model-file.js';
import { InputFile } from '../input-file.js';
import { unlessAborted } from '../native/abort.js';
import type { ModuleRole } from '../native/types.js';
import {
  type CheckpointConfig,
  configOfShapes,
  nanoGptConfig,
  publishedHeadCount,
  readConfigFile,
  readGenerationConfig,
} from './checkpoint-config.js';
import { type CheckpointFiles, findCheckpointFiles } from './checkpoint-files.js';
import { detectLayout, type ExpectedTensor, expectedTensors, type Layout } from './layouts.js';
import { type PytorchContent, pytorchStarts, readPytorch } from './pytorch.js';
import { readSafetensors } from './safetensors.js';
import { readTensorflow } from './tensorflow.js';
import type { WeightEntry } from './weight-entry.js';

/** A row-major matrix in a file; a vector is a matrix of one row. */
export interface TensorPart {
  entry: WeightEntry;
  dtype: WeightDtype;
  rows: number;
  columns: number;
  /** Whether GGUF stores its transpose. */
  transpose: boolean;
}

export type WeightDtype = 'F32' | 'F16' | 'BF16';

/** A tensor of the model and the location of its elements. */
export interface CheckpointTensor {
  /** The name in GGUF. */
  name: string;
  role: ModuleRole;
  isVector: boolean;
  /** Elements per row in GGUF. */
  rowLength: number;
  rows: number;
  /** Concatenated along the rows. */
  parts: readonly TensorPart[];
}

/** A checkpoint with exactly the tensors that its config requires. */
export interface Checkpoint {
  folder: string;
  config: CheckpointConfig & { activation: Activation };
  tensors: CheckpointTensor[];
  /** The biases that the checkpoint lacks: their names in GGUF and their lengths. */
  absentBiases: { name: string; length: number }[];
  /** Whether the program that wrote the checkpoint saves no vocabulary. GPT-2's is assumed if the size fits. */
  hasNoVocabulary: boolean;
  close(): void;
}

/**
 * Opens a checkpoint. The caller closes it.
 *
 * @param source the folder or the file with the weights
 * @param headCount the number of heads of weights without a config
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE, UNSUPPORTED_MODEL, INVALID_ARGUMENT (ambiguous weights)
 */
export async function openCheckpoint(
  source: string,
  signal: AbortSignal | undefined,
  headCount?: number,
): Promise<Checkpoint> {
  const found = await unlessAborted(signal, findCheckpointFiles(source));
  const { folder, isTensorflow } = found;
  const files: InputFile[] = [];
  const close = () => {
    for (const file of files) file.close();
  };
  try {
    const { entries, modelArguments } = await readEntries(found, files, signal);
    const layout = detectLayout(new Map([...entries].map(([name, { shape }]) => [name, shape])));
    const weights = renamed(source, entries, layout);
    const config = modelArguments
      ? await unlessAborted(signal, nanoGptConfig(source, modelArguments, folder))
      : ((await unlessAborted(signal, readConfigFile(folder, isTensorflow, headCount))) ??
        guessConfig(source, layout, weights, headCount));
    checkHeadCount(source, config, headCount);
    const matched = await matchTensors(source, weights, layout, config);
    checkOverlap(source, files, matched.tensors);
    const hasNoVocabulary = layout.title !== 'Hugging Face';
    const activation = config.activation ?? 'gelu_new';
    const ends = await unlessAborted(signal, readGenerationConfig(folder));
    const endOfText = ends.length > 0 ? ends : config.endOfText;
    const whole = { ...config, activation, endOfText };
    return { folder, config: whole, ...matched, hasNoVocabulary, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function readEntries(
  { folder, weights, isTensorflow }: CheckpointFiles,
  files: InputFile[],
  signal: AbortSignal | undefined,
): Promise<PytorchContent> {
  const [first = ''] = weights;
  if (isTensorflow) {
    const entries = await readTensorflow(join(folder, first), files, signal);
    return { entries, modelArguments: undefined };
  }
  const all: PytorchContent = { entries: new Map(), modelArguments: undefined };
  for (const name of weights) {
    const file = await InputFile.open(join(folder, name), signal);
    files.push(file);
    const { entries, modelArguments } = await readFile(file);
    all.modelArguments ??= modelArguments;
    for (const [tensor, entry] of entries) {
      if (all.entries.has(tensor)) throw occursTwice(file.path, tensor);
      all.entries.set(tensor, entry);
    }
  }
  return all;
}

/** Detects the format from the first bytes, since names are unreliable. */
async function readFile(file: InputFile): Promise<PytorchContent> {
  const start = (await file.read(0, Math.min(4, file.size))).toString('latin1');
  if (pytorchStarts.some((known) => start.startsWith(known))) return await readPytorch(file);
  return { entries: await readSafetensors(file), modelArguments: undefined };
}

function occursTwice(path: string, name: string): Gpt2Error {
  return new Gpt2Error('INVALID_FILE', `${path}: the tensor "${name}" occurs twice`);
}

type Weights = Map<string, WeightEntry>;

/** The weights by the layout's names. Entries that are not weights are left out. */
function renamed(source: string, entries: Weights, layout: Layout): Weights {
  const weights: Weights = new Map();
  for (const [stored, entry] of entries) {
    const name = layout.nameOf(stored);
    if (name === undefined) continue;
    if (weights.has(name)) throw occursTwice(entry.file.path ?? source, name);
    weights.set(name, entry);
  }
  return weights;
}

/** Derives the config of weights that come without one. */
function guessConfig(
  source: string,
  layout: Layout,
  weights: Weights,
  headCount: number | undefined,
): CheckpointConfig {
  const shape = (name: string) => {
    const entry = weights.get(name);
    if (!entry) throw new Gpt2Error('INVALID_FILE', `${source}: the tensor "${name}" is missing`);
    return entry.shape;
  };
  let layerCount = 0;
  while (weights.has(layout.layer(layerCount) + layout.attentionNorm + layout.norm.weight)) {
    layerCount++;
  }
  const tokenEmbedding = shape(layout.tokenEmbedding);
  const width = tokenEmbedding[1] ?? 0;
  const heads = headCount ?? publishedHeadCount(width, layerCount);
  if (heads === undefined) {
    const name = layout.title === 'OpenAI' ? 'hparams.json' : 'config.json';
    throw new Gpt2Error(
      layout.isInputFirst ? 'FILE_NOT_FOUND' : 'UNSUPPORTED_MODEL',
      `${source}: there is no ${name} in this folder, and the number of heads cannot be derived from ${layerCount} layers of a width of ${width}; put a ${name} beside the weights, or pass the option headCount`,
    );
  }
  return configOfShapes(source, tokenEmbedding, shape(layout.positionEmbedding), layerCount, heads);
}

/** Refuses an option headCount that contradicts the checkpoint. */
function checkHeadCount(source: string, { headCount }: CheckpointConfig, wanted?: number): void {
  if (wanted === undefined || wanted === headCount) return;
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `${source}: expected headCount to be ${headCount}, as the config states, but received ${wanted}`,
  );
}

async function matchTensors(
  source: string,
  weights: Weights,
  layout: Layout,
  config: CheckpointConfig,
): Promise<Pick<Checkpoint, 'tensors' | 'absentBiases'>> {
  // Checked before anything is allocated from it: every layer has at least eight weights.
  if (config.layerCount > weights.size) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${source}: expected ${config.layerCount} layers but found only ${weights.size} tensors`,
    );
  }
  const tensors: CheckpointTensor[] = [];
  const absentBiases: Checkpoint['absentBiases'] = [];
  for (const expected of expectedTensors(layout, config)) {
    const { tensor, sources } = expected;
    const missing = sources.find((source) => !weights.has(source));
    if (missing === undefined) {
      tensors.push(toTensor(expected, weights));
      for (const source of sources) weights.delete(source);
      continue;
    }
    const areAllMissing = sources.every((source) => !weights.has(source));
    if (areAllMissing && tensor.parameter === 'bias') {
      absentBiases.push({ name: tensor.name, length: tensor.rowLength });
    } else if (!tensor.module.isOptional) {
      throw new Gpt2Error('INVALID_FILE', `${source}: the tensor "${missing}" is missing`);
    } else if (config.headIsTied === false) {
      throw new Gpt2Error(
        'INVALID_FILE',
        `${source}: tie_word_embeddings is false, but the tensor "${missing}" is missing`,
      );
    }
  }
  const surplus = weights.keys().next();
  if (!surplus.done) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${source}: it holds the tensor "${surplus.value}", which is not part of a GPT-2 of ${config.layerCount} layers in the layout of ${layout.title}`,
    );
  }
  return { tensors: await withoutCopiedHead(source, tensors, config), absentBiases };
}

/** Refuses tensors that share their bytes: a small file could expand to a huge model. */
function checkOverlap(
  source: string,
  files: readonly InputFile[],
  tensors: readonly CheckpointTensor[],
): void {
  const parts = tensors.flatMap((tensor) => tensor.parts);
  const claimed = parts.reduce((sum, { entry }) => sum + entry.byteSize, 0);
  const available = files.reduce((sum, { size }) => sum + size, 0);
  if (claimed > available) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${source}: its tensors claim ${claimed} bytes, but its files hold ${available}: they overlap`,
    );
  }
}

function toTensor(
  { tensor, sources, shape, transpose }: ExpectedTensor,
  weights: Weights,
): CheckpointTensor {
  const parts = sources.map((source) =>
    toPart(source, weights.get(source) as WeightEntry, shape, transpose),
  );
  const { name, isVector, rowLength, rows, module } = tensor;
  return { name, role: module.role, isVector, rowLength, rows, parts };
}

function toPart(
  source: string,
  entry: WeightEntry,
  shape: readonly number[],
  transpose: boolean,
): TensorPart {
  const { file, dtype, order } = entry;
  // TensorFlow's linear layers are convolutions of width 1: their shape has a leading 1.
  const found = entry.shape.slice(
    entry.shape.findIndex(
      (extent, axis) => extent !== 1 || axis >= entry.shape.length - shape.length,
    ),
  );
  if (found.length !== shape.length || shape.some((extent, axis) => extent !== found[axis])) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${file.path}: expected the tensor "${source}" to have the shape [${shape.join(', ')}] but found [${entry.shape.join(', ')}]`,
    );
  }
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: expected the tensor "${source}" to be F32, F16 or BF16 but found ${dtype}`,
    );
  }
  if (order === 'other') {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: expected the tensor "${source}" to be contiguous, in row-major or column-major order`,
    );
  }
  const [first = 0, second = 0] = shape;
  if (shape.length === 1) return { entry, dtype, rows: 1, columns: first, transpose: false };
  return order === 'rows'
    ? { entry, dtype, rows: first, columns: second, transpose }
    : { entry, dtype, rows: second, columns: first, transpose: !transpose };
}

// Some checkpoints store a tied head a second time. The copy is dropped.
async function withoutCopiedHead(
  source: string,
  tensors: CheckpointTensor[],
  config: CheckpointConfig,
): Promise<CheckpointTensor[]> {
  const head = tensors.find(({ role }) => role === 'head');
  const embedding = tensors.find(({ role }) => role === 'tokenEmbedding');
  if (!head || !embedding) return tensors;
  if (await areEqual(head.parts[0], embedding.parts[0])) {
    return tensors.filter((tensor) => tensor !== head);
  }
  if (config.headIsTied) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${source}: tie_word_embeddings is true, but "lm_head.weight" differs from "wte.weight"`,
    );
  }
  return tensors;
}

async function areEqual(a: TensorPart | undefined, b: TensorPart | undefined): Promise<boolean> {
  if (!a || !b || a.dtype !== b.dtype || a.transpose !== b.transpose) return false;
  if (a.entry.file === b.entry.file && a.entry.offset === b.entry.offset) return true;
  const chunk = 1 << 24;
  for (let start = 0; start < a.entry.byteSize; start += chunk) {
    const length = Math.min(chunk, a.entry.byteSize - start);
    // One after the other: a failure must not leave a read running in a file that is then closed.
    const left = await a.entry.file.read(a.entry.offset + start, length);
    const right = await b.entry.file.read(b.entry.offset + start, length);
    if (Buffer.compare(left, right) !== 0) return false;
  }
  return true;
}
