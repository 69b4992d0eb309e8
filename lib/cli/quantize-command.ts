import { Command } from 'commander';
import { convert } from '../convert.js';
import type { WeightType } from '../gguf/tensor-types.js';
import { addon } from '../native/addon.js';
import { callNative } from '../native/native-call.js';
import {
  conversionThreadsOption,
  headCountOption,
  modelForms,
  offlineOption,
  typeOption,
} from './model-options.js';
import { formatBytes, withProgressBar } from './terminal.js';

interface Flags {
  type: WeightType;
  threads?: number;
  headCount?: number;
  offline?: boolean;
  json?: boolean;
}

export function quantizeCommand(): Command {
  return new Command('quantize')
    .description('Write a model with quantised weights, and report the type of each matrix.')
    .argument('<model>', modelForms)
    .argument('<target>', 'the GGUF file to write')
    .addOption(typeOption('type of the weights').makeOptionMandatory())
    .addOption(conversionThreadsOption())
    .addOption(headCountOption())
    .addOption(offlineOption())
    .option('--json', 'print JSON on stdout')
    .action(run);
}

/** The matrices of one type. */
interface Share {
  type: string;
  byteSize: number;
  tensors: string[];
}

async function run(
  model: string,
  target: string,
  { type, threads, headCount, offline, json }: Flags,
): Promise<void> {
  const start = performance.now();
  await withProgressBar((onProgress) =>
    convert(model, target, { type, threads, headCount, offline, onProgress }),
  );
  const seconds = (performance.now() - start) / 1000;
  const { byteSize, tensors } = await callNative(undefined, () => addon().inspectGguf(target));
  const shares = new Map<string, Share>();
  for (const tensor of tensors.filter(({ shape }) => shape.length > 1)) {
    const share = shares.get(tensor.type) ?? { type: tensor.type, byteSize: 0, tensors: [] };
    share.byteSize += tensor.byteSize;
    share.tensors.push(tensor.name);
    shares.set(tensor.type, share);
  }
  const matrices = [...shares.values()].sort((a, b) => b.byteSize - a.byteSize);
  if (json) {
    process.stdout.write(`${JSON.stringify({ path: target, byteSize, seconds, matrices })}\n`);
    return;
  }
  const lines = [
    `${target}: ${formatBytes(byteSize)} in ${seconds.toFixed(1)} s`,
    ...matrices.map(({ type: own, byteSize: bytes, tensors: names }) => {
      const listed = names.length > 3 ? `${names.length} matrices` : names.join(', ');
      return `  ${own.padEnd(6)}${formatBytes(bytes).padStart(8)}  ${listed}`;
    }),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}
