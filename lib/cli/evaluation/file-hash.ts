import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { fileBytes } from '../byte-lines.js';

export interface HashedFile {
  file: string;
  bytes: number;
  sha256: string;
}

/**
 * Reads files to hash them.
 *
 * @throws FILE_NOT_FOUND, FILE_UNREADABLE
 */
export async function hashFiles(
  paths: readonly string[],
  signal: AbortSignal,
): Promise<HashedFile[]> {
  const files: HashedFile[] = [];
  for (const path of paths) files.push(await hashFile(path, signal));
  return files;
}

async function hashFile(path: string, signal: AbortSignal): Promise<HashedFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of fileBytes(path, signal)) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { file: basename(path), bytes, sha256: hash.digest('hex') };
}
