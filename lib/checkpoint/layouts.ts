import type { CheckpointConfig } from './checkpoint-config.js';

/** How a training program names GPT-2's tensors, and which way round its linear layers lie. */
export interface Layout {
  /** for messages */
  title: string;
  /** the name of a tensor of the file in this layout; undefined for what is no weight */
  nameOf(stored: string): string | undefined;
  tokenEmbedding: string;
  positionEmbedding: string;
  /** the head's weight, where it is not the token embedding */
  head: string;
  finalNorm: string;
  /** what stands before the names of a layer's tensors */
  layer(index: number): string;
  attentionNorm: string;
  /** one layer for queries, keys and values, or three */
  attentionQkv: readonly string[];
  attentionOutput: string;
  feedForwardNorm: string;
  feedForwardUp: string;
  feedForwardDown: string;
  norm: { weight: string; bias: string };
  linear: { weight: string; bias: string };
  /** whether the weight of a linear layer is [in, out] instead of [out, in] */
  isInputFirst: boolean;
}

// What wrappers put in front of names: torch.compile, DistributedDataParallel.
const wrappers = /^(_orig_mod\.|module\.)+/;
// Causal masks that older checkpoints carry along.
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

// The same names, with PyTorch's own linear layers.
const nanoGpt: Layout = { ...huggingFace, title: 'nanoGPT', isInputFirst: false };

const tensorflow: Layout = {
  ...huggingFace,
  title: 'OpenAI',
  // Others than the model's are the optimizer's, of fine-tuned ones.
  nameOf: (stored) =>
    stored.startsWith('model/') && !/\/Adam(_1)?$/.test(stored)
      ? stored.slice('model/'.length)
      : undefined,
  tokenEmbedding: 'wte',
  positionEmbedding: 'wpe',
  head: 'lm_head', // there is none
  layer: (index) => `h${index}/`,
  attentionQkv: ['attn/c_attn'],
  attentionOutput: 'attn/c_proj',
  feedForwardUp: 'mlp/c_fc',
  feedForwardDown: 'mlp/c_proj',
  norm: { weight: '/g', bias: '/b' },
  linear: { weight: '/w', bias: '/b' },
};

const fromScratch: Layout = {
  title: '"LLMs from scratch"',
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

/** The layout of a checkpoint, by the names of its tensors and the shapes of those that tell. */
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

/** A tensor of a GGUF file, and those of the checkpoint that it is made of. */
export interface ExpectedTensor {
  /** in GGUF */
  name: string;
  /** one, or several whose rows follow each other; by the layout's names */
  sources: readonly string[];
  /** of each source */
  shape: readonly number[];
  /** whether a source's columns become rows */
  transpose: boolean;
}

/**
 * All tensors of a model. One after the other, since a config may claim millions of layers: the first that
 * the file lacks ends it.
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
