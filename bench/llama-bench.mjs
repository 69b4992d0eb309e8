// llama.cpp's own benchmark as a contestant. It evaluates prompts and decodes at a depth, and reports tokens per
// second.

import { execFileSync } from 'node:child_process';

/** The figure of one row; null if llama-bench does not support the task. */
export function measureWithLlamaBench(program, { task, options, busy }, { file, threads }) {
  const what = {
    prompt: ({ tokens }) => ['-p', tokens, '-n', 0],
    decode: ({ after, count }) => ['-p', 0, '-n', count, '-d', after],
  }[task];
  if (!what || busy) return null;
  const args = ['-m', file, '-t', threads, '-ngl', 0, '-r', 3, '-o', 'json', ...what(options)];
  const output = execFileSync(program, args.map(String), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(output)[0].avg_ts;
}
