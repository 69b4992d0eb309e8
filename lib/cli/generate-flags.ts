import type { GenerateOptions } from '../generation/generate-options.js';
import {
  type NumberSpec,
  type OptionName,
  type OptionSpec,
  optionTable,
  type TextsSpec,
} from '../generation/option-table.js';
import { type Command, InvalidArgumentError, Option } from './commander.js';
import { parseNumber, parseNumbers } from './model-options.js';

type Entry = [name: string, spec: OptionSpec];

// What commander calls an option is derived from its flag, which is the option's name in kebab case.
const entries = (Object.entries(optionTable) as Entry[]).filter(([, spec]) => !spec.isCode);

/** The headings of the help, by the first option under each. */
const headings: Partial<Record<OptionName, string>> = {
  maxTokens: 'Length and samples:',
  repetitionPenalty: 'Penalties and constraints, in the order in which they are applied:',
  temperature: 'Sampling, in the order in which the stages are applied:',
  stop: 'Stopping:',
  logprobs: 'Details of the results in JSON:',
};

/** Adds an option to the command for each of those of generate, from their table. */
export function addGenerateOptions(command: Command): Command {
  for (const [name, spec] of entries) {
    const heading = headings[name as OptionName];
    if (heading) command.optionsGroup(heading);
    if (spec.kind !== 'object') {
      command.addOption(optionOf(name, spec));
      continue;
    }
    for (const [index, [field, one]] of Object.entries(spec.fields).entries()) {
      const object = index === 0 ? `${phrase(spec.help)}; ${field}` : name;
      command.addOption(optionOf(nameOfField(name, field), one, `${object}: ${phrase(one.help)}`));
    }
  }
  return command;
}

/** The options of generate in the command's flags. */
export function generateOptionsOf(flags: Readonly<Record<string, unknown>>): GenerateOptions {
  const options: Record<string, unknown> = {};
  for (const [name, spec] of entries) {
    if (spec.kind !== 'object') {
      options[name] = flags[name];
      continue;
    }
    const fields = Object.keys(spec.fields)
      .map((field) => [field, flags[nameOfField(name, field)]] as const)
      .filter(([, value]) => value !== undefined);
    if (fields.length > 0) options[name] = Object.fromEntries(fields);
  }
  return options as GenerateOptions;
}

function nameOfField(name: string, field: string): string {
  return `${name}${field[0]?.toUpperCase()}${field.slice(1)}`;
}

function optionOf(name: string, spec: OptionSpec | NumberSpec | TextsSpec, help?: string): Option {
  const option = newOption(name, spec, help);
  option.negate = false; // --no-repeat-ngram-size does not negate --repeat-ngram-size
  return option;
}

function newOption(
  name: string,
  spec: OptionSpec | NumberSpec | TextsSpec,
  help = phrase(spec.help),
): Option {
  const flag = `${name === 'maxTokens' ? '-n, ' : ''}--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const text = help + defaultOf(spec);
  switch (spec.kind) {
    case 'integer':
    case 'number':
      return new Option(`${flag} <number>`, text).argParser(parseNumber);
    case 'choice':
      return new Option(`${flag} <name>`, text).choices(spec.choices);
    case 'tokens':
      return new Option(`${flag} <ids>`, text).argParser(parseNumbers);
    case 'samplers':
      return new Option(`${flag} <names>`, text).argParser((names) =>
        names.split(/[\s,]+/).filter((one) => one !== ''),
      );
    case 'texts':
    case 'words':
      return new Option(`${flag} <text>`, `${text}; repeatable`).argParser(
        (one, before: string[] = []) => [...before, one],
      );
    case 'biases':
      return new Option(`${flag} <key=number>`, `${text}; repeatable`).argParser(
        (one, before: Record<string, number> = {}) => ({ ...before, ...parseBias(one) }),
      );
    default:
      return new Option(flag, text);
  }
}

/** The first sentence of a help text, as part of a longer one. */
function phrase(help: string): string {
  const [sentence = help] = help.match(/^.*?(?=[.]( |$))/) ?? [];
  const isWord = /^[A-Z][a-z]/.test(sentence);
  return isWord ? `${sentence[0]?.toLowerCase()}${sentence.slice(1)}` : sentence;
}

/** The default of an option, or what its help says about it. */
function defaultOf(spec: OptionSpec | NumberSpec | TextsSpec): string {
  const isGiven = 'default' in spec && spec.default !== undefined;
  const text = isGiven
    ? JSON.stringify(spec.default)
    : /Default: (.*?)[.]( |$)/.exec(spec.help)?.[1];
  return text === undefined ? '' : ` (default: ${text})`;
}

/** Parses a token id or text with a number, as in `15=-5` or ` the=-Infinity`. */
function parseBias(text: string): Record<string, number> {
  const sign = text.lastIndexOf('=');
  if (sign < 1) {
    throw new InvalidArgumentError('Expected a token id or text, "=" and a number.');
  }
  return { [text.slice(0, sign)]: parseNumber(text.slice(sign + 1)) };
}
