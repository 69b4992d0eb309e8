// Puts the unmodified source of a pinned release of ggml into native/ggml.
//
// npm has no package of ggml, but node-llama-cpp contains the source of its llama.cpp release as a git bundle. The npm
// client fetches that tarball, so the user's registry, proxy and cache settings apply. The tarball is checked against
// its integrity hash, and the `ggml/` tree in it against its git id. node-llama-cpp is not installed.
//
// With GGML_SOURCE_DIR=<folder>, that folder is used instead (see docs/building.md).

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';

const release = {
  package: 'node-llama-cpp@3.22.1',
  integrity:
    'sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==',
  bundle: 'package/llama/gitRelease.bundle',
  tree: '4a1fc5de35bd6af12f303c0701ea0bc7ec1e1c77', // the git id of ggml/ in llama.cpp v0.5.0: ggml 0.25.1
};

/** Returns the folder of ggml's CMakeLists.txt. Fetches and unpacks ggml first if necessary. */
export async function vendorGgml(
  target = fileURLToPath(new URL('../native/ggml', import.meta.url)),
) {
  if (process.env.GGML_SOURCE_DIR) {
    const own = resolve(process.env.GGML_SOURCE_DIR);
    await access(join(own, 'CMakeLists.txt')).catch(() => {
      throw new Error(`Expected a CMakeLists.txt in GGML_SOURCE_DIR, which is ${own}`);
    });
    return own;
  }
  const marker = join(target, '.vendored-tree');
  if ((await readFile(marker, 'utf8').catch(() => '')) === release.tree) return target;

  const scratch = await mkdtemp(join(tmpdir(), 'gpt2-native-ggml-'));
  try {
    const tarball = await fetchTarball(scratch);
    await checkIntegrity(tarball);
    await unpackTree(tarball, scratch, target);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return target;
}

async function fetchTarball(scratch) {
  console.error(`vendor: fetching ${release.package} for the ggml source in it (36 MB) …`);
  // npm sets npm_execpath when it runs a script. Starting npm through it needs no shell on Windows.
  const [npm, ...first] = process.env.npm_execpath?.endsWith('.js')
    ? [process.execPath, process.env.npm_execpath]
    : ['npm'];
  run(npm, [...first, 'pack', release.package, '--silent', '--pack-destination', scratch]);
  const [name] = (await readdir(scratch)).filter((file) => file.endsWith('.tgz'));
  if (!name) throw new Error(`npm pack ${release.package} left no tarball`);
  return join(scratch, name);
}

async function checkIntegrity(tarball) {
  const hash = createHash('sha512');
  await pipeline(createReadStream(tarball), hash);
  const integrity = `sha512-${hash.digest('base64')}`;
  if (integrity !== release.integrity) {
    throw new Error(`${release.package}: expected ${release.integrity} but received ${integrity}`);
  }
}

async function unpackTree(tarball, scratch, target) {
  run('tar', ['-xzf', tarball, '-C', scratch, release.bundle]);
  const repository = join(scratch, 'llama.git');
  const git = (...args) => run('git', ['-C', repository, '-c', 'core.autocrlf=false', ...args]);
  run('git', ['init', '--quiet', '--bare', repository]);
  git('fetch', '--quiet', join(scratch, ...release.bundle.split('/')), 'HEAD');

  const tree = git('rev-parse', 'FETCH_HEAD:ggml').trim();
  if (tree !== release.tree) {
    throw new Error(`ggml's tree: expected ${release.tree} but received ${tree}`);
  }

  // Unpacked beside the target and renamed, so that an interrupted run leaves nothing that looks complete.
  const unpacked = `${target}.${process.pid}.tmp`;
  await mkdir(unpacked, { recursive: true });
  try {
    git('read-tree', tree);
    git(`--work-tree=${unpacked}`, 'checkout-index', '--all', '--quiet');
    await writeFile(join(unpacked, 'LICENSE'), git('show', 'FETCH_HEAD:LICENSE'));
    await writeFile(join(unpacked, '.vendored-tree'), release.tree);
    await rm(target, { recursive: true, force: true });
    await rename(unpacked, target);
  } finally {
    await rm(unpacked, { recursive: true, force: true });
  }
}

function run(program, args) {
  // Git hooks set variables that point git at the surrounding repository.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_')),
  );
  try {
    return execFileSync(program, args, {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 1 << 26,
    });
  } catch (error) {
    if (error.code === 'ENOENT')
      throw new Error(`vendor: the program "${program}" is needed but was not found`);
    throw new Error(`vendor: ${program} ${args.join(' ')} failed`, {
      cause: error,
    });
  }
}

/** What is compiled into the addon. */
export const ggmlRelease = { name: 'ggml@0.25.1', tree: release.tree };

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.error(`vendor: ggml is in ${await vendorGgml()}`);
}
