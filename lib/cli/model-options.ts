import type { AdapterOption } from '../conversion-options.js';
import { fileError } from '../files.js';
import { weightTypes } from '../gguf/tensor-types.js';
import type { Input } from '../input.js';
import { findModelFile, type LoadOptions, loadModel } from '../load-model.js';
import type { Model } from '../model.js';
import { type Command, InvalidArgumentError, Option } from './commander.js';
import { withProgressBar } from './terminal.js';

export interface ModelFlags {
  model?: string;
  device?: LoadOptions['device'];
  threads?: number;
  contextLength?: number;
  type?: LoadOptions['type'];
  headCount?: number;
  adapter?: AdapterFlag[];
  cacheType?: LoadOptions['cacheType'];
  mmap: boolean;
  cacheDir?: string;
  offline?: boolean;
}

/** The forms of a model argument, for help texts. */
export const modelForms =
  'a GGUF file, a checkpoint (folder or file), or a name on the hub (gpt2, owner/name[@revision])';

/** Adds the options of commands that open a model. */
export function addModelOptions(command: Command): Command {
  return command
    .option(
      '-m, --model <model>',
      `${modelForms} (default: the small model that comes with the package)`,
    )
    .addOption(
      new Option('--device <name>', 'where to compute').choices([
        'auto',
        'cpu',
        'cuda',
        'metal',
        'vulkan',
      ]),
    )
    .option('--threads <count>', 'threads that compute (default: the physical cores)', parseNumber)
    .option('--context-length <tokens>', "longest sequence (default: the model's own)", parseNumber)
    .addOption(typeOption())
    .addOption(headCountOption())
    .addOption(adapterOption())
    .addOption(new Option('--cache-type <type>', 'type of keys and values').choices(['f32', 'f16']))
    .option('--no-mmap', 'read the file into memory instead of mapping it')
    .option('--cache-dir <folder>', 'folder for conversions')
    .addOption(offlineOption());
}

export function typeOption(
  description = "type of the weights when a checkpoint is converted (default: the checkpoint's own)",
): Option {
  return new Option('--type <type>', description).choices(weightTypes);
}

export function headCountOption(): Option {
  return new Option(
    '--head-count <count>',
    'attention heads, for weights without a config (default: those of the published sizes)',
  ).argParser(parseCount);
}

export type AdapterFlag = Exclude<AdapterOption, string>;

export function adapterOption(): Option {
  return new Option(
    '--adapter <folder[=scale]>',
    'LoRA adapter of PEFT to merge into a checkpoint; repeatable',
  ).argParser((text, before: AdapterFlag[] = []) => [...before, parseAdapter(text)]);
}

/** Parses a path, or a path and a factor as in `style=0.5`. */
function parseAdapter(text: string): AdapterFlag {
  const [, path, scale] = /^(.+)=([+-]?[\d.]+(?:e[+-]?\d+)?)$/i.exec(text) ?? [];
  return path === undefined ? { path: text } : { path, scale: parseNumber(scale as string) };
}

export function offlineOption(): Option {
  return new Option(
    '--offline',
    'open models of the hub from the cache only, without network access',
  );
}

/** Finds the GGUF file of a model as `findModelFile` does, with a progress bar on a terminal. */
export async function findFile(
  model: string | undefined,
  { headCount, offline }: Pick<ModelFlags, 'headCount' | 'offline'>,
): Promise<string> {
  const { path } = await withProgressBar((onProgress) =>
    findModelFile(model, undefined, { headCount, offline, onProgress }),
  );
  return path;
}

/** Opens the model of the options, with a progress bar on a terminal. */
export async function openModel(flags: ModelFlags): Promise<Model> {
  const { model, device, threads, contextLength, type, headCount, cacheType, mmap, cacheDir } =
    flags;
  const options = {
    ...{ device, threads, contextLength, type, headCount, cacheType, mmap, cacheDir },
    adapters: flags.adapter,
    offline: flags.offline,
  };
  const opened = await withProgressBar((onProgress) =>
    loadModel(model, { ...options, onProgress }),
  );
  if (model === undefined) noteDefaultModel();
  return opened;
}

/** Writes to stderr that the bundled model is used, and how to use a real one. */
export function noteDefaultModel(): void {
  process.stderr.write(
    `gpt2: no model given; using the small model that comes with the package, which was trained on twenty old books.
--model gpt2 uses OpenAI's 124M, which is downloaded once (550 MB) from the Hugging Face hub into the cache.
`,
  );
}

export function parseNumber(text: string): number {
  const number = Number(text);
  if (text.trim() === '' || Number.isNaN(number))
    throw new InvalidArgumentError('Expected a number.');
  return number;
}

export function parseCount(text: string): number {
  const number = parseNumber(text);
  if (!Number.isInteger(number) || number < 1) {
    throw new InvalidArgumentError('Expected a whole number of at least 1.');
  }
  return number;
}

/** Parses a list of whole numbers, separated by commas or spaces. */
export function parseNumbers(text: string): number[] {
  return text
    .split(/[\s,]+/)
    .filter((part) => part !== '')
    .map(parseNumber);
}

/** Returns the input of a command: its token ids, or else its text. The text "-" stands for stdin. */
export async function readInput(text: string | undefined, tokens?: number[]): Promise<Input> {
  if (tokens) return tokens;
  if (text !== '-') return text ?? '';
  let all = '';
  process.stdin.setEncoding('utf8');
  try {
    for await (const chunk of process.stdin) all += chunk;
  } catch (error) {
    throw fileError('stdin', error as NodeJS.ErrnoException);
  }
  return all;
}
