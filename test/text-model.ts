import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModel, type Model } from '../dist/index.js';
import { writeTextCheckpoint } from './checkpoint-folder.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

/** A tiny model of texts in a temporary folder, for the command and for the test itself. */
export interface TextModel {
  folder: string;
  /** Of commands that open the checkpoint. */
  environment: { GPT2_NATIVE_CACHE: string };
  checkpoint: string;
  open(): Promise<Model>;
  /** Writes a file into a folder of its own. */
  file(name: string, content: string | Buffer): string;
}

export function writeTextModel(): TextModel {
  const folder = temporaryFolder();
  const cacheDir = join(folder, 'cache');
  const checkpoint = writeTextCheckpoint(join(folder, 'text-model'));
  return {
    ...{ folder, checkpoint, environment: { GPT2_NATIVE_CACHE: cacheDir } },
    open: () => loadModel(checkpoint, { cacheDir, threads: 1 }),
    file(name, content) {
      const path = join(freshFolder(folder), name);
      writeFileSync(path, content);
      return path;
    },
  };
}
