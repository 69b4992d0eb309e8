#!/usr/bin/env node
// The command gpt2. Results go to stdout, everything else to stderr.

import { Gpt2Error, isError } from '../errors.js';
import { writeError } from '../files.js';
import { version } from '../native/addon.js';
import { buildCommand } from './build-command.js';
import { Command, CommanderError } from './commander.js';
import { completeCommand } from './complete-command.js';
import { convertCommand } from './convert-command.js';
import { describeCommand } from './describe-command.js';
import { evalCommand } from './eval-command.js';
import { generateCommand } from './generate-command.js';
import { inspectCommand } from './inspect-command.js';
import { listCommand } from './list-command.js';
import { logitsCommand } from './logits-command.js';
import { pullCommand } from './pull-command.js';
import { quantizeCommand } from './quantize-command.js';
import { rmCommand } from './rm-command.js';
import { scoreCommand } from './score-command.js';
import { withoutControls } from './terminal.js';

const exitCodes = { success: 0, failure: 1, usage: 2 } as const;

const program = new Command('gpt2')
  .description('GPT-2: logits, text generation, conversion and quantisation of checkpoints.')
  .version(version)
  .addCommand(logitsCommand())
  .addCommand(generateCommand())
  .addCommand(scoreCommand())
  .addCommand(evalCommand())
  .addCommand(completeCommand())
  .addCommand(convertCommand())
  .addCommand(quantizeCommand())
  .addCommand(inspectCommand())
  .addCommand(describeCommand())
  .addCommand(pullCommand())
  .addCommand(listCommand())
  .addCommand(rmCommand())
  .addCommand(buildCommand())
  .addHelpText(
    'after',
    `
Exit codes:
  0  success
  1  the command failed; stderr has the reason and its code
  2  the command line is invalid

"gpt2 <command> --help" prints a command's options.`,
  );

for (const command of [program, ...program.commands]) {
  command.exitOverride().configureOutput({
    writeErr: (text) => process.stderr.write(text),
  });
}

async function main(): Promise<number> {
  // "gpt2 generate … | head -1" closes the pipe early, which is not a failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? exitCodes.success : report(writeError('stdout', error)));
  });
  process.stderr.on('error', () => {}); // there is nowhere else to report it
  process.on('uncaughtException', (error) => process.exit(report(error)));
  try {
    await program.parseAsync();
    return Number(process.exitCode ?? exitCodes.success); // set by a command of which a part failed
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitCodes.success : exitCodes.usage;
    }
    return report(error);
  }
}

/** Writes an error to stderr and returns the exit code. */
function report(error: unknown): number {
  const isOwn = error instanceof Gpt2Error;
  const text = isOwn
    ? `${error.message} [${error.code}]`
    : `an unexpected error, which is a fault of gpt2-native: ${isError(error) ? error.message : error} [INTERNAL]`;
  process.stderr.write(withoutControls(`gpt2: ${text}\n`));
  return isOwn && error.code === 'INVALID_ARGUMENT' ? exitCodes.usage : exitCodes.failure;
}

void main().then((exitCode) => {
  process.exitCode = exitCode;
});
