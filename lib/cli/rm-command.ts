import { Command } from 'commander';
import { defaultCacheFolder } from '../conversion-cache.js';
import { removeCachedModel } from '../hub/cached-models.js';
import { expectModelName, showModelName } from '../hub/model-name.js';
import { formatBytes } from './terminal.js';

export function rmCommand(): Command {
  return new Command('rm')
    .description('Remove a model of the hub from the cache, and what was converted from it.')
    .argument('<name>', 'as for pull; without @revision all versions are removed')
    .option('--cache-dir <folder>', 'where conversions are kept')
    .option('--json', 'print JSON on stdout')
    .action(run);
}

async function run(
  text: string,
  { cacheDir, json }: { cacheDir?: string; json?: boolean },
): Promise<void> {
  const name = expectModelName(text);
  const freed = await removeCachedModel(name, {
    isOneRevision: text.includes('@'),
    conversionFolder: cacheDir ?? defaultCacheFolder(),
  });
  process.stdout.write(
    json
      ? `${JSON.stringify({ freed })}\n`
      : `${showModelName(name)}: removed, ${formatBytes(freed)} freed\n`,
  );
}
