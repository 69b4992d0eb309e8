// The seam between TypeScript and the compiled addon (binding/): the types of its calls and of what they exchange.

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
  /** 0: one for every physical core this process may use */
  threads: number;
  /** 0: the model's own */
  contextLength: number;
  cacheType: 'f32' | 'f16' | undefined;
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
  /** the tokens in the file's metadata, if it has any */
  vocabulary?: NativeVocabulary;
}

export interface NativeVocabulary {
  /** how many tokens there are, without padding */
  count: number;
  /** an FNV-1a hash in hexadecimal over the first 50,257, as many as GPT-2 has */
  fingerprint: string;
  mergeCount: number;
  /** the tokens beyond those; absent if they are too many to be handed over */
  added?: NativeAddedTokens;
}

/** The same place in each is the same token. */
export interface NativeAddedTokens {
  ids: Float64Array;
  /** GGUF's tokenizer.ggml.token_type */
  kinds: Int32Array;
  texts: string[];
}

export interface NativeGenerateOptions {
  maxTokens: number;
  temperature: number;
  topK: number;
  topP: number;
  seed: number;
}

export interface NativeGeneration {
  finishReason: 'length' | 'endOfText';
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  promptMs: number;
  firstTokenMs: number;
  totalMs: number;
}

/** Hears what ggml has to say while it works for a model, line by line. */
export type Logger = (line: string, level: LogLevel) => void;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Handed to calls; its cancel() makes them reject with the code ABORTED. */
export interface NativeCancellation {
  cancel(): void;
}

export interface NativeSession {
  /** Keeps the first `keep` tokens, appends and evaluates; fills `out` with one row per position. */
  evaluate(
    keep: number,
    tokens: Uint32Array,
    positions: Uint32Array,
    out: Float32Array,
    cancellation?: NativeCancellation,
  ): Promise<void>;
  generate(
    keep: number,
    tokens: Uint32Array,
    options: NativeGenerateOptions,
    onToken: (token: number) => void,
    cancellation?: NativeCancellation,
  ): Promise<NativeGeneration>;
  fork(): NativeSession;
  dispose(): void;
}

export interface NativeModel {
  describe(): NativeModelDescription;
  createSession(): NativeSession;
  dispose(): Promise<void>;
}

export interface GgufDescription {
  version: number;
  /** of all parts */
  byteSize: number;
  /** paths: one, or those of a split file's parts, of which the first holds the metadata */
  parts: string[];
  metadata: [
    key: string,
    value: string | number | boolean | { length: number; strings?: string[] },
    /** where the value ends in the file, and the next key begins */
    end: number,
    /** of the value, or of an array's elements, by GGUF's number */
    type: number,
  ][];
  tensors: {
    name: string;
    type: string;
    /** in ggml's order: the contiguous dimension first */
    shape: number[];
    byteSize: number;
    /** index of the file that it lies in */
    part: number;
    /** in that file */
    offset: number;
  }[];
}

/** A file opened for reading. */
export interface NativeFile {
  readonly size: number;
  /** Fills `out` with the bytes from `offset` on. */
  read(offset: number, out: Uint8Array, cancellation?: NativeCancellation): Promise<void>;
  close(): void;
}

/** A tensor of a GGUF file to be written: one of three kinds of numbers. */
export interface NativeTensor {
  name: string;
  type: TensorType;
  /** of files: matrices whose rows follow each other */
  parts?: readonly {
    file: NativeFile;
    offset: number;
    /** one of ggml's */
    type: string;
    rows: number;
    columns: number;
    transpose: boolean;
  }[];
  /** or drawn from a normal distribution around 0; each stream of a seed is independent of the others */
  drawn?: { seed: number; stream: number; deviation: number; rows: number; columns: number };
  /** or all the same, in f32 */
  equal?: { value: number; count: number };
}

export interface Addon {
  readonly version: string;
  readonly Cancellation: new () => NativeCancellation;
  openModel(
    path: string,
    options: NativeModelOptions,
    logger?: Logger,
    cancellation?: NativeCancellation,
  ): Promise<NativeModel>;
  /** Of a split file the path is that of the first part. */
  inspectGguf(path: string): Promise<GgufDescription>;
  openFile(path: string): Promise<NativeFile>;
  /** Takes a lock and resolves to what releases it; to undefined while somebody else holds it. */
  lockFile(path: string): Promise<(() => void) | undefined>;
  /** Writes header and tensors, encoded; `onProgress` receives the number of source bytes done so far. */
  writeGguf(
    path: string,
    header: Uint8Array,
    tensors: readonly NativeTensor[],
    /** that encode; 0: one for every physical core this process may use */
    threads: number,
    onProgress: (done: number) => void,
    cancellation?: NativeCancellation,
  ): Promise<void>;
  /** elements and bytes of one block */
  blockSize(type: TensorType): [elements: number, bytes: number];
  /** Stops the work of this thread's models for good, and waits until it has ended. */
  stopWorkers(): void;
}
