import { invalidArgument } from '../arguments.js';

/** A version of a model on the Hugging Face hub. */
export interface ModelName {
  /** owner/name */
  repository: string;
  /** The short name, such as `gpt2`, if the model was named by it. */
  shortName?: string;
  /** The file with the weights, if the name ends in one: `owner/name/file.pth`. */
  file?: string;
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

// The hub's rules for names. Names also become folder names, with "--" in place of "/".
const repositoryPattern = /^(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9_][\w.-]{0,95}$/;
const revisionPattern = /^(?!.*\.\.)[\w-][\w.-]*(\/[\w-][\w.-]*){0,8}$/;
// Names with these extensions are paths, even if the file does not exist.
const filePattern = /\.(gguf|safetensors|bin|pt|pth|index|json)$/i;

// Without .gguf: `folder/folder/model.gguf` is nearly always a path, and the option `type` chooses among GGUF files.
const weightsPattern = /^([^/]+\/[^/]+)\/([\w][\w.-]{0,199}\.(?:safetensors|bin|pt|pth))$/;

/**
 * Parses `gpt2`, `owner/name` or `owner/name/file.pth`, each optionally with `@revision`. Returns undefined for any other
 * text.
 */
export function parseModelName(text: string): ModelName | undefined {
  const [path = '', revision = defaultRevision, ...more] = text.split('@');
  const [, short = path, file] = weightsPattern.exec(path) ?? [];
  const isShort = Object.hasOwn(shortNames, short);
  const repository = isShort ? (shortNames[short] as string) : short;
  const fits =
    more.length === 0 &&
    repositoryPattern.test(repository) &&
    !filePattern.test(repository) &&
    revision.length <= 200 &&
    revisionPattern.test(revision);
  if (!fits) return undefined;
  if (file !== undefined) return { repository, file, revision };
  return isShort ? { repository, shortName: short, revision } : { repository, revision };
}

/** @throws INVALID_ARGUMENT */
export function expectModelName(text: string): ModelName {
  const name = parseModelName(text);
  if (name) return name;
  throw invalidArgument(
    'the name of a model on the hub (gpt2 or owner/name, optionally with @revision)',
    text,
  );
}

/** The name as a user would write it. */
export function showModelName({ repository, file, revision }: ModelName): string {
  const path = file === undefined ? repository : `${repository}/${file}`;
  return revision === defaultRevision ? path : `${path}@${revision}`;
}
