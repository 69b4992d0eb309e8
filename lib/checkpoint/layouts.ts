import type { CheckpointConfig } from './checkpoint-config.js';

/** A training program's names for GPT-2's tensors and the orientation of its linear layers. */
export interface Layout {
  /** For error messages. */
  title: string;
  /** Maps a stored name to this layout's name; undefined if the tensor is not a weight. */
  nameOf(stored: string): string | undefined;
  tokenEmbedding: string;
  positionEmbedding: string;
  /** The weight of an untied head. */
  head: string;
  finalNorm: string;
  /** The prefix of a layer's tensor names. */
  layer(index: number): string;
  attentionNorm: string;
  /** One linear layer for queries, keys and values together, or three. */
  attentionQkv: readonly string[];
  attentionOutput: string;
  feedForwardNorm: string;
  feedForwardUp: string;
  feedForwardDown: string;
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
  finalNorm: 'ln_f',
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
  finalNorm: 'final_norm',
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
  /** The name in GGUF. */
  name: string;
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
  config: Pick<
    CheckpointConfig,
    'vocabSize' | 'contextLength' | 'embeddingLength' | 'feedForwardLength' | 'layerCount'
  >,
): Generator<ExpectedTensor, void, void> {
  const { embeddingLength: width, feedForwardLength: inner, vocabSize } = config;
  const table = (source: string, name: string, rows: number): ExpectedTensor => ({
    name,
    sources: [source],
    shape: [rows, width],
    transpose: false,
  });
  const vector = (sources: string[], name: string, length: number): ExpectedTensor => ({
    name,
    sources,
    shape: [length],
    transpose: false,
  });
  const norm = (source: string, name: string) => [
    vector([source + layout.norm.weight], `${name}.weight`, width),
    vector([source + layout.norm.bias], `${name}.bias`, width),
  ];
  const linear = (sources: string[], name: string, from: number, to: number) => {
    const each = to / sources.length;
    const { isInputFirst } = layout;
    return [
      {
        name: `${name}.weight`,
        sources: sources.map((source) => source + layout.linear.weight),
        shape: isInputFirst ? [from, each] : [each, from],
        transpose: isInputFirst,
      },
      vector(
        sources.map((source) => source + layout.linear.bias),
        `${name}.bias`,
        each,
      ),
    ];
  };
  yield table(layout.tokenEmbedding, 'token_embd.weight', vocabSize);
  yield table(layout.positionEmbedding, 'position_embd.weight', config.contextLength);
  for (let i = 0; i < config.layerCount; i++) {
    const of = (name: string) => layout.layer(i) + name;
    const qkv = layout.attentionQkv.map(of);
    yield* norm(of(layout.attentionNorm), `blk.${i}.attn_norm`);
    yield* linear(qkv, `blk.${i}.attn_qkv`, width, 3 * width);
    yield* linear([of(layout.attentionOutput)], `blk.${i}.attn_output`, width, width);
    yield* norm(of(layout.feedForwardNorm), `blk.${i}.ffn_norm`);
    yield* linear([of(layout.feedForwardUp)], `blk.${i}.ffn_up`, width, inner);
    yield* linear([of(layout.feedForwardDown)], `blk.${i}.ffn_down`, inner, width);
  }
  yield* norm(layout.finalNorm, 'output_norm');
  yield table(layout.head, 'output.weight', vocabSize);
}
