import { cpus } from 'node:os';
import { addon, version } from '../native/addon.js';
import { callNative } from '../native/native-call.js';
import type { GgufDescription, SystemDescription } from '../native/types.js';
import { Command } from './commander.js';
import {
  findFile,
  headCountOption,
  modelForms,
  noteDefaultModel,
  offlineOption,
} from './model-options.js';
import { formatBytes, withoutControls } from './terminal.js';

export function inspectCommand(): Command {
  return new Command('inspect')
    .description('Print the contents of a model file: metadata, tensors, types, sizes.')
    .argument(
      '[model]',
      `${modelForms}; checkpoints are converted first (default: the small model that comes with the package)`,
    )
    .addOption(headCountOption())
    .addOption(offlineOption())
    .option('--system', 'print what was found on this machine instead, for reports of faults')
    .option('--json', 'print JSON on stdout')
    .action(run);
}

interface Flags {
  headCount?: number;
  offline?: boolean;
  system?: boolean;
  json?: boolean;
}

async function run(model: string | undefined, flags: Flags): Promise<void> {
  const { headCount, offline, json } = flags;
  if (flags.system) {
    const system = describeSystem();
    process.stdout.write(json ? `${JSON.stringify(system)}\n` : systemText(system));
    return;
  }
  const path = await findFile(model, { headCount, offline });
  const description = await callNative(undefined, () => addon().inspectGguf(path));
  if (model === undefined) noteDefaultModel();
  process.stdout.write(
    json ? `${JSON.stringify(toJson(description))}\n` : toText(path, description),
  );
}

interface System extends SystemDescription {
  version: string;
  node: string;
  platform: string;
  processor: string;
}

function describeSystem(): System {
  return {
    version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    processor: cpus()[0]?.model.trim() || 'unknown',
    ...addon().describeSystem(),
  };
}

function systemText({ kernels, threads, devices, ...names }: System): string {
  const lines = Object.entries(names).map(([name, value]) => [name, value]);
  lines.push(['cores', `${threads} for this process`], ['devices', devices.join(', ')]);
  for (const [index, { level, missing, isChosen }] of kernels.entries()) {
    const can = isChosen ? 'chosen' : 'possible';
    const state = missing === '' ? can : `the processor lacks ${missing}`;
    lines.push([index === 0 ? 'kernels' : '', `${level.padEnd(12)}${state}`]);
  }
  const forced = process.env.GPT2_NATIVE_KERNELS;
  if (forced !== undefined) lines.push(['', `GPT2_NATIVE_KERNELS is ${forced}`]);
  return withoutControls(lines.map(([name = '', text]) => `${name.padEnd(11)}${text}\n`).join(''));
}

function toJson({ metadata, ...rest }: GgufDescription): object {
  return { ...rest, metadata: Object.fromEntries(metadata) };
}

function toText(
  file: string,
  { version, byteSize, parts, metadata, tensors }: GgufDescription,
): string {
  const split = parts.length > 1 ? ` in ${parts.length} files` : '';
  const lines = [`${file}: GGUF version ${version}, ${formatBytes(byteSize)}${split}`, ''];
  const keyWidth = Math.max(0, ...metadata.map(([key]) => key.length));
  for (const [key, value] of metadata) {
    lines.push(`${key.padEnd(keyWidth)}  ${valueText(value)}`);
  }
  lines.push('');
  const nameWidth = Math.max(0, ...tensors.map(({ name }) => name.length));
  for (const { name, type, shape, byteSize: bytes } of tensors) {
    const size = formatBytes(bytes);
    lines.push(
      `${name.padEnd(nameWidth)}  ${type.padEnd(5)}  ${size.padStart(7)}  ${shape.join(' × ')}`,
    );
  }
  const parameters = tensors.reduce(
    (sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1),
    0,
  );
  lines.push('', `${tensors.length} tensors, ${parameters.toLocaleString('en')} numbers`);
  return withoutControls(`${lines.join('\n')}\n`);
}

function valueText(value: GgufDescription['metadata'][number][1]): string {
  if (typeof value !== 'object')
    return typeof value === 'number' ? String(Number(value.toPrecision(7))) : String(value);
  return value.strings?.join(' ') ?? `[${value.length} elements]`;
}
