import { emitKeypressEvents, type Key } from 'node:readline';
import type { ReadStream } from 'node:tty';

export type KeyPress =
  | { kind: 'character' | 'paste'; text: string }
  | { kind: 'up' | 'down' | 'take' | 'undo' | 'delete' | 'leave' };

/** Reads keys from a terminal in raw mode. Text that is pasted in brackets (xterm's mode 2004) arrives as a whole. */
export function readKeys(input: ReadStream, receive: (press: KeyPress) => void): Disposable {
  let pasted: string | undefined;
  const onKeypress = (character: string | undefined, key: Key) => {
    if (key.name === 'paste-start') {
      pasted = '';
    } else if (key.name === 'paste-end') {
      receive({ kind: 'paste', text: (pasted ?? '').replace(/\r\n?/g, '\n') });
      pasted = undefined;
    } else if (pasted !== undefined) {
      pasted += key.sequence ?? '';
    } else {
      const press = pressOf(character, key);
      if (press) receive(press);
    }
  };
  const onEnd = () => receive({ kind: 'leave' });
  emitKeypressEvents(input);
  input.on('keypress', onKeypress).on('end', onEnd).on('error', onEnd).resume();
  return {
    [Symbol.dispose]() {
      input.off('keypress', onKeypress).off('end', onEnd).off('error', onEnd).pause();
    },
  };
}

function pressOf(
  character: string | undefined,
  { name = '', ctrl, meta }: Key,
): KeyPress | undefined {
  if (ctrl) return withControl[name];
  // Alt with Escape is Escape pressed twice.
  if (meta) return name === 'escape' ? named[name] : undefined;
  if (named[name]) return named[name];
  return character !== undefined && !/\p{Cc}/u.test(character)
    ? { kind: 'character', text: character }
    : undefined;
}

const withControl: Record<string, KeyPress> = {
  c: { kind: 'leave' },
  d: { kind: 'leave' },
  z: { kind: 'undo' },
};

// Enter sends a carriage return, and Ctrl-J the line feed that readline calls "enter".
const named: Record<string, KeyPress> = {
  up: { kind: 'up' },
  down: { kind: 'down' },
  return: { kind: 'take' },
  tab: { kind: 'take' },
  right: { kind: 'take' },
  left: { kind: 'undo' },
  backspace: { kind: 'delete' },
  escape: { kind: 'leave' },
  enter: { kind: 'character', text: '\n' },
};
