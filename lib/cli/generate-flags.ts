import type { GenerateOptions } from '../generation/generate-options.js';
import { type NumberSpec, type OptionSpec, optionTable } from '../generation/option-table.js';
import { type Command, InvalidArgumentError, Option } from './commander.js';
import { parseNumber, parseNumbers } from './model-options.js';

type Entry = [name: string, spec: OptionSpec];

// What commander calls an option is derived from its flag, which is the option's name in kebab case.
const entries = (Object.entries(optionTable) as Entry[]).filter(([, spec]) => !spec.isCode);

/** Adds an option to the command for each of those of generate, from their table. */
export function addGenerateOptions(command: Command): Command {
  for (const [name, spec] of entries) {
    if (spec.kind !== 'object') {
      command.addOption(optionOf(name, spec));
      continue;
    }
    for (const [field, one] of Object.entries(spec.fields)) {
      command.addOption(optionOf(nameOfField(name, field), one, `${name}: ${one.help}`));
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

function optionOf(name: string, spec: OptionSpec | NumberSpec, help = spec.help): Option {
  const flag = `${name === 'maxTokens' ? '-n, ' : ''}--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const text = descriptionOf(spec, help);
  switch (spec.kind) {
    case 'integer':
    case 'number':
      return new Option(`${flag} <number>`, text).argParser(parseNumber);
    case 'choice':
      return new Option(`${flag} <name>`, text).choices(spec.choices);
    case 'tokens':
      return new Option(`${flag} <ids>`, text).argParser(parseNumbers);
    case 'samplers':
      return new Option(`${flag} <names>`, text).argParser((names) => names.split(','));
    case 'texts':
    case 'words':
      return new Option(`${flag} <text>`, `${text} Repeatable.`).argParser(
        (one, before: string[] = []) => [...before, one],
      );
    case 'biases':
      return new Option(`${flag} <key=number>`, `${text} Repeatable.`).argParser(
        (one, before: Record<string, number> = {}) => ({ ...before, ...parseBias(one) }),
      );
    default:
      return new Option(flag, text);
  }
}

/** The first sentence of the help, and the default. */
function descriptionOf(spec: OptionSpec | NumberSpec, help: string): string {
  const [sentence = help] = help.match(/^.*?[.](?= |$)/) ?? [];
  const hasDefault = 'default' in spec && spec.default !== undefined;
  return hasDefault ? `${sentence} Default: ${JSON.stringify(spec.default)}.` : sentence;
}

/** Parses a token id or text with a number, as in `15=-5` or ` the=-Infinity`. */
function parseBias(text: string): Record<string, number> {
  const sign = text.lastIndexOf('=');
  if (sign < 1) {
    throw new InvalidArgumentError('Expected a token id or text, "=" and a number.');
  }
  return { [text.slice(0, sign)]: parseNumber(text.slice(sign + 1)) };
}
