import { join } from 'node:path';
import { Gpt2Error } from '../errors.js';
import type { Activation } from '../gguf/model-file.js';
import { InputFile } from '../input-file.js';
import { unlessAborted } from '../native/abort.js';
import type { ModuleRole } from '../native/types.js';
import {
  type CheckpointConfig,
  configOfShapes,
  configOfTraining,
  nanoGptConfig,
  publishedHeadCount,
  readConfigFile,
  readGenerationConfig,
  type WeightShapes,
} from './checkpoint-config.js';
import { type CheckpointFiles, findCheckpointFiles } from './checkpoint-files.js';
import { foreignStartBytes, refuseForeign, refusePeft } from './foreign-files.js';
import {
  detectLayout,
  type ExpectedTensor,
  expectedTensors,
  isOfTrainingHead,
  knownNames,
  type Layout,
  type NamedTensors,
} from './layouts.js';
import { type PytorchContent, pytorchStarts, readPytorch } from './pytorch.js';
import { readSafetensors } from './safetensors.js';
import { readTensorflow } from './tensorflow.js';
import { elementBytes, type WeightEntry } from './weight-entry.js';

/** A matrix in a file; a vector is a matrix of one row. */
export interface TensorPart {
  entry: WeightEntry;
  dtype: WeightDtype;
  rows: number;
  columns: number;
  /** From one row to the next, in elements. */
  rowStride: number;
  /** From one element of a row to the next, in elements. */
  columnStride: number;
  /** Whether GGUF stores its transpose. */
  transpose: boolean;
}

export type WeightDtype = 'F64' | 'F32' | 'F16' | 'BF16';

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
  /** What is left out or changed, in sentences. */
  notes: string[];
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
    const content = await readEntries(found, files, signal);
    const { entries, modelArguments, settings } = content;
    const named = detectLayout(new Map([...entries].map(([name, { shape }]) => [name, shape])));
    refusePeft(source, entries.keys());
    if (!named) throw unknownNames(source, content);
    const { layout } = named;
    const { weights, notes, isHeadAlone } = renamed(source, entries, named);
    const config = modelArguments
      ? await unlessAborted(signal, nanoGptConfig(source, modelArguments, folder))
      : ((await unlessAborted(signal, readConfigFile(folder, isTensorflow, headCount))) ??
        (settings && configOfTraining(source, settings, shapesOf(source, layout, weights))) ??
        guessConfig(source, layout, weights, headCount));
    checkHeadCount(source, config, headCount);
    if (isHeadAlone && config.headIsTied === false) {
      throw missingTensor(source, layout.tokenEmbedding, content.objects);
    }
    const matched = await matchTensors(content, source, weights, layout, config);
    const unshared = withoutSharedHead(matched.tensors);
    checkOverlap(source, files, unshared); // before anything of their size is read
    const tensors = await withoutCopiedHead(source, unshared, config);
    const inF64 = tensors.flatMap(({ parts }) => parts).filter(isF64).length;
    if (inF64 > 0) notes.push(`${inF64} tensors are rounded from F64 to F32`);
    const hasNoVocabulary = layout.title !== 'Hugging Face';
    const activation = config.activation ?? 'gelu_new';
    const ends = await unlessAborted(signal, readGenerationConfig(folder));
    const endOfText = ends.length > 0 ? ends : config.endOfText;
    const whole = { ...config, activation, endOfText };
    const { absentBiases } = matched;
    return { folder, config: whole, tensors, absentBiases, hasNoVocabulary, notes, close };
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
    return { entries };
  }
  const all: PytorchContent = { entries: new Map(), objects: new Map() };
  for (const name of weights) {
    const file = await InputFile.open(join(folder, name), signal);
    files.push(file);
    const { entries, modelArguments, settings, objects = [] } = await readFile(file);
    all.modelArguments ??= modelArguments;
    all.settings ??= settings;
    all.objects = new Map([...(all.objects ?? []), ...objects]);
    for (const [tensor, entry] of entries) {
      if (all.entries.has(tensor)) throw occursTwice(file.path, tensor);
      all.entries.set(tensor, entry);
    }
  }
  return all;
}

/** Detects the format from the first bytes, since names are unreliable. */
async function readFile(file: InputFile): Promise<PytorchContent> {
  const start = await file.read(0, Math.min(foreignStartBytes, file.size));
  const text = start.toString('latin1');
  if (pytorchStarts.some((known) => text.startsWith(known))) return await readPytorch(file);
  refuseForeign(file.path, start);
  return { entries: await readSafetensors(file) };
}

function occursTwice(path: string, name: string): Gpt2Error {
  return new Gpt2Error('INVALID_FILE', `${path}: the tensor "${name}" occurs twice`);
}

type Weights = Map<string, WeightEntry>;

/** The weights by the layout's names. Entries that are not weights are left out. */
function renamed(
  source: string,
  entries: Weights,
  { layout, nameOf }: NamedTensors,
): { weights: Weights; notes: string[]; isHeadAlone: boolean } {
  const weights: Weights = new Map();
  const ofTrainingHeads: string[] = [];
  for (const [stored, entry] of entries) {
    const name = nameOf(stored);
    if (name === undefined || entry.shape.includes(0)) continue;
    if (isOfTrainingHead(name)) {
      ofTrainingHeads.push(stored);
      continue;
    }
    if (weights.has(name)) throw occursTwice(entry.file.path ?? source, name);
    weights.set(name, entry);
  }
  const head = weights.get(layout.head);
  // A tied pair may be stored as the head alone. matchTensors checks that the config ties them.
  const isHeadAlone = head !== undefined && !weights.has(layout.tokenEmbedding);
  if (isHeadAlone) weights.set(layout.tokenEmbedding, head);
  const notes =
    ofTrainingHeads.length > 0
      ? [`left out, since it does not change the logits: ${ofTrainingHeads.join(', ')}`]
      : [];
  return { weights, notes, isHeadAlone };
}

const isF64 = ({ dtype }: TensorPart) => dtype === 'F64';

/** Up to four names, for error messages. */
function listed(names: Iterable<string>): string {
  const all = [...names];
  const shown = all.slice(0, 4).map((name) => `"${name}"`);
  return `${shown.join(', ')}${all.length > shown.length ? ` and ${all.length - shown.length} more` : ''}`;
}

function unknownNames(source: string, { entries }: PytorchContent): Gpt2Error {
  return new Gpt2Error(
    'UNSUPPORTED_MODEL',
    `${source}: expected the tensors of a GPT-2, ${knownNames}, but found ${listed(entries.keys())}`,
  );
}

function shapesOf(source: string, layout: Layout, weights: Weights): WeightShapes {
  const shape = (name: string) => {
    const entry = weights.get(name);
    if (!entry) throw new Gpt2Error('INVALID_FILE', `${source}: the tensor "${name}" is missing`);
    return entry.shape;
  };
  const firstOf = (index: number) =>
    layout.layer(index) + layout.attentionNorm + layout.norm.weight;
  let layerCount = 0;
  while (weights.has(firstOf(layerCount))) layerCount++;
  if (layerCount === 0) {
    const tables = [layout.tokenEmbedding, layout.positionEmbedding, layout.head];
    const others = [...weights.keys()].filter((name) => !tables.includes(name));
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${source}: expected layers with the tensor "${firstOf(0)}" (${layout.title}) but found ${listed(others) || 'no layers'}`,
    );
  }
  return {
    tokenEmbedding: shape(layout.tokenEmbedding),
    positionEmbedding: shape(layout.positionEmbedding),
    layerCount,
  };
}

/** Derives the config of weights that come without one. */
function guessConfig(
  source: string,
  layout: Layout,
  weights: Weights,
  headCount: number | undefined,
): CheckpointConfig {
  const { tokenEmbedding, positionEmbedding, layerCount } = shapesOf(source, layout, weights);
  const width = tokenEmbedding[1] ?? 0;
  const heads = headCount ?? publishedHeadCount(width, layerCount);
  if (heads === undefined) {
    const name = layout.title === 'OpenAI' ? 'hparams.json' : 'config.json';
    throw new Gpt2Error(
      layout.isInputFirst ? 'FILE_NOT_FOUND' : 'UNSUPPORTED_MODEL',
      `${source}: there is no ${name} in this folder, and the number of heads cannot be derived from ${layerCount} layers of a width of ${width}; put a ${name} beside the weights, or pass the option headCount`,
    );
  }
  return configOfShapes(source, tokenEmbedding, positionEmbedding, layerCount, heads);
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
  { objects }: PytorchContent,
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
      throw missingTensor(source, missing, objects);
    } else if (config.headIsTied === false) {
      throw new Gpt2Error(
        'INVALID_FILE',
        `${source}: tie_word_embeddings is false, but the tensor "${missing}" is missing`,
      );
    }
  }
  await dropZeroHeadBias(source, layout, weights);
  const surplus = weights.keys().next();
  if (!surplus.done) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${source}: it holds the tensor "${surplus.value}", which is not part of a GPT-2 of ${config.layerCount} layers in the layout of ${layout.title}`,
    );
  }
  return { tensors, absentBiases };
}

function missingTensor(
  source: string,
  name: string,
  objects: PytorchContent['objects'],
): Gpt2Error {
  const stored = [...(objects ?? [])].find(([stored]) => stored.endsWith(name));
  return stored
    ? new Gpt2Error(
        'UNSUPPORTED_MODEL',
        `${source}: expected "${stored[0]}" to be a tensor but found an object of ${stored[1]}; save torch tensors`,
      )
    : new Gpt2Error('INVALID_FILE', `${source}: the tensor "${name}" is missing`);
}

/** GPT-2's head has no bias. Some programs store one of zeros. */
async function dropZeroHeadBias(source: string, layout: Layout, weights: Weights): Promise<void> {
  const name = layout.head.replace(/weight$/, 'bias');
  const entry = weights.get(name);
  if (!entry) return;
  const [count = 0] = entry.shape;
  const [stride = 1] = entry.strides;
  const bytes = await readSpan(entry, 0, count > 0 ? (count - 1) * stride + 1 : 0);
  const size = elementBytes[entry.dtype] ?? 1;
  // The sign, in the last byte of an element, may be set: -0 is 0.
  const isZero = bytes.every((byte, i) => byte === 0 || (byte === 0x80 && (i + 1) % size === 0));
  if (entry.shape.length !== 1 || !isZero) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${source}: expected the head to have no bias, or one of zeros, but "${name}" has other values`,
    );
  }
  weights.delete(name);
}

/** Reads elements of a tensor's storage, counted from the tensor's first. */
async function readSpan(entry: WeightEntry, start: number, count: number): Promise<Buffer> {
  const bytes = elementBytes[entry.dtype] ?? 0;
  return await entry.file.read(entry.offset + start * bytes, count * bytes);
}

// What tensors that were expanded (torch.Tensor.expand) may add to the bytes of the files.
const expansionAllowance = 1 << 20;

/** Refuses tensors that share their bytes: a small file could expand to a huge model. */
function checkOverlap(
  source: string,
  files: readonly InputFile[],
  tensors: readonly CheckpointTensor[],
): void {
  const parts = tensors.flatMap((tensor) => tensor.parts);
  const claimed = parts.reduce((sum, { entry }) => sum + entry.storedBytes, 0);
  const all = parts.reduce((sum, { entry }) => sum + entry.byteSize, 0);
  const available = files.reduce((sum, { size }) => sum + size, 0);
  if (claimed > available || all > 2 * available + expansionAllowance) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${source}: its tensors claim ${all} bytes, but its files hold ${available}: they overlap`,
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
  const { file, dtype } = entry;
  // TensorFlow's linear layers are convolutions of width 1: their shape has a leading 1.
  const first = entry.shape.findIndex(
    (extent, axis) => extent !== 1 || axis >= entry.shape.length - shape.length,
  );
  const found = entry.shape.slice(first);
  if (found.length !== shape.length || shape.some((extent, axis) => extent !== found[axis])) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${file.path}: expected the tensor "${source}" to have the shape [${shape.join(', ')}] but found [${entry.shape.join(', ')}]`,
    );
  }
  if (dtype !== 'F64' && dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${file.path}: expected the tensor "${source}" to be F64, F32, F16 or BF16 but found ${dtype}`,
    );
  }
  const isVector = shape.length === 1;
  const [rows, columns] = (isVector ? [1, ...shape] : shape) as [number, number];
  const strides = entry.strides.slice(first);
  const [rowStride, columnStride] = (isVector ? [columns, ...strides] : strides) as [
    number,
    number,
  ];
  const part = { entry, dtype: dtype as WeightDtype, rows, columns, rowStride, columnStride };
  if (isVector) return { ...part, transpose: false };
  // A column-major matrix is the transpose of a row-major one.
  if (rowStride === 0 || rowStride >= columnStride) return { ...part, transpose };
  return {
    ...part,
    rows: columns,
    columns: rows,
    rowStride: columnStride,
    columnStride: rowStride,
    transpose: !transpose,
  };
}

// torch.save() stores a tied head as a second name for the bytes of the embedding.
function withoutSharedHead(tensors: CheckpointTensor[]): CheckpointTensor[] {
  const embedding = tensors.find(({ role }) => role === 'tokenEmbedding')?.parts[0];
  return tensors.filter(({ role, parts }) => role !== 'head' || !areSame(parts[0], embedding));
}

function areSame(a: TensorPart | undefined, b: TensorPart | undefined): boolean {
  return (
    a?.entry.file === b?.entry.file &&
    a?.entry.offset === b?.entry.offset &&
    a?.dtype === b?.dtype &&
    a?.rowStride === b?.rowStride &&
    a?.columnStride === b?.columnStride &&
    a?.transpose === b?.transpose
  );
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
  const chunk = 1 << 22; // elements
  const widest = Math.max(
    a.columns, // strides may be 0
    a.rowStride,
    b.rowStride,
    a.columns * a.columnStride,
    b.columns * b.columnStride,
  );
  const step = Math.max(1, Math.floor(chunk / widest));
  for (let row = 0; row < a.rows; row += step) {
    const count = Math.min(step, a.rows - row);
    // One after the other: a failure must not leave a read running in a file that is then closed.
    const left = await readRows(a, row, count);
    const right = await readRows(b, row, count);
    if (Buffer.compare(left, right) !== 0) return false;
  }
  return true;
}

/** Reads rows of a matrix without the gaps between its elements. */
async function readRows(part: TensorPart, first: number, count: number): Promise<Buffer> {
  const { entry, columns, rowStride, columnStride } = part;
  const span = (count - 1) * rowStride + (columns - 1) * columnStride + 1;
  const stored = await readSpan(entry, first * rowStride, span);
  if (columnStride === 1 && rowStride === columns) return stored;
  const bytes = stored.length / span;
  const rows = Buffer.alloc(count * columns * bytes);
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * rowStride + column * columnStride) * bytes;
      stored.copy(rows, (row * columns + column) * bytes, from, from + bytes);
    }
  }
  return rows;
}
