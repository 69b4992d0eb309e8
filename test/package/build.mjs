import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { check, installation, isRight, node, programs, run } from './context.mjs';

/** Compiles the source in the package, and uses the result. Takes minutes. */
export function testBuild() {
  const folder = installation('build', programs);
  run(folder, join(folder, 'node_modules', '.bin', 'gpt2-native'), ['build']);
  const release = join(folder, 'node_modules', 'gpt2-native', 'build', 'Release');
  check('gpt2-native build', existsSync(join(release, 'gpt2_native.node')));
  check('the compiled addon works', isRight(node(folder, 'program.cjs')));
}
