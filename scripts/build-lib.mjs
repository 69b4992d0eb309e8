// Compiles lib/ to dist/, then bundles the dependencies into the three modules that re-export what is used of them, so that
// an installation consists of this package alone. Writes dist/NOTICES.md: the licences of the bundled packages and of what
// is compiled into the addon.

import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { run } from './build-engine.mjs';
import { vendorGgml } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

run(
  process.execPath,
  join(root, 'node_modules', 'typescript', 'lib', 'tsc.js'),
  '-p',
  'tsconfig.build.json',
);

// The style and the script of the page that gpt2 score --html writes.
cpSync(join(root, 'lib', 'cli', 'score-page'), join(dist, 'cli', 'score-page'), {
  recursive: true,
});

// @huggingface/hub hashes what it uploads with these, which we do not. They only define functions but do not say so.
const unusedHashes = {
  name: 'unused hashes',
  setup({ onResolve, resolve }) {
    onResolve(
      { filter: /^@huggingface\/(xetchunk-wasm|blake3-jit)$|^gearhash-jit$/ },
      async (found) => {
        if (found.pluginData) return undefined;
        const { path, ...options } = found;
        return { ...(await resolve(path, { ...options, pluginData: true })), sideEffects: false };
      },
    );
  },
};

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['lib/cli/commander.ts', 'lib/cli/string-width.ts', 'lib/hub/huggingface-hub.ts'],
  outbase: 'lib',
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  target: 'node20.17',
  format: 'cjs',
  plugins: [unusedHashes],
  metafile: true,
  logLevel: 'warning',
});

const used = Object.values(metafile.outputs)
  .flatMap(({ inputs }) => Object.entries(inputs))
  .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  .map(([file]) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]);
const inAddon = ['node_modules/node-addon-api', 'node_modules/node-api-headers'];
const notices = [...new Set([...used, ...inAddon])].filter(Boolean).sort().map(ofPackage);
const ggml = await vendorGgml();
notices.unshift(notice('ggml', ggml, join(ggml, '..'))); // in llama.cpp's checkout, one folder up
writeFileSync(
  join(dist, 'NOTICES.md'),
  `# Notices\n\nThis package contains parts of these.\n\n${notices.join('\n')}`,
);

function ofPackage(folder) {
  const path = join(root, folder);
  const { name, version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
  return notice(`${name} ${version}`, path);
}

function notice(name, ...folders) {
  const [file] = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((entry) => /^licen[cs]e(\.\w+)?$/i.test(entry))
      .map((entry) => join(folder, entry)),
  );
  if (!file) throw new Error(`Expected a licence in ${folders.join(' or ')}`);
  const text = readFileSync(file, 'utf8').trim();
  return `## ${name}\n\n\`\`\`text\n${text}\n\`\`\`\n`;
}
