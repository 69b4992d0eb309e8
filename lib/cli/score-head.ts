import type { Model } from '../model.js';
import type { ScoreOptions } from '../scoring/score.js';
import type { ResultHead } from './kept-results.js';
import { hashOf } from './result-lines.js';
import type { TextInput } from './score-inputs.js';

/** The part of a result that is known before the text is scored. */
export interface ScoreHead extends ResultHead, Omit<TextInput, 'place'> {}

export function headsOf(
  { config }: Pick<Model, 'config'>,
  options: ScoreOptions,
): (input: TextInput) => ScoreHead {
  const settings = hashOf([options, config]);
  return ({ file, line, text }) => ({
    file,
    ...(line !== undefined && { line }),
    text,
    run: { settings },
  });
}
