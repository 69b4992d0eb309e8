import { invalidArgument } from '../arguments.js';
import { defaultCacheFolder } from '../cache-folder.js';
import { removeAllLeftovers, removeCachedModel } from '../hub/cached-models.js';
import { expectModelName, showModelName } from '../hub/model-name.js';
import { Command } from './commander.js';
import { formatBytes } from './terminal.js';

export function rmCommand(): Command {
  return new Command('rm')
    .summary('Remove a model of the hub from the cache, and leftovers.')
    .description(
      `Remove a model of the hub from the cache, with the conversions made from it.

The leftovers of killed processes are removed too. Without a name, only they are removed.`,
    )
    .argument('[name]', 'as for pull; without @revision all versions are removed')
    .option('--cache-dir <folder>', 'the folder of the conversions')
    .option('--json', 'print the number of freed bytes as JSON on stdout')
    .action(run);
}

async function run(
  text: string | undefined,
  { cacheDir, json }: { cacheDir?: string; json?: boolean },
): Promise<void> {
  const conversionFolder = cacheDir ?? defaultCacheFolder();
  const lines: string[] = [];
  let freed = 0;
  if (text !== undefined) {
    const name = expectModelName(text);
    if (name.file !== undefined)
      throw invalidArgument('a repository, which is removed whole', text);
    freed = await removeCachedModel(name, { isOneRevision: text.includes('@'), conversionFolder });
    lines.push(`${showModelName(name)}: removed, ${formatBytes(freed)} freed`);
  }
  const leftBehind = await removeAllLeftovers(conversionFolder);
  if (leftBehind > 0 || text === undefined) {
    lines.push(`left behind by killed processes: removed, ${formatBytes(leftBehind)} freed`);
  }
  process.stdout.write(
    json ? `${JSON.stringify({ freed: freed + leftBehind })}\n` : `${lines.join('\n')}\n`,
  );
}
