// The seam between TypeScript and the compiled addon (binding/): the types of its calls, their arguments and results.

/** A ggml type that the engine encodes weights to. */
export type TensorType =
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'q8_0'
  | 'q6_k'
  | 'q5_k'
  | 'q5_1'
  | 'q5_0'
  | 'q4_k'
  | 'q4_1'
  | 'q4_0';

export interface NativeModelOptions {
  device: string;
  /** 0: one for every physical core that the process may use */
  threads: number;
  /** 0: the model's own */
  contextLength: number;
  cacheType: 'f32' | 'f16' | undefined;
  /** the limit of the memory for KV caches; undefined: a quarter of machineBytes, at least one whole context */
  cacheBytes: number | undefined;
  machineBytes: number;
  /** whether sequences with an equal beginning share keys and values */
  prefixCache: boolean;
  mmap: boolean;
}

export interface NativeModelDescription {
  vocabSize: number;
  contextLength: number;
  embeddingLength: number;
  headCount: number;
  layerCount: number;
  feedForwardLength: number;
  layerNormEpsilon: number;
  parameterCount: number;
  fileType: string;
  cacheType: 'f32' | 'f16';
  headIsTied: boolean;
  device: 'cpu' | 'cuda' | 'metal' | 'vulkan';
  threads: number;
  /** The tokens in the file's metadata. Absent if it has none. */
  vocabulary?: NativeVocabulary;
  /** The single values in the file's metadata that describe its tokenizer. */
  tokenizerSettings: [key: string, value: string | number | boolean][];
}

export interface NativeVocabulary {
  /** The number of tokens, without padding. */
  count: number;
  /** An FNV-1a hash in hexadecimal over the first 50,257 tokens, the size of GPT-2's vocabulary. */
  fingerprint: string;
  mergeCount: number;
  /** The tokens beyond GPT-2's vocabulary. Absent if they exceed the limit of added tokens. */
  added?: NativeAddedTokens;
}

/** Added tokens, as parallel arrays. */
export interface NativeAddedTokens {
  ids: Float64Array;
  /** GGUF's tokenizer.ggml.token_type */
  kinds: Int32Array;
  texts: string[];
}

/** Lists that are not empty, one after the other, and their lengths. */
export interface Packed<Values> {
  values: Values;
  lengths: Uint32Array;
}

/** A stage of the sampler (native/serving/sampling/stage.h). */
export interface NativeStage {
  name: string;
  numbers: Record<string, number>;
  /** of tokens */
  sequences: Packed<Uint32Array>;
  /** one for each of the sequences, if the stage has values */
  values: Float64Array;
  /** in UTF-8 */
  texts: Packed<Uint8Array>;
}

export interface NativeGenerateOptions {
  maxTokens: number;
  minTokens: number;
  seed: number;
  stages: NativeStage[];
  /** in UTF-8 */
  stopStrings: Packed<Uint8Array>;
  stopTokens: Uint32Array;
  ignoreEndOfText: boolean;
  timeBudgetMs: number | undefined;
  overflow: 'stop' | 'error' | 'slide';
  /** alternatives for each token; undefined: no log-probabilities */
  topLogprobs: number | undefined;
  /** of the distribution after the stages instead of the model's */
  logprobsOfSampler: boolean;
  /** whether onStep is called before each token, and changes the logits */
  hostStep: 'none' | 'confirm' | 'logits';
}

/** By column: one element for each target, or `top` of them. Natural logarithms. */
export interface NativeScores {
  logprobs: Float32Array;
  ranks: Uint32Array;
  entropies: Float32Array;
  variances: Float32Array;
  topTokens: Uint32Array;
  topLogprobs: Float32Array;
  /** Of the other model's distributions p, and of this model's q against them. */
  cross?: {
    logprobs: Float32Array;
    entropies: Float32Array;
    /** −Σ p ln q */
    crossEntropies: Float32Array;
    /** of ln q under p */
    crossVariances: Float32Array;
  };
}

export type OnToken = (
  token: number,
  logprob?: number,
  topTokens?: Uint32Array,
  topLogprobs?: Float32Array,
) => void;

/** The result of a generation, with the names and units of `Generation`. */
export interface NativeGeneration {
  finishReason: 'length' | 'endOfText' | 'stop' | 'predicate' | 'time';
  stopMatched?: string | number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  /** tokens that were dropped from the start of the session */
  droppedTokens: number;
  promptMs: number;
  firstTokenMs: number;
  totalMs: number;
}

/** Receives ggml's log lines for one model. */
export type Logger = (line: string, level: LogLevel) => void;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** An argument of calls. Its cancel() makes them reject with the code ABORTED. */
export interface NativeCancellation {
  cancel(): void;
}

export interface NativeSession {
  /**
   * Keeps the first `keep` tokens of the session, appends `tokens` and evaluates them. Writes the logits of the
   * positions, which are indices into `tokens`, to `out`, shape [positions.length, vocabSize].
   */
  evaluate(
    keep: number,
    tokens: Uint32Array,
    positions: Uint32Array,
    out: Float32Array,
    cancellation?: NativeCancellation,
  ): Promise<void>;
  /**
   * As `evaluate`, and continues the sequence. `onToken` receives each new token, with its log-probability and the
   * likeliest tokens if the options ask for them. If they ask for host steps, `onStep` is called before each token is
   * sampled, with the token before and the logits, and the call waits for `resume`.
   */
  generate(
    keep: number,
    tokens: Uint32Array,
    options: NativeGenerateOptions,
    onToken: OnToken,
    onStep: (lastToken: number | undefined, logits: Float32Array | undefined) => void,
    cancellation?: NativeCancellation,
  ): Promise<NativeGeneration>;
  /**
   * As `evaluate`, and scores the targets: the first follows `tokens` at index `first`, each of the others the next.
   * `top`: the number of likeliest tokens to return for each. `others`: another model's logits for the targets, shape
   * [targets.length, vocabSize], which become probabilities.
   */
  score(
    keep: number,
    tokens: Uint32Array,
    first: number,
    targets: Uint32Array,
    top: number,
    others: Float32Array | undefined,
    cancellation?: NativeCancellation,
  ): Promise<NativeScores>;
  /**
   * Evaluates tokens in an empty session and pools their hidden states, [embeddingLength]: after `layer` layers, or after
   * the final norm if these are all.
   */
  embed(
    tokens: Uint32Array,
    layer: number,
    pooling: 'mean' | 'last' | 'max',
    cancellation?: NativeCancellation,
  ): Promise<Float32Array>;
  /** Answers onStep: stops the generation, or goes on with these logits. */
  resume(stops: boolean, logits?: Float32Array): void;
  /** Ends a call that was cancelled and may wait for an answer. */
  wake(): void;
  /** Keeps and appends tokens as `evaluate`, and writes the session to a file. */
  save(
    keep: number,
    tokens: Uint32Array,
    path: string,
    cancellation?: NativeCancellation,
  ): Promise<void>;
  /** Replaces the session by the one in a file, and resolves to its tokens. */
  restore(path: string, cancellation?: NativeCancellation): Promise<Uint32Array>;
  fork(): NativeSession;
  dispose(): void;
}

export interface NativeModel {
  describe(): NativeModelDescription;
  createSession(): NativeSession;
  dispose(): Promise<void>;
}

/** The metadata and the tensors of a GGUF file, without their data. */
export interface GgufDescription {
  version: number;
  /** bytes of all parts */
  byteSize: number;
  /** The paths of a split file's parts, or the one path. The first file holds the metadata. */
  parts: string[];
  metadata: [
    key: string,
    value: string | number | boolean | { length: number; strings?: string[] },
    /** the offset in the file at which the value ends and the next key begins */
    end: number,
    /** GGUF's number for the type of the value, or of an array's elements */
    type: number,
  ][];
  tensors: {
    name: string;
    type: string;
    /** in ggml's order: the contiguous dimension first */
    shape: number[];
    byteSize: number;
    /** index into `parts` */
    part: number;
    /** in that file, in bytes */
    offset: number;
  }[];
}

/** A file opened for reading. */
export interface NativeFile {
  /** bytes */
  readonly size: number;
  /** Fills `out` with the bytes that begin at `offset`. */
  read(offset: number, out: Uint8Array, cancellation?: NativeCancellation): Promise<void>;
  close(): void;
}

/** A matrix in a file. */
export interface NativeTensorPart {
  file: NativeFile;
  offset: number;
  /** ggml's name of the type */
  type: string;
  rows: number;
  columns: number;
  transpose: boolean;
  /** elements from one row to the next, and from one element of a row to the next; default: columns and 1 */
  rowStride?: number;
  columnStride?: number;
}

/** A change of low rank: factor × left × right is added to the rows from `firstRow` on. */
export interface NativeUpdate {
  /** [rows, rank] */
  left: NativeTensorPart;
  /** [rank, elements per row] */
  right: NativeTensorPart;
  factor: number;
  firstRow: number;
}

/** A tensor of a GGUF file to be written. Its elements have one of three sources. */
export interface NativeTensor {
  name: string;
  type: TensorType;
  /** Files: matrices whose rows are concatenated. */
  parts?: readonly NativeTensorPart[];
  /** Changes of the parts, which are made in f32. */
  updates?: readonly NativeUpdate[];
  /** A factor for the first numbers of the parts and their updates. They are multiplied in f32. */
  scale?: { factor: number; count: number };
  /** Or a normal distribution with mean 0. The streams of a seed are independent of each other. */
  drawn?: { seed: number; stream: number; deviation: number; rows: number; columns: number };
  /** Or one value for all elements, in f32. */
  equal?: { value: number; count: number };
}

/** The sizes that decide which tensors a GPT-2 has, beside the number of layers. */
export type ModelSize = 'vocabSize' | 'contextLength' | 'embeddingLength' | 'feedForwardLength';

export type ModuleRole =
  | 'tokenEmbedding'
  | 'positionEmbedding'
  | 'attentionNorm'
  | 'attentionQkv'
  | 'attentionOutput'
  | 'feedForwardNorm'
  | 'feedForwardUp'
  | 'feedForwardDown'
  | 'outputNorm'
  | 'head';

/** A module of GPT-2: its tensors are `<name>.weight` and, unless it is a table, `<name>.bias`. */
export interface Gpt2Module {
  readonly role: ModuleRole;
  /** in GGUF; `{}` stands for the number of the layer */
  readonly name: string;
  readonly place: 'input' | 'layer' | 'output';
  /** a table has one row per token or position */
  readonly kind: 'table' | 'norm' | 'linear';
  /** numbers in a row of the weight: a multiple of a size */
  readonly in: { readonly size: ModelSize; readonly factor: number };
  /** rows of the weight, and the length of the bias */
  readonly out: { readonly size: ModelSize; readonly factor: number };
  readonly isOptional: boolean;
}

/** What the addon found on this machine. */
export interface SystemDescription {
  /** the physical cores that the process may use */
  threads: number;
  devices: string[];
  /** the levels of kernels in the addon, the best first; `missing` names the instruction sets that the processor lacks */
  kernels: { level: string; missing: string; isChosen: boolean }[];
}

export interface Addon {
  readonly version: string;
  /** the table of GPT-2's tensors, from input to output (native/gguf/gpt2_tensors.h) */
  readonly gpt2Modules: readonly Gpt2Module[];
  readonly Cancellation: new () => NativeCancellation;
  describeSystem(): SystemDescription;
  openModel(
    path: string,
    options: NativeModelOptions,
    logger?: Logger,
    cancellation?: NativeCancellation,
  ): Promise<NativeModel>;
  /** path: of a split file, the first part. */
  inspectGguf(path: string): Promise<GgufDescription>;
  openFile(path: string): Promise<NativeFile>;
  /** Locks a file. Resolves to a function that releases the lock, or to undefined while another holder has it. */
  lockFile(path: string): Promise<(() => void) | undefined>;
  /** Encodes tensors and writes them after the header. `onProgress` receives the number of source bytes done so far. */
  writeGguf(
    path: string,
    header: Uint8Array,
    tensors: readonly NativeTensor[],
    /** threads that encode; 0: one for every physical core that the process may use */
    threads: number,
    onProgress: (done: number) => void,
    cancellation?: NativeCancellation,
  ): Promise<void>;
  /** The elements and bytes of one block of a type. */
  blockSize(type: TensorType): [elements: number, bytes: number];
}
