import { invalidArgument } from '../arguments.js';

/** A model on the Hugging Face hub, in one of its versions. */
export interface ModelName {
  /** owner/name */
  repository: string;
  /** without its owner, if it was called so */
  shortName?: string;
  /** a branch, a tag or a commit */
  revision: string;
}

const shortNames: Readonly<Record<string, string>> = {
  gpt2: 'openai-community/gpt2',
  'gpt2-medium': 'openai-community/gpt2-medium',
  'gpt2-large': 'openai-community/gpt2-large',
  'gpt2-xl': 'openai-community/gpt2-xl',
  distilgpt2: 'distilbert/distilgpt2',
};

const defaultRevision = 'main';

// The hub's rules for names. They go into the names of folders too, with "--" for the "/".
const repositoryPattern = /^(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9_][\w.-]{0,95}$/;
const revisionPattern = /^(?!.*\.\.)[\w-][\w.-]*(\/[\w-][\w.-]*){0,8}$/;
// What is meant as a path, though there is no such file.
const filePattern = /\.(gguf|safetensors|bin|pt|pth|index|json)$/i;

/**
 * `gpt2`, or `owner/name`, each also with `@revision`; undefined for whatever else.
 */
export function parseModelName(text: string): ModelName | undefined {
  const [short = '', revision = defaultRevision, ...more] = text.split('@');
  const isShort = Object.hasOwn(shortNames, short);
  const repository = isShort ? (shortNames[short] as string) : short;
  const fits =
    more.length === 0 &&
    repositoryPattern.test(repository) &&
    !filePattern.test(repository) &&
    revision.length <= 200 &&
    revisionPattern.test(revision);
  if (!fits) return undefined;
  return isShort ? { repository, shortName: short, revision } : { repository, revision };
}

/** @throws INVALID_ARGUMENT */
export function expectModelName(text: string): ModelName {
  const name = parseModelName(text);
  if (name) return name;
  throw invalidArgument('the name of a model on the hub (gpt2, or owner/name[@revision])', text);
}

/** The name as a person writes it. */
export function showModelName({ repository, revision }: ModelName): string {
  return revision === defaultRevision ? repository : `${repository}@${revision}`;
}
