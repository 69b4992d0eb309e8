import { stat } from 'node:fs/promises';
import { Command } from './commander.js';
import { addConversionOptions, type ConversionFlags, runConversion } from './conversion.js';
import { modelForms, typeOption } from './model-options.js';
import { formatBytes } from './terminal.js';

export function convertCommand(): Command {
  const command = new Command('convert')
    .description('Convert a checkpoint to a GGUF file.')
    .argument('<checkpoint>', modelForms);
  return addConversionOptions(command, typeOption()).action(run);
}

async function run(checkpoint: string, target: string, flags: ConversionFlags): Promise<void> {
  const seconds = await runConversion(checkpoint, target, flags);
  const { size } = await stat(target);
  process.stdout.write(
    flags.json
      ? `${JSON.stringify({ path: target, byteSize: size, seconds })}\n`
      : `${target}: ${formatBytes(size)} in ${seconds.toFixed(1)} s\n`,
  );
}
