export { type ConvertOptions, convert } from './convert.js';
export { type CreateOptions, createModel } from './create-model.js';
export { type ErrorCode, Gpt2Error } from './errors.js';
export type {
  GenerateOptions,
  Generation,
  GenerationPart,
} from './generation.js';
export type { TensorType, WeightType } from './gguf/tensor-types.js';
export type { Gpt2Config, PresetName } from './gpt2-config.js';
export type { Input } from './input.js';
export {
  type LoadOptions,
  type LoadProgress,
  loadModel,
} from './load-model.js';
export type { Logits, Positions } from './logits.js';
export type { Model, ModelConfig } from './model.js';
export { type Logger, type LogLevel, version } from './native/addon.js';
export type { EvaluateOptions, Session } from './session.js';
export type { EncodeOptions, Tokenizer } from './tokenizer/tokenizer.js';
