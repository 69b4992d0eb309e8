import { checkBoolean, checkOptions, checkString, invalidArgument } from '../arguments.js';
import type { AbortSignalLike } from '../native/abort.js';
import { comparison, type Ranking, rankCandidates } from './rank.js';
import type { ScoringModel } from './score-texts.js';

export interface ClassifyOptions {
  /**
   * The text that the model sees: `{text}` stands for the text and `{label}` for a label, once each. Default:
   * '{text}\n\nThis text is about {label}.'
   */
  template?: string;
  /**
   * Whether the log-likelihood of each label after an empty text is subtracted, so that frequent labels are not preferred
   * (Holtzman et al. 2021, "Surface Form Competition"). Default true.
   */
  calibrate?: boolean;
  /** Aborts the call. It then rejects with the signal's reason. */
  signal?: AbortSignalLike;
}

/** The base model's judgement of a text: which label continues it best. */
export interface Classification {
  /** The likeliest. */
  label: string;
  /** In the order of the labels; they sum to 1. */
  probabilities: Float64Array;
  /** The indices of the labels, the likeliest first. */
  order: Uint32Array;
}

const defaultTemplate = '{text}\n\nThis text is about {label}.';

export async function classifyText(
  model: ScoringModel,
  text: string,
  labels: readonly string[],
  options: ClassifyOptions | undefined,
): Promise<Classification> {
  const call = { name: 'classify', argument: 'labels', defaultTemplate };
  const { probabilities, order } = await classify(model, call, text, labels, options);
  return { label: labels[order[0] as number] as string, probabilities, order };
}

export async function classify(
  model: ScoringModel,
  call: { name: string; argument: string; defaultTemplate: string },
  text: string,
  labels: readonly string[],
  options: ClassifyOptions | undefined,
): Promise<Pick<Ranking, 'probabilities' | 'order'>> {
  const given = checkOptions(call.name, options, ['template', 'calibrate', 'signal']);
  const template = checkString('template', given.template ?? call.defaultTemplate);
  const calibrates = checkBoolean('calibrate', given.calibrate ?? true);
  const { signal } = given;
  checkString('the text', text);
  if (!Array.isArray(labels) || labels.length === 0) {
    throw invalidArgument(`${call.argument} to be an array of at least one text`, labels);
  }
  const { promptOf, candidates } = filled(template, labels, call.argument);
  const { logprobs } = await rankCandidates(model, promptOf(text), candidates, { signal });
  return comparison(
    calibrates ? await minusPrior(model, logprobs, promptOf(''), candidates, signal) : logprobs,
  );
}

async function minusPrior(
  model: ScoringModel,
  logprobs: Float64Array,
  prompt: string,
  candidates: readonly string[],
  signal: AbortSignalLike | undefined,
): Promise<Float64Array> {
  const prior = await rankCandidates(model, prompt, candidates, { signal });
  return logprobs.map((logprob, index) => logprob - (prior.logprobs[index] as number));
}

/** Divides the template where the label begins. A space there belongs to the label, as GPT-2's tokens have it. */
function filled(
  template: string,
  labels: readonly string[],
  argument: string,
): { promptOf: (text: string) => string; candidates: string[] } {
  const [before = '', after, ...others] = template.split('{label}');
  const parts = before.split('{text}');
  if (after === undefined || others.length > 0 || parts.length !== 2) {
    throw invalidArgument('template to have {text}, and after it {label}, once each', template);
  }
  const hasSpace = before.endsWith(' ');
  const prompt = hasSpace ? before.slice(0, -1) : before;
  return {
    promptOf: (text) => prompt.split('{text}').join(text),
    candidates: Array.from(labels, (label, index) => {
      if (typeof label !== 'string' || label === '') {
        throw invalidArgument(`${argument}[${index}] to be text of at least one character`, label);
      }
      return `${hasSpace ? ' ' : ''}${label}${after}`;
    }),
  };
}
