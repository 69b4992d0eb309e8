/** The sizes that decide which tensors a GPT-2 has. */
export interface ModelSizes {
  vocabSize: number;
  contextLength: number;
  embeddingLength: number;
  feedForwardLength: number;
  layerCount: number;
}

/** A matrix of `rows` rows, or a vector, of `rowLength` numbers. */
export interface ModelTensor {
  /** in GGUF */
  name: string;
  rowLength: number;
  rows: number;
  isVector: boolean;
}

/** The tensors of a GPT-2 whose head is its token embedding, by their names in GGUF, from input to output. */
export function* modelTensors(sizes: ModelSizes): Generator<ModelTensor, void, void> {
  const { embeddingLength: width, feedForwardLength: inner } = sizes;
  const vector = (name: string, rowLength: number) => ({
    name,
    rowLength,
    rows: 1,
    isVector: true,
  });
  const matrix = (name: string, rowLength: number, rows: number) => ({
    name,
    rowLength,
    rows,
    isVector: false,
  });
  const norm = (name: string) => [vector(`${name}.weight`, width), vector(`${name}.bias`, width)];
  const linear = (name: string, from: number, to: number) => [
    matrix(`${name}.weight`, from, to),
    vector(`${name}.bias`, to),
  ];
  yield matrix('token_embd.weight', width, sizes.vocabSize);
  yield matrix('position_embd.weight', width, sizes.contextLength);
  for (let i = 0; i < sizes.layerCount; i++) {
    yield* norm(`blk.${i}.attn_norm`);
    yield* linear(`blk.${i}.attn_qkv`, width, 3 * width);
    yield* linear(`blk.${i}.attn_output`, width, width);
    yield* norm(`blk.${i}.ffn_norm`);
    yield* linear(`blk.${i}.ffn_up`, width, inner);
    yield* linear(`blk.${i}.ffn_down`, inner, width);
  }
  yield* norm('output_norm');
}
