import { stat } from 'node:fs/promises';
import { Command } from 'commander';
import { convert } from '../convert.js';
import type { WeightType } from '../gguf/tensor-types.js';
import {
  conversionThreadsOption,
  headCountOption,
  modelForms,
  offlineOption,
  typeOption,
} from './model-options.js';
import { formatBytes, withoutControls, withProgressBar } from './terminal.js';

interface Flags {
  type?: WeightType;
  threads?: number;
  headCount?: number;
  offline?: boolean;
  json?: boolean;
}

export function convertCommand(): Command {
  return new Command('convert')
    .description('Convert a checkpoint to a GGUF file.')
    .argument('<checkpoint>', modelForms)
    .argument('<target>', 'the GGUF file to write')
    .addOption(typeOption())
    .addOption(conversionThreadsOption())
    .addOption(headCountOption())
    .addOption(offlineOption())
    .option('--json', 'print JSON on stdout')
    .action(run);
}

async function run(
  checkpoint: string,
  target: string,
  { type, threads, headCount, offline, json }: Flags,
): Promise<void> {
  const start = performance.now();
  const notes: string[] = []; // printed after the progress bar
  const logger = (line: string) => notes.push(line);
  await withProgressBar((onProgress) =>
    convert(checkpoint, target, { type, threads, headCount, offline, onProgress, logger }),
  );
  for (const note of notes) process.stderr.write(withoutControls(`gpt2: ${note}\n`));
  const { size } = await stat(target);
  const seconds = (performance.now() - start) / 1000;
  process.stdout.write(
    json
      ? `${JSON.stringify({ path: target, byteSize: size, seconds })}\n`
      : `${target}: ${formatBytes(size)} in ${seconds.toFixed(1)} s\n`,
  );
}
