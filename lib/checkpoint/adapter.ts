import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { show } from '../arguments.js';
import { Gpt2Error } from '../errors.js';
import { reading } from '../files.js';
import { type ModelSizes, weightName } from '../gguf/model-tensors.js';
import type { InputFile } from '../input-file.js';
import { unlessAborted } from '../native/abort.js';
import { type AdapterConfig, adapterConfigName, readAdapterConfig } from './adapter-config.js';
import { type FoundSource, sourceFinder } from './layouts.js';
import { type LoraPair, type PeftTensors, peftTensors } from './peft.js';
import {
  areEqual,
  type CheckpointTensor,
  checkOverlap,
  type TensorPart,
  toPart,
  toTensor,
} from './tensor-parts.js';
import type { WeightEntry } from './weight-entry.js';
import { readEntries } from './weight-files.js';

/** A change of low rank: factor × left × right is added to the rows of a tensor from `firstRow` on. */
export interface LoraUpdate {
  /** [rows, rank] */
  left: TensorPart;
  /** [rank, elements per row] */
  right: TensorPart;
  factor: number;
  firstRow: number;
}

/** The changes that an adapter makes to a model, by the names of the tensors in GGUF. */
export interface Adapter {
  path: string;
  folder: string;
  /** What is merged, in a sentence. */
  note: string;
  replaced: ReadonlyMap<string, CheckpointTensor>;
  updates: ReadonlyMap<string, readonly LoraUpdate[]>;
  /** Whether the head is the embedding that the adapter has in place of the base model's. */
  isHeadTied: boolean;
}

/** An adapter to be merged. */
export interface AdapterSource {
  /** The folder, or the file with the weights, whose folder also has the config. */
  path: string;
  /** A factor for its updates, in addition to the adapter's own. Default 1. */
  scale?: number;
}

/** The base model of an adapter. */
export interface AdapterBase {
  sizes: ModelSizes;
  /** Whether the base model stores the weights of linear layers as [in, out]. */
  isInputFirst: boolean;
}

const weightNames: readonly string[] = ['adapter_model.safetensors', 'adapter_model.bin'];

/** The files of an adapter, by name within one folder. */
export interface AdapterFiles {
  folder: string;
  weights: string;
}

/**
 * Finds the files of an adapter.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function findAdapterFiles(path: string): Promise<AdapterFiles> {
  const isFolder = (await reading(path, async () => await stat(path))).isDirectory();
  if (!isFolder) return { folder: dirname(path), weights: basename(path) };
  for (const weights of weightNames) {
    const found = await stat(join(path, weights)).catch(() => undefined);
    if (found) return { folder: path, weights };
  }
  throw new Gpt2Error(
    'FILE_NOT_FOUND',
    `${path}: expected the folder of a PEFT adapter, with ${weightNames.join(' or ')}, but there is none`,
  );
}

/**
 * Opens an adapter for a base model. Adds the files that it opens to `files`; the caller closes them.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE, INVALID_FILE, UNSUPPORTED_MODEL
 */
export async function openAdapter(
  { path, scale = 1 }: AdapterSource,
  base: AdapterBase,
  files: InputFile[],
  signal: AbortSignal | undefined,
): Promise<Adapter> {
  const { folder, weights } = await unlessAborted(signal, findAdapterFiles(path));
  const own: InputFile[] = [];
  try {
    const checkpoint = { folder, weights: [weights], isTensorflow: false };
    const { entries } = await readEntries(checkpoint, own, signal);
    const tensors = peftTensors(path, entries);
    for (const [name, entry] of tensors.copies) tensors.weights.set(name, entry);
    return await adapterOf({ path, folder, scale }, tensors.weights, tensors.pairs, base, own);
  } finally {
    files.push(...own);
  }
}

/**
 * The adapter in a PEFT model that was saved as a whole. Returns undefined if the model has none.
 *
 * @throws as `openAdapter`
 */
export async function ownAdapter(
  path: string,
  folder: string,
  { copies, pairs }: PeftTensors,
  base: AdapterBase,
  files: readonly InputFile[],
): Promise<Adapter | undefined> {
  if (copies.size === 0 && pairs.size === 0) return undefined;
  return await adapterOf({ path, folder, scale: 1 }, copies, pairs, base, files);
}

interface AdapterPlace {
  path: string;
  folder: string;
  scale: number;
}

async function adapterOf(
  { path, folder, scale }: AdapterPlace,
  weights: ReadonlyMap<string, WeightEntry>,
  pairs: PeftTensors['pairs'],
  { sizes, isInputFirst }: AdapterBase,
  files: readonly InputFile[],
): Promise<Adapter> {
  const config = await readAdapterConfig(folder);
  if (!config && pairs.size > 0) {
    throw new Gpt2Error(
      'FILE_NOT_FOUND',
      `${path}: there is no ${adapterConfigName} in this folder, which has the factor of the LoRA matrices (lora_alpha); put it beside the weights`,
    );
  }
  if (weights.size + pairs.size === 0) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected the tensors of an adapter but found none`,
    );
  }
  const ofAdapter = { ...sizes, vocabSize: vocabSizeOf(weights) ?? sizes.vocabSize };
  const find = sourceFinder(ofAdapter, isInputFirst);
  const sourceOf = (name: string): FoundSource | undefined => {
    const found = find(name);
    if (found === 'not a weight') return undefined;
    if (found) return found;
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${path}: it changes ${show(name)}, which a GPT-2 of ${sizes.layerCount} layers does not have`,
    );
  };
  const replaced = replacedTensors(path, weights, sourceOf);
  const updates = new Map<string, LoraUpdate[]>();
  for (const [module, pair] of pairs) {
    const found = sourceOf(`${module}.weight`);
    if (!found) continue;
    const { name } = found.expected.tensor;
    const update = updateOf(path, module, pair, found, config as AdapterConfig, scale);
    updates.set(name, [...(updates.get(name) ?? []), update]);
  }
  const parts = [
    ...[...replaced.values()].flatMap((tensor) => tensor.parts),
    ...[...updates.values()].flat().flatMap(({ left, right }) => [left, right]),
  ];
  checkOverlap(path, files, parts); // before anything of their size is read
  const embedding = replaced.get(weightName('tokenEmbedding'));
  const head = replaced.get(weightName('head'));
  const isResized = ofAdapter.vocabSize !== sizes.vocabSize;
  const isHeadTied = head
    ? await areEqual(head.parts[0], embedding?.parts[0])
    : isResized && embedding !== undefined;
  const times = scale === 1 ? '' : `, times ${scale}`;
  const note = `merged the adapter ${basename(path)}: ${pairs.size} modules changed by LoRA${times}, ${replaced.size} tensors replaced`;
  return { path, folder, note, replaced, updates, isHeadTied };
}

/** The rows of an embedding in place of the base model's. Tokens may have been added to it. */
function vocabSizeOf(weights: ReadonlyMap<string, WeightEntry>): number | undefined {
  const tables = /(^|\.)(wte|tok_emb|lm_head|out_head)\.weight$/;
  for (const [name, { shape }] of weights) if (tables.test(name)) return shape[0];
  return undefined;
}

function replacedTensors(
  path: string,
  weights: ReadonlyMap<string, WeightEntry>,
  sourceOf: (name: string) => FoundSource | undefined,
): Map<string, CheckpointTensor> {
  const found = new Map<string, FoundSource['expected']>();
  const entries = new Map<string, WeightEntry>();
  for (const [name, entry] of weights) {
    const source = sourceOf(name);
    if (!source) continue;
    const { expected, index } = source;
    found.set(expected.tensor.name, expected);
    entries.set(expected.sources[index] as string, entry);
  }
  const replaced = new Map<string, CheckpointTensor>();
  for (const [name, expected] of found) {
    const missing = expected.sources.find((source) => !entries.has(source));
    if (missing !== undefined) {
      throw new Gpt2Error(
        'UNSUPPORTED_MODEL',
        `${path}: expected ${expected.sources.join(', ')} together, but ${missing} is missing`,
      );
    }
    replaced.set(name, toTensor(expected, entries));
  }
  return replaced;
}

function updateOf(
  path: string,
  module: string,
  { a, b, isEmbedding }: LoraPair,
  { expected, index }: FoundSource,
  config: AdapterConfig,
  scale: number,
): LoraUpdate {
  const { tensor, sources } = expected;
  const { isVector, rowLength } = tensor;
  if (isVector) {
    throw new Gpt2Error(
      'UNSUPPORTED_MODEL',
      `${path}: expected LoRA of a matrix but found that of "${module}"`,
    );
  }
  if (!a || !b) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected lora_A and lora_B of "${module}" but found only one of them`,
    );
  }
  const rows = tensor.rows / sources.length;
  const [rank = 0] = a.shape;
  if (rank < 1 || (config.rank !== undefined && rank !== config.rank)) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${path}: expected lora_A of "${module}" to have ${config.rank ?? 'at least 1'} rows, the rank, but found ${rank}`,
    );
  }
  const factor = scale * config.factor(module.replace(/^base_model\.model\./, ''), rank);
  if (!Number.isFinite(Math.fround(factor))) {
    throw new Gpt2Error(
      'INVALID_FILE',
      `${config.path}: expected factors that are finite in f32 but found ${factor} for "${module}"`,
    );
  }
  const name = (matrix: string) => `${module}.lora_${matrix}`;
  // The change of a linear layer is B × A, that of an embedding its transpose.
  const [left, right] = isEmbedding
    ? [
        toPart(name('embedding_A'), a, [rank, rows], true),
        toPart(name('embedding_B'), b, [rowLength, rank], true),
      ]
    : [toPart(name('B'), b, [rows, rank], false), toPart(name('A'), a, [rank, rowLength], false)];
  return { left, right, factor, firstRow: index * rows };
}
