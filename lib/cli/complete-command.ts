import { basename } from 'node:path';
import { Gpt2Error } from '../errors.js';
import type { Model } from '../model.js';
import { Command } from './commander.js';
import { drawScreen } from './complete-screen.js';
import { Completion } from './completion.js';
import { Draft } from './draft.js';
import { FullScreen } from './full-screen.js';
import { readKeys } from './key-presses.js';
import { addModelOptions, type ModelFlags, openModel } from './model-options.js';
import { withoutControls } from './terminal.js';

export function completeCommand(): Command {
  const command = new Command('complete')
    .summary('Write a text on a screen that shows the likeliest next tokens.')
    .description(
      `Write a text on a screen that shows the likeliest next tokens beside it, with their probabilities.

Special tokens such as <|endoftext|> are recognised in the text. It is printed at the end.`,
    )
    .argument('[text]', 'the beginning of the text (default: none)')
    .addHelpText(
      'after',
      `
Keys:
  up, down                choose a token
  Enter, Tab, right       take the chosen token
  Ctrl-Z, left            undo the last step: a token, a word, a paste or a deletion
  Backspace               delete the last character
  Ctrl-J                  begin a new line
  Esc, Ctrl-C, Ctrl-D     leave`,
    );
  return addModelOptions(command).action(run);
}

async function run(text: string | undefined, flags: ModelFlags): Promise<void> {
  checkTerminal();
  await using model = await openModel(flags);
  const draft = new Draft(model.tokenizer, text ?? '');
  draft.tokens(); // throws TOKENIZER_MISSING
  try {
    await edit(model, basename(flags.model ?? 'bundled model'), draft);
  } finally {
    const written = draft.text + Buffer.from(draft.unfinished).toString();
    if (written !== '') process.stdout.write(withoutControls(`${written}\n`));
  }
}

function checkTerminal(): void {
  const missing = (['stdin', 'stdout'] as const).filter((name) => !process[name].isTTY);
  const received =
    missing.length > 0
      ? `${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} not one`
      : process.env.TERM === 'dumb'
        ? 'TERM is "dumb"'
        : undefined;
  if (received === undefined) return;
  throw new Gpt2Error(
    'INVALID_ARGUMENT',
    `Expected a terminal with a cursor on stdin and stdout, but ${received}. "gpt2 generate" writes to files and pipes.`,
  );
}

/** Shows the screen until the user leaves. */
async function edit(model: Model, modelName: string, draft: Draft): Promise<void> {
  const { stdin, stdout } = process;
  const hasColours = stdout.hasColors();
  let leave = () => {};
  let fail: (error: unknown) => void = () => {};
  const left = new Promise<void>((resolve, reject) => {
    leave = resolve;
    fail = reject;
  });
  using session = model.createSession();
  using screen = new FullScreen(stdin, stdout, (size) =>
    drawScreen(completion.view, size, hasColours),
  );
  const onChange = () => screen.redraw();
  const completion = new Completion({
    model,
    session,
    draft,
    modelName,
    onChange,
    onFailure: fail,
  });
  using _keys = readKeys(stdin, (press) => {
    if (press.kind === 'leave') leave();
    else completion.press(press);
  });
  await left;
}
