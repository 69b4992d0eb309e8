import { check, installation, isRight, programs, run, tool } from './context.mjs';

const versions = ['20', '22', '24', '26'];

/** The README's program, and one that prints what it computed, in every runtime. */
export function testRuntimes() {
  const folder = installation('runtimes', programs);
  const runtimes = {
    ...Object.fromEntries(
      versions.map((version) => [`Node ${version}`, [tool(`node-${version}`, 'bin', 'node')]]),
    ),
    Bun: [tool('@oven', 'bun-linux-x64', 'bin', 'bun')],
    Deno: [tool('@deno', 'linux-x64-glibc', 'deno'), 'run', '-A', '--quiet'],
  };
  for (const [name, [program, ...args]] of Object.entries(runtimes)) {
    for (const kind of ['cjs', 'mjs']) {
      const text = run(folder, program, [...args, `readme.${kind}`]);
      const right = isRight(run(folder, program, [...args, `program.${kind}`]));
      check(`${name}, ${kind}`, right && text.length > 20);
    }
  }
}
