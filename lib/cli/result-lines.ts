// The result of a prompt as a line of JSON. It depends on nothing but the prompt, the options and the model: a run that was
// interrupted and resumed has the same lines.

import { createHash } from 'node:crypto';
import type { Gpt2Error } from '../errors.js';
import type { GenerateOptions } from '../generation/generate-options.js';
import type { Generation } from '../generation/generation.js';
import type { ModelConfig } from '../model.js';
import type { ResultHead } from './kept-results.js';
import type { PromptLine } from './prompt-lines.js';

/** What the results of a run depend on beside the prompts. */
export interface BatchSettings {
  /** The seed from which those of the prompts are derived. */
  seed: number;
  /** The options of all prompts, without their seed. */
  options: GenerateOptions;
  config: ModelConfig;
}

/** The part of a result that is known before it is generated. */
export interface PromptResultHead extends ResultHead {
  index: number;
  id?: unknown;
  /** Lines that are malformed have none. */
  prompt?: unknown;
}

/** The options of a prompt: those of its line, then those of all prompts. */
export function optionsOf(line: PromptLine, { seed, options }: BatchSettings): GenerateOptions {
  return { ...options, seed: seedOf(line.index, seed), ...line.request?.options };
}

/** The seed of a prompt. Consecutive ones would be those of its samples, and of runs with consecutive seeds. */
export function seedOf(index: number, runSeed: number): number {
  return createHash('sha256').update(`${runSeed} ${index}`).digest().readUIntBE(0, 6);
}

export function resultHead(line: PromptLine, settings: BatchSettings): PromptResultHead {
  const { index, request } = line;
  const { options, config, seed } = settings;
  return {
    index,
    ...(request && 'id' in request && { id: request.id }),
    prompt: request?.prompt,
    run: { seed, settings: hashOf([{ ...options, ...request?.options }, config]) },
  };
}

/** A short hash of options and sizes. */
export function hashOf(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(value, withInfinity))
    .digest('hex')
    .slice(0, 12);
}

/** JSON has no infinite numbers. */
function withInfinity(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

export function generationLine(head: PromptResultHead, generation: Generation): string {
  const { index, id, prompt, run } = head;
  return toLine({ index, id, prompt, ...withoutCircumstances(generation), run });
}

export function failureLine(head: PromptResultHead, { code, message }: Gpt2Error): string {
  const { index, id, prompt, run } = head;
  return toLine({ index, id, prompt, error: { code, message }, run });
}

/** A result without what depends on the other prompts in flight. */
function withoutCircumstances({ timings: _, ...generation }: Generation): object {
  const { usage, samples, ...rest } = generation;
  const { cachedTokens: __, ...ownUsage } = usage;
  return {
    ...rest,
    usage: ownUsage,
    ...(samples && { samples: samples.map(withoutCircumstances) }),
  };
}

export function toLine(value: object): string {
  return `${JSON.stringify(value, withArrays)}\n`;
}

/** Writes typed arrays as arrays. */
export function withArrays(_key: string, value: unknown): unknown {
  return ArrayBuffer.isView(value) ? Array.from(value as Float32Array) : value;
}
