import { basename } from 'node:path';
import { Command } from 'commander';
import { defaultCacheFolder } from '../conversion-cache.js';
import { type CachedModel, listCachedModels } from '../hub/cached-models.js';
import { hubCacheFolder } from '../hub/hub-settings.js';
import { formatBytes } from './terminal.js';

export function listCommand(): Command {
  return new Command('list')
    .description(
      'Print the models of the hub that are in the cache, and what was converted from them.',
    )
    .option('--cache-dir <folder>', 'where conversions are kept')
    .option('--json', 'print JSON on stdout')
    .action(run);
}

async function run({ cacheDir, json }: { cacheDir?: string; json?: boolean }): Promise<void> {
  const models = await listCachedModels(cacheDir ?? defaultCacheFolder());
  if (json) {
    process.stdout.write(`${JSON.stringify(models)}\n`);
    return;
  }
  if (models.length === 0) process.stderr.write(`gpt2: no GPT-2 in ${hubCacheFolder()}\n`);
  for (const model of models) process.stdout.write(`${linesOf(model).join('\n')}\n`);
}

function linesOf(model: CachedModel): string[] {
  const { repository, commit, revisions, byteSize, hasWeights, conversions } = model;
  const what = [revisions.join(', '), commit.slice(0, 12), formatBytes(byteSize)];
  if (!hasWeights) what.push('without its weights, whose download was interrupted');
  return [
    `${repository}  ${what.filter((part) => part !== '').join('  ')}`,
    ...conversions.map(({ path, byteSize: bytes }) => `  ${basename(path)}  ${formatBytes(bytes)}`),
  ];
}
