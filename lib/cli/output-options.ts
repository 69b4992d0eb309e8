// The file to which a command appends the results of many inputs.

import { Gpt2Error } from '../errors.js';
import { type Command, Option } from './commander.js';
import { withoutControls } from './terminal.js';

export interface OutputFlags {
  output?: string;
  resume?: boolean;
  overwrite?: boolean;
}

export function addOutputOptions(
  command: Command,
  description = 'write the results to a file, which must be new or empty (default: stdout)',
): Command {
  return command
    .option('-o, --output <file>', description)
    .option(
      '--resume',
      'keep the results that an interrupted run has written to the file, and go on after them',
    )
    .addOption(new Option('--overwrite', 'replace the contents of the file').conflicts('resume'));
}

/** @throws INVALID_ARGUMENT (an option needs --output) */
export function checkOutputFlags({ output, resume, overwrite }: OutputFlags): void {
  if (output !== undefined || !(resume || overwrite)) return;
  const name = resume ? '--resume' : '--overwrite';
  throw new Gpt2Error('INVALID_ARGUMENT', `Expected --output with ${name}`);
}

/** Writes to stderr how to go on after a run that stopped early. */
export function noteStop(done: number, { output, overwrite }: OutputFlags): void {
  const results = `${done} ${done === 1 ? 'result' : 'results'}`;
  note(
    output === undefined
      ? `stopped after ${results}; a run with --output can be resumed`
      : `stopped after ${results} in ${output}; the same command with --resume${overwrite ? ' instead of --overwrite' : ''} goes on after them`,
  );
}

/** Writes a line to stderr. */
export function note(text: string): void {
  process.stderr.write(withoutControls(`gpt2: ${text}\n`));
}
