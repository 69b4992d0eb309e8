import { addon } from '../native/addon.js';
import { callNative } from '../native/native-call.js';
import { Command } from './commander.js';
import { addConversionOptions, type ConversionFlags, runConversion } from './conversion.js';
import { modelForms, typeOption } from './model-options.js';
import { formatBytes } from './terminal.js';

export function quantizeCommand(): Command {
  const command = new Command('quantize')
    .description('Write a model with quantised weights, and report the type of each matrix.')
    .argument('<model>', modelForms);
  const type = typeOption('type of the weights').makeOptionMandatory();
  return addConversionOptions(command, type).action(run);
}

/** The matrices of one type. */
interface Share {
  type: string;
  byteSize: number;
  tensors: string[];
}

async function run(model: string, target: string, flags: ConversionFlags): Promise<void> {
  const seconds = await runConversion(model, target, flags);
  const { byteSize, tensors } = await callNative(undefined, () => addon().inspectGguf(target));
  const shares = new Map<string, Share>();
  for (const tensor of tensors.filter(({ shape }) => shape.length > 1)) {
    const share = shares.get(tensor.type) ?? { type: tensor.type, byteSize: 0, tensors: [] };
    share.byteSize += tensor.byteSize;
    share.tensors.push(tensor.name);
    shares.set(tensor.type, share);
  }
  const matrices = [...shares.values()].sort((a, b) => b.byteSize - a.byteSize);
  if (flags.json) {
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
