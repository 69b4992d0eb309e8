import { spawn } from 'node:child_process';
import { join } from 'node:path';

/** The package as another process would load it. */
export const packageEntry = join(__dirname, '..', 'dist', 'index.js');
export const packageModule = join(__dirname, '..', 'dist', 'index.mjs');

export interface ProcessResult {
  exitCode: number | null;
  /** what killed it: 'SIGSEGV', for example */
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs a CommonJS script in a Node process of its own; `await` may stand at its top. It finds the package
 * as `gpt2` and the arguments as `args`.
 */
export function runNode(
  script: string,
  args: unknown = {},
  environment: NodeJS.ProcessEnv = {},
): Promise<ProcessResult> {
  const source = `(async () => {
    const gpt2 = require(${JSON.stringify(packageEntry)});
    const args = ${JSON.stringify(args)};
    ${script}
  })();`;
  return runProcess(['-e', source], { environment });
}

/** Runs Node with these arguments. A variable of the environment that is undefined is left out. */
export function runProcess(
  args: readonly string[],
  { environment = {}, input = '' }: { environment?: NodeJS.ProcessEnv; input?: string } = {},
): Promise<ProcessResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env: { ...process.env, ...environment } });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (exitCode, signal) => resolve({ exitCode, signal, stdout, stderr }));
    child.stdin.on('error', () => {}); // a process that is gone needs no input
    child.stdin.end(input);
  });
}
