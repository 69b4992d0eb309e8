// npm run release [-- --skip-checks]: makes build-release/ with all that a release publishes: the package with the addons
// of every platform, SHA256SUMS, an SBOM (CycloneDX) and the notices. Publishes nothing; .github/workflows/release.yml does.
//
// --skip-checks leaves out the tests, for a workflow that has run them.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './build-engine.mjs';
import { npm } from './npm.mjs';
import { pack } from './pack.mjs';
import { addonPath, platforms } from './prebuild/platforms.mjs';
import { ggmlRelease } from './vendor-ggml.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'build-release');
const read = (file) => readFileSync(join(root, file), 'utf8');
const runNpm = (...args) => run(...npm, ...args);
const outputOf = (program, ...args) =>
  execFileSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });

function expectEqual(what, expected, received) {
  if (expected !== received)
    throw new Error(`${what}: expected ${expected} but received ${received}`);
}

/** The version, if it is the same everywhere and the changes name its date. */
function checkVersion() {
  const { version } = JSON.parse(read('package.json'));
  const lock = JSON.parse(read('package-lock.json'));
  expectEqual('package-lock.json', version, lock.version);
  expectEqual("package-lock.json's root package", version, lock.packages[''].version);
  for (const file of ['examples/compress/package.json', 'examples/electron/package.json']) {
    const { dependencies } = JSON.parse(read(file));
    expectEqual(file, `^${version}`, dependencies['gpt2-native']);
  }
  const [, newest, date] = /^## (\S+) \((.*)\)$/m.exec(read('CHANGELOG.md')) ?? [];
  expectEqual('the newest version in CHANGELOG.md', version, newest);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(date)) {
    throw new Error(`CHANGELOG.md: expected the date of ${version} but received "${date}"`);
  }
  expectEqual(
    'changes that are not committed',
    '',
    outputOf('git', 'status', '--porcelain').trim(),
  );
  return version;
}

/** The packages whose code is in this one, as dist/NOTICES.md lists them, and ggml. */
function sbom(version) {
  const all = JSON.parse(outputOf(...npm, 'sbom', '--sbom-format', 'cyclonedx'));
  const bundled = [...read('dist/NOTICES.md').matchAll(/^## (\S+) (\S+)$/gm)].map(
    ([, name, own]) => `${name}@${own}`,
  );
  const components = all.components.filter(({ 'bom-ref': reference }) =>
    bundled.includes(reference),
  );
  expectEqual('components of the SBOM', bundled.length, components.length);
  const { name, tree } = ggmlRelease;
  components.push({
    type: 'library',
    'bom-ref': name,
    name: 'ggml',
    version: name.split('@')[1],
    purl: `pkg:github/ggml-org/${name}`,
    licenses: [{ license: { id: 'MIT' } }],
    properties: [{ name: 'git:tree', value: tree }],
  });
  const reference = all.metadata.component['bom-ref'];
  const dependencies = [
    { ref: reference, dependsOn: components.map((component) => component['bom-ref']) },
    ...components.map((component) => ({ ref: component['bom-ref'], dependsOn: [] })),
  ];
  expectEqual('the version in the SBOM', version, all.metadata.component.version);
  return { ...all, components, dependencies };
}

const version = checkVersion();
runNpm('ci', '--no-audit', '--no-fund');
runNpm('audit');
if (!process.argv.includes('--skip-checks')) {
  runNpm('run', 'typecheck');
  runNpm('run', 'lint');
  runNpm('test');
}
runNpm('run', 'prebuilds');
for (const [name, platform] of Object.entries(platforms)) {
  const file = join(root, addonPath(platform));
  if (!existsSync(file)) throw new Error(`Expected the addon of ${name} at ${file}`);
}
runNpm('run', 'test:package');

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
pack(folder);
writeFileSync(join(folder, 'sbom.cdx.json'), `${JSON.stringify(sbom(version), null, 2)}\n`);
copyFileSync(join(root, 'dist', 'NOTICES.md'), join(folder, 'NOTICES.md'));
const sums = readdirSync(folder).map((file) => {
  const hash = createHash('sha256')
    .update(readFileSync(join(folder, file)))
    .digest('hex');
  return `${hash}  ${file}\n`;
});
writeFileSync(join(folder, 'SHA256SUMS'), sums.join(''));
console.log(`gpt2-native ${version}: ${folder}`);
