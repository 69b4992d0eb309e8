import { Gpt2Error } from '../errors.js';
import type { WeightType } from '../gguf/tensor-types.js';
import { downloadModel } from '../hub/hub-model.js';
import { isOfflineByDefault } from '../hub/hub-settings.js';
import { expectModelName } from '../hub/model-name.js';
import { Command } from './commander.js';
import { typeOption } from './model-options.js';
import { withProgressBar } from './terminal.js';

interface Flags {
  type?: WeightType;
  json?: boolean;
}

export function pullCommand(): Command {
  return new Command('pull')
    .description('Download the newest version of a model from the Hugging Face hub into the cache.')
    .argument(
      '<name>',
      'gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2, or owner/name[@revision]',
    )
    .addOption(typeOption('of several GGUF files, download the one with this type in its name'))
    .option('--json', 'print JSON on stdout')
    .action(run);
}

async function run(text: string, { type, json }: Flags): Promise<void> {
  const name = expectModelName(text);
  if (isOfflineByDefault()) {
    throw new Gpt2Error(
      'INVALID_ARGUMENT',
      'Expected the variable HF_HUB_OFFLINE not to be set for a pull',
    );
  }
  const { path } = await withProgressBar((onProgress) => downloadModel(name, { type, onProgress }));
  process.stdout.write(json ? `${JSON.stringify({ path })}\n` : `${path}\n`);
}
