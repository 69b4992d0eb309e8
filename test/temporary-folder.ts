import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** Creates a folder that is removed after the tests of the calling file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gpt2-native-test-'));
  // Processes that a test has killed may still be ending.
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** Creates an empty folder inside `parent`. */
export function freshFolder(parent: string): string {
  return mkdtempSync(join(parent, 'folder-'));
}
