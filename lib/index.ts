/// <reference lib="esnext.disposable" preserve="true" />
import { addon } from './native/addon.js';

export type { AdapterOption, ConvertOptions } from './conversion-options.js';
export { convert } from './convert.js';
export { type CreateOptions, createModel } from './create-model.js';
export { type CrossEntropy, type CrossEntropyOptions, crossEntropy } from './cross-entropy.js';
export { type ErrorCode, Gpt2Error } from './errors.js';
export type { GenerateOptions, SamplerName } from './generation/generate-options.js';
export type {
  FinishReason,
  Generation,
  GenerationPart,
  IndexedPart,
  LogitsContext,
  Timings,
  TopLogprobs,
  Usage,
} from './generation/generation.js';
export type { PartStream } from './generation/readable-stream.js';
export type { WeightType } from './gguf/tensor-types.js';
export type { Gpt2Config, PresetName } from './gpt2-config.js';
export type { Input } from './input.js';
export { type LoadOptions, loadModel } from './load-model.js';
export type { Logits, Positions } from './logits.js';
export type { Model, ModelConfig } from './model.js';
export type { AbortSignalLike } from './native/abort.js';
export { version } from './native/addon.js';
export type { Logger, LogLevel, TensorType } from './native/types.js';
export type { LoadProgress } from './progress.js';
export type { Classification, ClassifyOptions } from './scoring/classify.js';
export type { DecideOptions, Decision, Rating, Scale } from './scoring/decide.js';
export type { Embeddings, EmbedOptions } from './scoring/embed.js';
export type { Ranking, RankOptions } from './scoring/rank.js';
export type { Score, ScoreOptions, ScoreProgress, SpanScores } from './scoring/score.js';
export type { EvaluateOptions, Session } from './session.js';
export type { UrlLike } from './source.js';
export type { TokenSpans } from './tokenizer/token-spans.js';
export type { EncodeOptions, Tokenizer } from './tokenizer/tokenizer.js';

// An addon that is missing or belongs to another version fails here, not in the middle of a program.
addon();
