import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { addonPath, platforms } from '../../scripts/prebuild/platforms.mjs';
import { check, installation, isRight, node, ownAddon, programs, tool } from './context.mjs';

const load = async (...path) => await import(pathToFileURL(tool(...path)).href);

/** Programs that a bundler has made. */
export async function testBundlers() {
  const folder = installation('bundlers', programs);
  const entry = join(folder, 'program.cjs');
  const module = join(folder, 'program.mjs');
  const works = (what, ...file) => check(what, isRight(node(folder, join(folder, ...file))));

  const esbuild = await load('esbuild', 'lib', 'main.js');
  const common = { bundle: true, platform: 'node', logLevel: 'error', absWorkingDir: folder };
  for (const format of ['cjs', 'esm']) {
    const outfile = join(folder, 'esbuild', format === 'cjs' ? 'out.cjs' : 'out.mjs');
    const entryPoints = [format === 'cjs' ? entry : module];
    await esbuild.build({ ...common, entryPoints, outfile, format, external: ['gpt2-native'] });
    works(`esbuild, external, ${format}`, 'esbuild', format === 'cjs' ? 'out.cjs' : 'out.mjs');
  }

  // The copied addon; the bundled model is not found, so the program opens it by its path.
  addStandIns(join(folder, 'node_modules', 'gpt2-native'));
  const copied = join(folder, 'copied');
  const model = join(folder, 'node_modules', 'gpt2-native', 'models', 'gpt2-books.gguf');
  const loader = { '.node': 'copy' };
  await esbuild.build({ ...common, entryPoints: [entry], outdir: copied, format: 'cjs', loader });
  const text = readFileSync(join(copied, 'program.js'), 'utf8');
  writeFileSync(
    join(copied, 'out.cjs'),
    text.replace('loadModel()', `loadModel(${JSON.stringify(model)})`),
  );
  works('esbuild, the addon copied', 'copied', 'out.cjs');

  const { default: webpack } = await load('webpack', 'lib', 'index.js');
  await new Promise((resolve, reject) => {
    const output = { path: join(folder, 'webpack'), filename: 'out.cjs' };
    const externals = { 'gpt2-native': 'commonjs gpt2-native' };
    const settings = {
      mode: 'production',
      target: 'node',
      entry,
      output,
      externals,
      context: folder,
    };
    webpack(settings, (error, stats) => {
      if (error || stats.hasErrors()) reject(error ?? new Error(stats.toString('errors-only')));
      else resolve();
    });
  });
  works('webpack, external', 'webpack', 'out.cjs');

  const { rollup } = await load('rollup', 'dist', 'es', 'rollup.js');
  const bundle = await rollup({ input: module, external: ['gpt2-native'] });
  await bundle.write({ file: join(folder, 'rollup', 'out.mjs'), format: 'es' });
  works('Rollup, external', 'rollup', 'out.mjs');

  const vite = await load('vite', 'dist', 'node', 'index.js');
  const ssr = { ssr: module, outDir: join(folder, 'vite'), minify: false };
  await vite.build({ root: folder, configFile: false, logLevel: 'error', build: ssr });
  works('Vite, SSR', 'vite', 'program.mjs');
}

/** Adds the addons of platforms that were not built, which bundlers expect: copies of this platform's. */
function addStandIns(installed) {
  for (const platform of Object.values(platforms)) {
    const file = join(installed, addonPath(platform));
    mkdirSync(dirname(file), { recursive: true });
    if (!existsSync(file)) copyFileSync(ownAddon, file);
  }
}
