// Files that a killed process leaves behind: they are listed and removed, but those of a living process are kept.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { convert, createModel, loadModel } from '../dist/index.js';
import { fixtureFolder } from './golden.js';
import { packageEntry, runNode, runProcess } from './node-process.js';
import { writeRawSafetensors } from './safetensors-file.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const root = temporaryFolder();
const large = join(root, 'large');
const command = join(packageEntry, '..', 'cli', 'gpt2.js');
/** Large enough to kill the process during its creation: 150 MB. */
const config = {
  vocab_size: 40_000,
  context_length: 64,
  emb_dim: 768,
  n_heads: 12,
  n_layers: 1,
};
const small = { vocab_size: 64, context_length: 8, emb_dim: 8, n_heads: 1, n_layers: 1 };
let cacheDir: string;
let hubCache: string;

beforeAll(() => writeLargeCheckpoint(large));
beforeEach(() => {
  cacheDir = freshFolder(root);
  hubCache = freshFolder(root);
});

/** Writes a checkpoint whose conversion can be killed: 190 MB of zeros in a sparse file. */
function writeLargeCheckpoint(folder: string): void {
  const [vocabulary, context, width] = [50_000, 64, 768];
  mkdirSync(folder);
  const config = { n_embd: width, n_head: 12, n_layer: 1, n_positions: context };
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({ model_type: 'gpt2', vocab_size: vocabulary, ...config }),
  );
  const norm = (name: string) => ({ [`${name}.weight`]: [width], [`${name}.bias`]: [width] });
  const linear = (name: string, from: number, to: number) => ({
    [`${name}.weight`]: [from, to],
    [`${name}.bias`]: [to],
  });
  const shapes = {
    'wte.weight': [vocabulary, width],
    'wpe.weight': [context, width],
    ...norm('h.0.ln_1'),
    ...linear('h.0.attn.c_attn', width, 3 * width),
    ...linear('h.0.attn.c_proj', width, width),
    ...norm('h.0.ln_2'),
    ...linear('h.0.mlp.c_fc', width, 4 * width),
    ...linear('h.0.mlp.c_proj', 4 * width, width),
    ...norm('ln_f'),
  };
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const end = offset + 4 * shape.reduce((product, extent) => product * extent, 1);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, end] };
    offset = end;
  }
  const path = join(folder, 'model.safetensors');
  writeRawSafetensors(path, JSON.stringify(header), Buffer.alloc(0));
  truncateSync(path, statSync(path).size + offset);
}

const gpt2 = (...args: string[]) =>
  runProcess([command, ...args], {
    environment: { GPT2_NATIVE_CACHE: cacheDir, HF_HUB_CACHE: hubCache },
  });

/** Calls that each leave something in the folder `cacheDir` if the process is killed in `onProgress`. */
const calls: [string, string][] = [
  [
    'a conversion into the cache',
    'gpt2.loadModel(args.large, { cacheDir: args.cacheDir, onProgress })',
  ],
  ['createModel', 'gpt2.createModel(args.config, { cacheDir: args.cacheDir, onProgress })'],
];
const toTarget = `gpt2.convert(args.large, args.cacheDir + '/model.gguf', { onProgress })`;

const script = (call: string, signal: string) => `
  let isFirst = true;
  const onProgress = ({ stage, done }) => {
    if (stage !== 'convert' || done === 0 || !isFirst) return;
    isFirst = false;
    require('node:fs').writeSync(1, 'in the middle');
    process.kill(process.pid, '${signal}');
  };
  await ${call};`;

/** Runs a call in a process that is killed during it. */
async function kill(call: string): Promise<void> {
  const { stdout, signal } = await runNode(script(call, 'SIGKILL'), { large, config, cacheDir });
  expect({ stdout, signal }).toEqual({ stdout: 'in the middle', signal: 'SIGKILL' });
  expect(readdirSync(cacheDir)).not.toEqual([]);
}

/** Runs a call in a process that is stopped during it until it receives SIGCONT. */
async function stop(call: string): Promise<ChildProcess> {
  const source = `(async () => {
    const gpt2 = require(${JSON.stringify(packageEntry)});
    const args = ${JSON.stringify({ large, config, cacheDir })};
    ${script(call, 'SIGSTOP')}
  })();`;
  const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

describe.each(calls)('the leftover of killing %s', (name, call) => {
  test('is listed with its size and removed by gpt2 rm', async () => {
    await kill(call);
    const listed = await gpt2('list');
    expect(listed.exitCode).toBe(0);
    const path = name === 'createModel' ? /created-\w+/ : /large-own-\w+\.gguf\.\d+\.\d+\.tmp/;
    const line = new RegExp(`^  .*[\\\\/]${path.source}  [\\d.]+ [kMG]B$`, 'm');
    expect(listed.stdout).toMatch(/^left behind by killed processes/m);
    expect(listed.stdout).toMatch(line);

    const asJson = await gpt2('list', '--json');
    expect(asJson.stdout).toBe('[]\n');
    expect(asJson.stderr).toMatch(line);

    const removed = await gpt2('rm');
    expect(removed).toMatchObject({ exitCode: 0, stderr: '' });
    expect(removed.stdout).toMatch(/^left behind by killed processes: removed, .* [kMG]B freed$/m);
    expect(readdirSync(cacheDir)).toEqual([]);
    expect((await gpt2('list')).stdout).toBe('');
  });

  test('is removed by the next conversion into the cache', async () => {
    await kill(call);
    await using _ = await loadModel(fixtureFolder('wide'), { cacheDir, threads: 1 });
    expect(readdirSync(cacheDir)).toEqual([expect.stringMatching(/^wide-own-\w+\.gguf$/)]);
  });

  test('is removed by the next createModel', async () => {
    await kill(call);
    await using _ = await createModel(small, { cacheDir, threads: 1 });
    expect(readdirSync(cacheDir)).toEqual([]);
  });
});

test('the leftover of a killed convert() is removed by the next one to the same target', async () => {
  await kill(toTarget);
  const [leftover] = readdirSync(cacheDir);
  expect(leftover).toMatch(/^model\.gguf\.\d+\.\d+\.tmp$/);
  await convert(fixtureFolder('wide'), join(cacheDir, 'other.gguf'));
  expect(readdirSync(cacheDir)).toContain(leftover);
  await convert(fixtureFolder('wide'), join(cacheDir, 'model.gguf'));
  expect(readdirSync(cacheDir).sort()).toEqual(['model.gguf', 'other.gguf']);
});

test.each(['n'.repeat(255), '模'.repeat(85)])(
  'the leftover of convert() to a long name is removed: %s',
  async (name) => {
    await kill(toTarget.replaceAll('model.gguf', name));
    expect(readdirSync(cacheDir).length).toBe(1);
    await convert(fixtureFolder('wide'), join(cacheDir, name.slice(0, 40)));
    expect(readdirSync(cacheDir).length).toBe(2);
    await convert(fixtureFolder('wide'), join(cacheDir, name));
    expect(readdirSync(cacheDir).sort()).toEqual([...new Set([name.slice(0, 40), name])].sort());
  },
);

// Windows has no SIGSTOP.
describe.runIf(process.platform !== 'win32').each([...calls, ['convert()', toTarget]])(
  'a living process during %s',
  (_, call) => {
    test('keeps its files and finishes', async () => {
      const child = await stop(call as string);
      const own = readdirSync(cacheDir);
      try {
        expect(own).not.toEqual([]);
        expect(await gpt2('list')).toMatchObject({ stdout: '', exitCode: 0 });
        expect((await gpt2('rm')).stdout).toMatch(/removed, 0 B freed/);
        await (await createModel(small, { cacheDir, threads: 1 })).dispose();
        await (await loadModel(fixtureFolder('wide'), { cacheDir, threads: 1 })).dispose();
        expect(readdirSync(cacheDir)).toEqual(expect.arrayContaining(own));
      } finally {
        child.kill('SIGCONT');
      }
      const [exitCode] = await once(child, 'exit');
      expect(exitCode).toBe(0);
      expect(readdirSync(cacheDir).filter((name) => !name.endsWith('.gguf'))).toEqual([]);
    });
  },
);

test.runIf(process.platform !== 'win32')(
  'the leftover of a target with a line break in its name is removed',
  async () => {
    const target = join(cacheDir, 'two\nlines.gguf');
    writeFileSync(`${target}.123.456.tmp`, 'unfinished');
    await convert(fixtureFolder('odd-heads'), target);
    expect(readdirSync(cacheDir)).toEqual(['two\nlines.gguf']);
  },
);

test('a folder that createModel did not make is kept, whatever its name', async () => {
  const names = ['created-2024', 'created-photos', 'created-photos.lock'];
  for (const folder of ['created-2024', 'created-photos']) {
    mkdirSync(join(cacheDir, folder));
    writeFileSync(join(cacheDir, folder, 'mine'), 'mine');
  }
  writeFileSync(join(cacheDir, 'created-photos.lock'), 'mine'); // the lock files of createModel are empty
  expect((await gpt2('list')).stdout).toBe('');
  await gpt2('rm');
  await (await createModel(small, { cacheDir, threads: 1 })).dispose();
  expect(readdirSync(cacheDir).sort()).toEqual(names);
  for (const folder of ['created-2024', 'created-photos']) {
    expect(readdirSync(join(cacheDir, folder))).toEqual(['mine']);
  }
});

test('files with other names are kept', async () => {
  const names = ['notes.tmp', 'a.123.456.tmp', 'created-by-me', 'created.gguf', 'x.gguf.tmp'];
  for (const name of names) writeFileSync(join(cacheDir, name), 'mine');
  mkdirSync(join(cacheDir, 'created-by me'));
  await gpt2('rm');
  await (await createModel(small, { cacheDir, threads: 1 })).dispose();
  expect(readdirSync(cacheDir).sort()).toEqual([...names, 'created-by me'].sort());
});

describe.runIf(process.platform !== 'win32')('temporary files in the hub’s cache', () => {
  const twoDaysAgo = Date.now() / 1000 - 2 * 86_400;
  let dead: number;
  beforeAll(async () => {
    dead = Number((await runProcess(['-p', 'process.pid'])).stdout);
  });

  /** Creates the temporary file and link of a process that was killed while adding a file. */
  function leave(processId: number, time: number): string[] {
    const commit = 'a'.repeat(40);
    const snapshot = join(hubCache, 'models--some--model', 'snapshots', commit);
    const absences = join(hubCache, 'models--some--model', '.no_exist', commit);
    for (const folder of [snapshot, absences]) mkdirSync(folder, { recursive: true });
    const file = join(absences, `vocab.json.${processId}.k3x9.tmp`);
    writeFileSync(file, '');
    utimesSync(file, time, time);
    const link = join(snapshot, `config.json.${processId}.a7b2.tmp`);
    symlinkSync(join('..', '..', 'blobs', 'none'), link);
    lutimesSync(link, time, time);
    return [file, link];
  }

  test('are listed and removed if they are old and their process is dead', async () => {
    const left = leave(dead, twoDaysAgo);
    const { stdout } = await gpt2('list');
    for (const path of left) expect(stdout).toContain(path);
    await gpt2('rm');
    expect((await gpt2('list')).stdout).toBe('');
    for (const path of left) expect(readdirSync(join(path, '..'))).toEqual([]);
  });

  test('are kept if they are recent or their process is alive', async () => {
    const kept = [...leave(dead, Date.now() / 1000), ...leave(process.pid, twoDaysAgo)];
    expect((await gpt2('list')).stdout).toBe('');
    await gpt2('rm');
    const names = readdirSync(hubCache, { recursive: true, encoding: 'utf8' });
    expect(names.filter((name) => name.endsWith('.tmp'))).toHaveLength(kept.length);
  });
});

test('nothing counts as a leftover on a file system without locks', async () => {
  await kill(toTarget);
  const left = readdirSync(cacheDir);
  const { stdout } = await runNode(
    `const { addon } = require(args.addon);
     addon().lockFile = async () => () => {}; // like native/io/file_lock.cc on such a file system
     await gpt2.convert(args.folder, args.cacheDir + '/model.gguf');
     console.log('done');`,
    {
      addon: packageEntry.replace('index.js', 'native/addon.js'),
      folder: fixtureFolder('wide'),
      cacheDir,
    },
  );
  expect(stdout).toBe('done\n');
  expect(readdirSync(cacheDir)).toEqual(expect.arrayContaining(left));
});

test('concurrent cleanups remove no files in use', async () => {
  const { removeLeftovers } = await import('../dist/leftovers.js');
  let isOver = false;
  const cleaner = async () => {
    while (!isOver) expect(await removeLeftovers(cacheDir)).toEqual([]);
  };
  const cleaners = [cleaner(), cleaner()];
  const work = Array.from({ length: 20 }, async (_, i) => {
    await (await createModel(small, { cacheDir, threads: 1 })).dispose();
    const target = join(cacheDir, `${i}.gguf`);
    await convert(fixtureFolder('odd-heads'), target);
    return target;
  });
  const targets = await Promise.all(work);
  isOver = true;
  await Promise.all(cleaners);
  expect(readdirSync(cacheDir).sort()).toEqual(targets.map((path) => basename(path)).sort());
});

test('gpt2 list and gpt2 rm work without a cache folder', async () => {
  const absent = join(root, 'absent');
  const environment = { GPT2_NATIVE_CACHE: absent, HF_HUB_CACHE: absent };
  for (const call of ['list', 'rm']) {
    const { exitCode } = await runProcess([command, call], { environment });
    expect(exitCode).toBe(0);
  }
  expect(existsSync(absent)).toBe(false);
});
