import { type ModelSizes, type ModelTensor, modelTensors } from '../gguf/model-tensors.js';
import type { ModuleRole } from '../native/types.js';

/**
 * A training program's names for GPT-2's tensors and the orientation of its linear layers. Tables have the names of
 * their weights; the names of norms and linear layers are prefixes of `norm` and `linear`.
 */
export interface Layout extends Record<Exclude<ModuleRole, 'attentionQkv'>, string> {
  /** For error messages. */
  title: string;
  /** Maps a name without its prefix to this layout's name; undefined if the tensor is not a weight. */
  nameOf(name: string): string | undefined;
  /** The prefix of a layer's tensor names. */
  layer(index: number): string;
  /** One linear layer for queries, keys and values together, or three. */
  attentionQkv: readonly string[];
  norm: { weight: string; bias: string };
  linear: { weight: string; bias: string };
  /** Whether a linear layer's weight has the shape [in, out] rather than [out, in]. */
  isInputFirst: boolean;
}

// Causal masks and positions, which some programs store as buffers.
const huggingFaceBuffer = /^(h\.\d+\.attn\.(bias|masked_bias|mask|tril)|position_ids)$/;
const fromScratchBuffer = /^(trf_blocks\.\d+\.att\.(mask|attn_mask|causal_mask)|position_ids)$/;

const huggingFace: Layout = {
  title: 'Hugging Face',
  nameOf(prefixed) {
    const name = prefixed.replace(/^transformer\./, ''); // of some tensors only
    if (huggingFaceBuffer.test(name)) return undefined;
    // DialoGPT's files keep the head in a module of its own.
    return name.replace(/^lm_head\.decoder\./, 'lm_head.');
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
  nameOf: (name) => (/\/Adam(_1)?$/.test(name) ? undefined : name),
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
  nameOf(name) {
    if (fromScratchBuffer.test(name)) return undefined;
    // The book's later variants call att.out_proj att.proj and use torch.nn.LayerNorm.
    return name
      .replace(/^(trf_blocks\.\d+\.att\.)proj\./, '$1out_proj.')
      .replace(/^((?:trf_blocks\.\d+\.norm[12]|final_norm)\.)weight$/, '$1scale')
      .replace(/^((?:trf_blocks\.\d+\.norm[12]|final_norm)\.)bias$/, '$1shift');
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

// The book's variant with one linear layer for queries, keys and values.
const fromScratchPacked: Layout = { ...fromScratch, attentionQkv: ['att.qkv'] };

// The modules in which torch.compile, DistributedDataParallel, FullyShardedDataParallel, Lightning and activation
// checkpointing wrap a model or its layers.
const wrapper =
  /(^|\.)(?:(?:_orig_mod|module|_fsdp_wrapped_module|_forward_module|_checkpoint_wrapped_module)\.)+/g;

function withoutWrappers(name: string): string {
  return name.replace(wrapper, '$1');
}

/** A checkpoint's layout, and the names of its tensors in it. */
export interface NamedTensors {
  layout: Layout;
  /** Maps a stored name to the layout's name; undefined if the tensor is not a weight. */
  nameOf(stored: string): string | undefined;
}

/**
 * Detects a checkpoint's layout from the names and shapes of its tensors. Returns undefined if they are not those of a
 * GPT-2.
 */
export function detectLayout(
  shapes: ReadonlyMap<string, readonly number[]>,
): NamedTensors | undefined {
  const names = [...shapes.keys()];
  for (const family of [fromScratch, tensorflow, huggingFace]) {
    const strip = prefixOf(family, names);
    if (!strip) continue;
    const nameOf = (stored: string) => {
      const name = strip(stored);
      return name === undefined ? undefined : family.nameOf(name);
    };
    const shapesByName = new Map(
      names.map((stored): [string | undefined, readonly number[]] => [
        nameOf(stored),
        shapes.get(stored) as readonly number[],
      ]),
    );
    return { layout: variantOf(family, shapesByName), nameOf };
  }
  return undefined;
}

function variantOf(
  family: Layout,
  shapes: ReadonlyMap<string | undefined, readonly number[]>,
): Layout {
  if (family === fromScratch) {
    return shapes.has('trf_blocks.0.att.qkv.weight') ? fromScratchPacked : fromScratch;
  }
  if (family !== huggingFace) return family;
  const [first = 0, second = 0] = shapes.get('h.0.attn.c_attn.weight') ?? [];
  return first !== 0 && first === 3 * second ? nanoGpt : huggingFace;
}

/**
 * The function that removes the prefix of a family's names, such as `model.transformer.`; undefined if the names are of
 * another family. The head lies beside the transformer, so its prefix is shorter.
 */
function prefixOf(
  family: Layout,
  names: readonly string[],
): ((stored: string) => string | undefined) | undefined {
  if (family === tensorflow) {
    const prefix = 'model/';
    const isFamily = names.some((name) => name.startsWith(prefix));
    const strip = (name: string) =>
      name.startsWith(prefix) ? name.slice(prefix.length) : undefined;
    return isFamily ? strip : undefined;
  }
  for (const anchor of [family.positionEmbedding, family.tokenEmbedding]) {
    const prefixes = names
      .map(withoutWrappers)
      .filter((name) => name === anchor || name.endsWith(`.${anchor}`))
      .map((name) => name.slice(0, -anchor.length));
    if (prefixes.length === 0) continue;
    // The shortest is that of the model, not of a copy within it.
    const prefix = prefixes.reduce((a, b) => (b.length < a.length ? b : a));
    const modules = prefix.split('.').slice(0, -1);
    const ancestors = [prefix, ...modules.map((_, i) => dotted(modules.slice(0, i))).reverse()];
    return (stored) => {
      const name = withoutWrappers(stored);
      const own = ancestors.find((ancestor) => name.startsWith(ancestor)) ?? '';
      return name.slice(own.length);
    };
  }
  return undefined;
}

function dotted(modules: readonly string[]): string {
  return modules.map((module) => `${module}.`).join('');
}

/** The names by which the layouts are recognised, for error messages. */
export const knownNames =
  '"wte.weight" and "wpe.weight" (Hugging Face, nanoGPT), "tok_emb.weight" and "pos_emb.weight" ("Build a Large Language Model (From Scratch)"), or "model/wte" and "model/wpe" (OpenAI)';

// Heads that are trained beside the language model: values (TRL), multiple choice (GPT2DoubleHeadsModel),
// classification, questions.
const trainingHead =
  /^(v_head|value_head|multiple_choice_head|mc_head|score|classifier|qa_outputs|reward_head)\./;

/** Whether a tensor, by its layout's name, belongs to a head for training, which does not change the logits. */
export function isOfTrainingHead(name: string): boolean {
  return trainingHead.test(name);
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

/** One of the sources of an expected tensor. */
export interface FoundSource {
  expected: ExpectedTensor;
  /** The index among the sources. */
  index: number;
}

/**
 * Returns a function that finds a model's tensors by the names of Hugging Face, nanoGPT and the book, whatever their
 * prefix is. It returns 'not a weight' for a tensor that does not change the logits, and undefined for one that the model
 * does not have. Unlike `detectLayout`, it needs no embedding among the names.
 *
 * @param isInputFirst whether the weight of a linear layer has the shape [in, out], for names that both programs use
 */
export function sourceFinder(
  sizes: ModelSizes,
  isInputFirst: boolean,
): (stored: string) => FoundSource | 'not a weight' | undefined {
  const families = [isInputFirst ? huggingFace : nanoGpt, fromScratch];
  const byName = new Map<string, FoundSource>();
  for (const layout of [...families, fromScratchPacked]) {
    for (const expected of expectedTensors(layout, sizes)) {
      for (const [index, source] of expected.sources.entries()) {
        byName.set(source, { expected, index });
      }
    }
  }
  return (stored) => {
    const modules = withoutWrappers(stored).split('.');
    // From the full name on, so that a shorter one within it is not mistaken for it.
    for (const [start] of modules.entries()) {
      const suffix = modules.slice(start).join('.');
      for (const family of families) {
        const name = family.nameOf(suffix);
        if (name === undefined || isOfTrainingHead(name)) return 'not a weight';
        const found = byName.get(name);
        if (found) return found;
      }
    }
    return undefined;
  };
}
