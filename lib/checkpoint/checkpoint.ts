import { Gpt2Error } from '../errors.js';
import type { Activation } from '../gguf/model-file.js';
import type { InputFile } from '../input-file.js';
import { unlessAborted } from '../native/abort.js';
import { type Adapter, type AdapterSource, openAdapter, ownAdapter } from './adapter.js';
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
import { findCheckpointFiles } from './checkpoint-files.js';
import { pairAdvice } from './foreign-files.js';
import {
  detectLayout,
  expectedTensors,
  isOfTrainingHead,
  knownNames,
  type Layout,
  type NamedTensors,
} from './layouts.js';
import { peftTensors } from './peft.js';
import type { PytorchContent } from './pytorch.js';
import {
  areEqual,
  areSame,
  type CheckpointTensor,
  checkOverlap,
  readSpan,
  toTensor,
} from './tensor-parts.js';
import { elementBytes, type WeightEntry } from './weight-entry.js';
import { occursTwice, readEntries } from './weight-files.js';

/** A checkpoint with exactly the tensors that its config requires. */
export interface Checkpoint {
  folder: string;
  config: CheckpointConfig & { activation: Activation };
  tensors: CheckpointTensor[];
  /** The biases that the checkpoint lacks: their names in GGUF and their lengths. */
  absentBiases: { name: string; length: number }[];
  /** To be merged: that of a PEFT model that was saved as a whole, and those that were asked for. */
  adapters: Adapter[];
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
 * @param options the number of heads of weights without a config, and adapters to be merged
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE, UNSUPPORTED_MODEL, INVALID_ARGUMENT (ambiguous weights)
 */
export async function openCheckpoint(
  source: string,
  signal: AbortSignal | undefined,
  { headCount, adapters = [] }: { headCount?: number; adapters?: readonly AdapterSource[] },
): Promise<Checkpoint> {
  const found = await unlessAborted(signal, findCheckpointFiles(source));
  const { folder, isTensorflow } = found;
  const files: InputFile[] = [];
  const close = () => {
    for (const file of files) file.close();
  };
  try {
    const content = await readEntries(found, files, signal);
    const { modelArguments, settings } = content;
    const ofPeft = peftTensors(source, content.entries);
    const entries = new Map([...ofPeft.weights, ...ofPeft.originals]);
    const named = detectLayout(new Map([...entries].map(([name, { shape }]) => [name, shape])));
    if (!named && ofPeft.pairs.size > 0) throw adapterAlone(source);
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
    const parts = unshared.flatMap((tensor) => tensor.parts);
    checkOverlap(source, files, parts); // before anything of their size is read
    const tensors = await withoutCopiedHead(source, unshared, config);
    const base = { sizes: config, isInputFirst: layout.isInputFirst };
    const own = await ownAdapter(source, folder, ofPeft, base, files);
    const opened = own ? [own] : [];
    for (const adapter of adapters) opened.push(await openAdapter(adapter, base, files, signal));
    const inF64 = tensors
      .flatMap((tensor) => tensor.parts)
      .filter(({ dtype }) => dtype === 'F64').length;
    if (inF64 > 0) notes.push(`${inF64} tensors are rounded from F64 to F32`);
    const hasNoVocabulary = layout.title !== 'Hugging Face';
    const activation = config.activation ?? 'gelu_new';
    const ends = await unlessAborted(signal, readGenerationConfig(folder));
    const endOfText = ends.length > 0 ? ends : config.endOfText;
    return {
      ...{ folder, tensors, hasNoVocabulary, notes, close },
      config: { ...config, activation, endOfText },
      absentBiases: matched.absentBiases,
      adapters: opened,
    };
  } catch (error) {
    close();
    throw error;
  }
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

function adapterAlone(source: string): Gpt2Error {
  return new Gpt2Error('UNSUPPORTED_MODEL', `${source}: it holds a PEFT adapter; ${pairAdvice}`);
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

// torch.save() stores a tied head as a second name for the bytes of the embedding.
function withoutSharedHead(tensors: CheckpointTensor[]): CheckpointTensor[] {
  const embedding = tensors.find(({ role }) => role === 'tokenEmbedding')?.parts[0];
  return tensors.filter(({ role, parts }) => role !== 'head' || !areSame(parts[0], embedding));
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
