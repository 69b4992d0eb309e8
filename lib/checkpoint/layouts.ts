import { type ModelSizes, type ModelTensor, modelTensors } from '../gguf/model-tensors.js';
import type { ModuleRole } from '../native/types.js';

/**
 * A training program's names for GPT-2's tensors and the orientation of its linear layers. Tables have the names of
 * their weights; the names of norms and linear layers are prefixes of `norm` and `linear`.
 */
export interface Layout extends Record<Exclude<ModuleRole, 'attentionQkv'>, string> {
  /** For error messages. */
  title: string;
  /** Maps a stored name to this layout's name; undefined if the tensor is not a weight. */
  nameOf(stored: string): string | undefined;
  /** The prefix of a layer's tensor names. */
  layer(index: number): string;
  /** One linear layer for queries, keys and values together, or three. */
  attentionQkv: readonly string[];
  norm: { weight: string; bias: string };
  linear: { weight: string; bias: string };
  /** Whether a linear layer's weight has the shape [in, out] rather than [out, in]. */
  isInputFirst: boolean;
}

// The prefixes that torch.compile and DistributedDataParallel add to names.
const wrappers = /^(_orig_mod\.|module\.)+/;
// Causal masks, which older checkpoints store as buffers.
const maskBuffer = /^h\.\d+\.attn\.(bias|masked_bias)$/;

const huggingFace: Layout = {
  title: 'Hugging Face',
  nameOf(stored) {
    const name = stored.replace(wrappers, '').replace(/^transformer\./, '');
    return maskBuffer.test(name) ? undefined : name;
  },
  tokenEmbedding: 'wte.weight',
  positionEmbedding: 'wpe.weight',
  head: 'lm_head.weight',
  outputNorm: 'ln_f',
  layer: (index) => `h.${index}.`,
  attentionNorm: 'ln_1',
  attentionQkv: ['attn.c_attn'],
  attentionOutput: 'attn.c_proj',
  feedForwardNorm: 'ln_2',
  feedForwardUp: 'mlp.c_fc',
  feedForwardDown: 'mlp.c_proj',
  norm: { weight: '.weight', bias: '.bias' },
  linear: { weight: '.weight', bias: '.bias' },
  isInputFirst: true,
};

// The same names with torch.nn.Linear, whose weights are [out, in].
const nanoGpt: Layout = { ...huggingFace, title: 'nanoGPT', isInputFirst: false };

const tensorflow: Layout = {
  ...huggingFace,
  title: 'OpenAI',
  // Fine-tuned checkpoints also hold the optimizer's state.
  nameOf: (stored) =>
    stored.startsWith('model/') && !/\/Adam(_1)?$/.test(stored)
      ? stored.slice('model/'.length)
      : undefined,
  tokenEmbedding: 'wte',
  positionEmbedding: 'wpe',
  head: 'lm_head', // never present: the head is tied
  layer: (index) => `h${index}/`,
  attentionQkv: ['attn/c_attn'],
  attentionOutput: 'attn/c_proj',
  feedForwardUp: 'mlp/c_fc',
  feedForwardDown: 'mlp/c_proj',
  norm: { weight: '/g', bias: '/b' },
  linear: { weight: '/w', bias: '/b' },
};

const fromScratch: Layout = {
  title: '"Build a Large Language Model (From Scratch)"',
  nameOf(stored) {
    const name = stored.replace(wrappers, '');
    return /^trf_blocks\.\d+\.att\.mask$/.test(name) ? undefined : name;
  },
  tokenEmbedding: 'tok_emb.weight',
  positionEmbedding: 'pos_emb.weight',
  head: 'out_head.weight',
  outputNorm: 'final_norm',
  layer: (index) => `trf_blocks.${index}.`,
  attentionNorm: 'norm1',
  attentionQkv: ['att.W_query', 'att.W_key', 'att.W_value'],
  attentionOutput: 'att.out_proj',
  feedForwardNorm: 'norm2',
  feedForwardUp: 'ff.layers.0',
  feedForwardDown: 'ff.layers.2',
  norm: { weight: '.scale', bias: '.shift' },
  linear: { weight: '.weight', bias: '.bias' },
  isInputFirst: false,
};

/** Detects a checkpoint's layout from the names and shapes of its tensors. */
export function detectLayout(shapes: ReadonlyMap<string, readonly number[]>): Layout {
  const has = (layout: Layout) =>
    [...shapes.keys()].some((stored) => layout.nameOf(stored) === layout.tokenEmbedding);
  if (has(fromScratch)) return fromScratch;
  if (has(tensorflow)) return tensorflow;
  for (const [stored, shape] of shapes) {
    if (huggingFace.nameOf(stored) !== 'h.0.attn.c_attn.weight') continue;
    const [first = 0, second = 0] = shape;
    return first === 3 * second ? nanoGpt : huggingFace;
  }
  return huggingFace;
}

/** A tensor of a GGUF file and the checkpoint tensors it is made of. */
export interface ExpectedTensor {
  tensor: ModelTensor;
  /** By the layout's names. Several sources are concatenated along the rows. */
  sources: readonly string[];
  /** The shape of each source. */
  shape: readonly number[];
  /** Whether each source is transposed. */
  transpose: boolean;
}

/**
 * Yields all tensors of a model. It is a generator because a config may claim millions of layers: the caller stops at
 * the first missing tensor.
 */
export function* expectedTensors(
  layout: Layout,
  sizes: ModelSizes,
): Generator<ExpectedTensor, void, void> {
  for (const tensor of modelTensors(sizes)) {
    const { module, isVector, rowLength } = tensor;
    const sources = sourcesOf(layout, tensor);
    const rows = tensor.rows / sources.length;
    const transpose = layout.isInputFirst && module.kind === 'linear' && !isVector;
    const shape = transpose ? [rowLength, rows] : [rows, rowLength];
    yield {
      tensor,
      sources,
      shape: isVector ? [rowLength / sources.length] : shape,
      transpose,
    };
  }
}

function sourcesOf(layout: Layout, { module, layer, parameter }: ModelTensor): string[] {
  const start = layer === undefined ? '' : layout.layer(layer);
  const end = module.kind === 'table' ? '' : layout[module.kind][parameter];
  return [layout[module.role]].flat().map((name) => start + name + end);
}
