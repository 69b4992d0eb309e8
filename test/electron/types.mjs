import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tools = fileURLToPath(new URL('node_modules', import.meta.url));

/** Checks the example against the declarations of Electron, of this package and of its own messages. */
export function testTypes() {
  const folder = mkdtempSync(join(tmpdir(), 'gpt2-native-electron-'));
  try {
    cpSync(join(root, 'examples', 'electron'), folder, { recursive: true });
    mkdirSync(join(folder, 'node_modules'), { recursive: true });
    for (const name of ['electron', '@types']) {
      symlinkSync(join(tools, name), join(folder, 'node_modules', name));
    }
    symlinkSync(root, join(folder, 'node_modules', 'gpt2-native'));
    const tsc = join(tools, 'typescript', 'lib', 'tsc.js');
    execFileSync(process.execPath, [tsc, '-p', folder], { stdio: 'inherit' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log('ok   the types agree');
}
