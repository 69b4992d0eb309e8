import { convert } from '../convert.js';
import type { WeightType } from '../gguf/tensor-types.js';
import type { Command, Option } from './commander.js';
import {
  type AdapterFlag,
  adapterOption,
  headCountOption,
  offlineOption,
  parseNumber,
} from './model-options.js';
import { withoutControls, withProgressBar } from './terminal.js';

export interface ConversionFlags {
  type?: WeightType;
  threads?: number;
  headCount?: number;
  adapter?: AdapterFlag[];
  offline?: boolean;
  json?: boolean;
}

/** Adds the target and the options of commands that write a GGUF file. */
export function addConversionOptions(command: Command, typeOption: Option): Command {
  return command
    .argument('<target>', 'the GGUF file to write')
    .addOption(typeOption)
    .option(
      '--threads <count>',
      'threads that encode the weights (default: the physical cores)',
      parseNumber,
    )
    .addOption(headCountOption())
    .addOption(adapterOption())
    .addOption(offlineOption())
    .option('--json', 'print JSON on stdout');
}

/** Converts as `convert` does, with a progress bar on a terminal. Writes notes to stderr and returns the seconds. */
export async function runConversion(
  source: string,
  target: string,
  { type, threads, headCount, adapter: adapters, offline }: ConversionFlags,
): Promise<number> {
  const start = performance.now();
  const notes: string[] = []; // printed after the progress bar
  const logger = (line: string) => notes.push(line);
  await withProgressBar((onProgress) =>
    convert(source, target, { type, threads, headCount, adapters, offline, onProgress, logger }),
  );
  for (const note of notes) process.stderr.write(withoutControls(`gpt2: ${note}\n`));
  return (performance.now() - start) / 1000;
}
