import { check, installation, node, pack, programs, root, tool } from './context.mjs';

const resolutions = [
  { module: 'commonjs', moduleResolution: 'node10' },
  { module: 'node16', moduleResolution: 'node16' },
  { module: 'nodenext', moduleResolution: 'nodenext' },
  { module: 'esnext', moduleResolution: 'bundler' },
];

/** The README's program as TypeScript, with each way of finding modules; and the linters of packages. */
export function testTypes() {
  const example = programs['readme.mjs'].replace(/^(.*import.*)$/m, '$1\nexport {};');
  const inFunction = example.replace(/^const model/m, 'async function main() {\nconst model');
  const folder = installation('types', {
    'use.ts': `import { gpt2Tokenizer, type Tokenizer } from 'gpt2-native/tokenizer';
      export const tokenizer: Tokenizer = gpt2Tokenizer;
      ${inFunction}}\nvoid main();\n`,
  });
  for (const resolution of resolutions) {
    for (const lib of [['es2022'], ['es2022', 'esnext.disposable']]) {
      const flags = { ...resolution, lib: lib.join(), target: 'es2022', types: 'node' };
      node(
        folder,
        tool('typescript', 'lib', 'tsc.js'),
        ...['use.ts', '--strict', '--noEmit', '--typeRoots', tool('@types')],
        ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]),
      );
      check(`TypeScript, ${resolution.moduleResolution}, ${lib.join(' and ')}`, true);
    }
  }
  node(root, tool('publint', 'src', 'cli.js'), pack().tarball, '--strict');
  check('publint', true);
  node(root, tool('@arethetypeswrong', 'cli', 'dist', 'index.js'), pack().tarball);
  check('are the types wrong', true);
}
