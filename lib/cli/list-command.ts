import { basename } from 'node:path';
import { defaultCacheFolder } from '../cache-folder.js';
import { type CachedModel, listCachedModels, listLeftovers } from '../hub/cached-models.js';
import { hubCacheFolder } from '../hub/hub-settings.js';
import { Command } from './commander.js';
import { formatBytes } from './terminal.js';

export function listCommand(): Command {
  return new Command('list')
    .summary('Print the models of the hub in the cache, their conversions, and leftovers.')
    .description(
      `Print the models of the hub in the cache and the conversions made from them.

The leftovers of killed processes are printed after them (with --json, on stderr).`,
    )
    .option('--cache-dir <folder>', 'the folder of the conversions')
    .option('--json', 'print the models as JSON on stdout')
    .action(run);
}

async function run({ cacheDir, json }: { cacheDir?: string; json?: boolean }): Promise<void> {
  const conversionFolder = cacheDir ?? defaultCacheFolder();
  const models = await listCachedModels(conversionFolder);
  if (json) process.stdout.write(`${JSON.stringify(models)}\n`);
  else if (models.length === 0) process.stderr.write(`gpt2: no GPT-2 in ${hubCacheFolder()}\n`);
  else for (const model of models) process.stdout.write(`${linesOf(model).join('\n')}\n`);

  const leftovers = await listLeftovers(conversionFolder);
  if (leftovers.length === 0) return;
  const lines = [
    'left behind by killed processes (removed by "gpt2 rm"):',
    ...leftovers.map(({ path, byteSize }) => `  ${path}  ${formatBytes(byteSize)}`),
  ];
  (json ? process.stderr : process.stdout).write(`${lines.join('\n')}\n`);
}

function linesOf(model: CachedModel): string[] {
  const { repository, commit, revisions, byteSize, hasWeights, conversions } = model;
  const details = [revisions.join(', '), commit.slice(0, 12), formatBytes(byteSize)];
  if (!hasWeights) details.push('without its weights: the download was interrupted');
  return [
    `${repository}  ${details.filter((part) => part !== '').join('  ')}`,
    ...conversions.map(({ path, byteSize: bytes }) => `  ${basename(path)}  ${formatBytes(bytes)}`),
  ];
}
