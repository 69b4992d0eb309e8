import { spawn } from 'node:child_process';
import { join } from 'node:path';

/** The package's entry points, for child processes. */
export const packageEntry = join(__dirname, '..', 'dist', 'index.js');
export const packageModule = join(__dirname, '..', 'dist', 'index.mjs');

export interface ProcessResult {
  exitCode: number | null;
  /** The signal that killed it, for example 'SIGSEGV'. */
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/**
 * Runs a CommonJS script in a child process, with top-level `await`, the package as `gpt2` and the arguments as
 * `args`.
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

/** Runs Node with these arguments. Environment variables that are undefined are removed. */
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
    child.stdin.on('error', () => {}); // the process may exit without reading its input
    child.stdin.end(input);
  });
}
