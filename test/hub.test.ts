// Models by name, from a stand-in for the hub that cuts connections, stalls, sends wrong bytes and refuses requests.

import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { convert, type LoadOptions, type LoadProgress, loadModel } from '../dist/index.js';
import { splitWeights, writeSmallCheckpoint, writeTextCheckpoint } from './checkpoint-folder.js';
import { failure } from './failure.js';
import { readGguf } from './gguf-reader.js';
import { HubStandIn, type Misbehaviour } from './hub-stand-in.js';
import { type ProcessResult, runNode, runProcess } from './node-process.js';
import { readSafetensors } from './safetensors-file.js';
import { splitGguf } from './split-gguf.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';
import { tensorflowName, writeTensorflow } from './tensorflow-file.js';

const folder = temporaryFolder();
const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
let checkpoint: string; // 1.6 MB of weights
let small: string; // a few kilobytes
let hub: HubStandIn;
let unreachable: string; // the URL of a stopped server
let cache: string;
let conversions: string;

beforeAll(async () => {
  checkpoint = writeTextCheckpoint(join(folder, 'text'));
  small = writeSmallCheckpoint(join(folder, 'small'));
  hub = await HubStandIn.start();
  const gone = await HubStandIn.start();
  unreachable = gone.url;
  gone.stop();
});
afterAll(() => hub.stop());

beforeEach(() => {
  cache = freshFolder(folder);
  conversions = freshFolder(folder);
  hub.requests.length = 0;
  vi.stubEnv('HF_ENDPOINT', hub.url);
  vi.stubEnv('HF_HUB_CACHE', cache);
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('HF_HUB_OFFLINE', '');
  vi.stubEnv('GPT2_NATIVE_CACHE', conversions);
});
afterEach(() => {
  hub.misbehave = () => undefined;
  vi.unstubAllEnvs();
});

const repositoryFolder = (name: string) => join(cache, `models--${name.replace('/', '--')}`);
const blobs = (name: string) => {
  const path = join(repositoryFolder(name), 'blobs');
  return existsSync(path) ? readdirSync(path).sort() : [];
};
const incomplete = (name: string) => blobs(name).filter((blob) => blob.endsWith('.incomplete'));

async function logitsOf(source: string, options: LoadOptions = {}): Promise<number[]> {
  const model = await loadModel(source, { cacheDir: conversions, ...options });
  const { data } = await model.logits([1, 2, 0]);
  await model.dispose();
  return [...data];
}

const weights = 'model.safetensors';
/** Applies these behaviours, in order, to the requests for the weights' bytes. */
function onWeights(...behaviours: Misbehaviour[]) {
  hub.misbehave = ({ kind, file }) =>
    kind === 'content' && file === weights ? behaviours.shift() : undefined;
}

describe('a model by name', () => {
  test('gives the same logits as its folder and is downloaded once', async () => {
    const commit = hub.push('some/model', checkpoint);
    const progress: LoadProgress[] = [];
    const logits = await logitsOf('some/model', { onProgress: (step) => progress.push(step) });
    expect(logits).toEqual(await logitsOf(checkpoint));
    const requestCount = hub.requests.length;
    expect(await logitsOf('some/model')).toEqual(logits);
    expect(await logitsOf('some/model@main', { offline: true })).toEqual(logits);
    expect(await logitsOf(`some/model@${commit}`, { offline: true })).toEqual(logits);
    expect(hub.requests).toHaveLength(requestCount);

    const downloads = progress.filter(({ stage }) => stage === 'download');
    const total = readdirSync(checkpoint).reduce(
      (sum, name) => sum + statSync(join(checkpoint, name)).size,
      0,
    );
    expect(downloads.length).toBeGreaterThan(4);
    expect(new Set(downloads.map((step) => step.total))).toEqual(new Set([total]));
    expect(downloads.at(-1)).toEqual({ stage: 'download', done: total, total });
    const counts = downloads.map(({ done }) => done);
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
  });

  test('may name one of several files with weights', async () => {
    const bytes = readFileSync(join(small, weights));
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 2) ^ 0x20, bytes.length - 2); // in the last weight
    const files = {
      'first.safetensors': readFileSync(join(small, weights)),
      'other.safetensors': bytes,
    };
    const commit = hub.push('some/several', small, { files });
    const folderOfOther = writeSmallCheckpoint(join(freshFolder(folder), 'other'));
    writeFileSync(join(folderOfOther, weights), bytes);
    const expected = await logitsOf(folderOfOther);
    expect(expected).not.toEqual(await logitsOf(small));
    expect(await logitsOf('some/several/other.safetensors')).toEqual(expected);
    expect(await logitsOf(`some/several/other.safetensors@${commit}`, { offline: true })).toEqual(
      expected,
    );
    expect(await logitsOf('some/several/first.safetensors')).toEqual(await logitsOf(small));
    await failure('MODEL_NOT_FOUND', () => loadModel('some/several/missing.pth'));
    const removed = await runProcess([command, 'rm', 'some/several/other.safetensors']);
    expect(removed).toMatchObject({ exitCode: 2 });
  });

  test('is downloaded with its generation_config.json', async () => {
    const files = { 'generation_config.json': '{"eos_token_id": [4, 2]}' };
    hub.push('some/chat', small, { files });
    const path = join(conversions, 'chat.gguf');
    await convert('some/chat', path);
    expect(hub.fetches('generation_config.json')).toHaveLength(1);
    expect(readGguf(path).metadata.get('gpt2_native.end_of_text_ids')).toEqual([4, 2]);
  });

  // https://huggingface.co/docs/hub/local-cache
  test('is stored in the cache in the layout that other programs expect', async () => {
    const commit = hub.push('lay/out', checkpoint);
    await logitsOf('lay/out');
    const at = repositoryFolder('lay/out');
    expect(readFileSync(join(at, 'refs', 'main'), 'utf8')).toBe(commit);
    const snapshot = join(at, 'snapshots', commit);
    expect(readdirSync(snapshot).sort()).toEqual(readdirSync(checkpoint).sort());
    for (const name of readdirSync(checkpoint)) {
      expect(readlinkSync(join(snapshot, name))).toMatch(/^..\/..\/blobs\/[0-9a-f]{40,64}$/);
      const [cached, own] = [snapshot, checkpoint].map((at) => readFileSync(join(at, name)));
      expect(cached?.equals(own as Buffer)).toBe(true);
    }
    expect(lstatSync(join(at, 'blobs')).isDirectory()).toBe(true);
    expect(blobs('lay/out')).toHaveLength(readdirSync(checkpoint).length);
    expect(readdirSync(join(at, '.no_exist', commit))).toContain('tokenizer.json');
  });

  test('that another program downloaded is used and completed', async () => {
    const commit = hub.push('some/other', checkpoint);
    const at = repositoryFolder('some/other');
    mkdirSync(join(at, 'snapshots', commit), { recursive: true });
    mkdirSync(join(at, 'refs'));
    writeFileSync(join(at, 'refs', 'main'), `${commit}\n`);
    for (const name of ['config.json', weights]) {
      writeFileSync(join(at, 'snapshots', commit, name), readFileSync(join(checkpoint, name)));
    }
    expect(await logitsOf('some/other', { offline: true })).toEqual(await logitsOf(checkpoint));
    expect(hub.requests).toEqual([]);
    const model = await loadModel('some/other', { cacheDir: conversions });
    expect(model.tokenizer.encode('Hello')).toEqual(Uint32Array.of(15496));
    await model.dispose();
  });

  test('that another program downloaded is used if the hub cannot complete it', async () => {
    const commit = hub.push('openai-community/gpt2', small);
    // The folder name that transformers' from_pretrained('gpt2') uses.
    for (const name of ['gpt2', 'some/lonely']) {
      const at = repositoryFolder(name);
      mkdirSync(join(at, 'snapshots', commit), { recursive: true });
      mkdirSync(join(at, 'refs'));
      writeFileSync(join(at, 'refs', 'main'), commit);
      for (const file of ['config.json', weights]) {
        writeFileSync(join(at, 'snapshots', commit, file), readFileSync(join(small, file)));
      }
    }
    expect(await logitsOf('gpt2')).toEqual(await logitsOf(small));
    expect(hub.requests).toEqual([]);
    hub.misbehave = () => ({ status: 404 });
    expect(await logitsOf('some/lonely')).toEqual(await logitsOf(small));
    const pulled = await runProcess([command, 'list', '--json']);
    expect(
      JSON.parse(pulled.stdout).map((model: { repository: string }) => model.repository),
    ).toEqual(['gpt2', 'some/lonely']);
    expect((await runProcess([command, 'rm', 'gpt2'])).exitCode).toBe(0);
    expect(existsSync(repositoryFolder('gpt2'))).toBe(false);
  });

  test.each([
    ['gpt2', 'openai-community/gpt2'],
    ['gpt2-medium', 'openai-community/gpt2-medium'],
    ['gpt2-large', 'openai-community/gpt2-large'],
    ['gpt2-xl', 'openai-community/gpt2-xl'],
    ['distilgpt2', 'distilbert/distilgpt2'],
  ])('%s means %s', async (short, full) => {
    const commit = hub.push(full, small);
    const logits = await logitsOf(short);
    expect(logits).toEqual(await logitsOf(small));
    expect(existsSync(join(repositoryFolder(full), 'snapshots', commit))).toBe(true);
  });

  test('is not looked up if a file or folder exists at that path', async () => {
    const here = freshFolder(folder);
    writeSmallCheckpoint(join(here, 'gpt2'));
    const script = `
      const model = await gpt2.loadModel('gpt2');
      console.log(model.config.vocabSize);`;
    const cwd = process.cwd();
    process.chdir(here);
    try {
      expect((await runNode(script)).stdout).toBe('5\n');
    } finally {
      process.chdir(cwd);
    }
    expect(hub.requests).toEqual([]);
  });

  test.each([
    'nothing-here',
    './some/model',
    '/some/model',
    'a/b/c',
    '../model',
    'a/b@',
    'a/b@..',
    'some/model.gguf',
    'some/model.safetensors',
    'a--b/c',
    'a/b@c@d',
    'a/b@/c',
    'a b/c',
    '@main',
  ])('%s is not parsed as a name', async (source) => {
    const { message } = await failure('FILE_NOT_FOUND', () => loadModel(source));
    expect(message).toMatch(/Expected the path .* but there is nothing at/);
    expect(hub.requests).toEqual([]);
  });

  test('may be given a branch, a ref or a commit', async () => {
    const old = hub.push('many/versions', small);
    const other = writeTextCheckpoint(join(freshFolder(folder), 'model'));
    hub.push('many/versions', other, { revision: 'refs/pr/1' });
    expect(await logitsOf('many/versions@refs/pr/1')).toEqual(await logitsOf(other));
    expect(await logitsOf('many/versions')).toEqual(await logitsOf(small));
    expect(await logitsOf(`many/versions@${old}`, { offline: true })).toEqual(
      await logitsOf(small),
    );
  });

  test('is converted into a file that carries its name', async () => {
    const commit = hub.push('to/convert', small);
    await logitsOf('to/convert', { type: 'f16' });
    expect(readdirSync(conversions)).toEqual([
      expect.stringMatching(`^to--convert@${commit.slice(0, 12)}-f16-[0-9a-f]{16}\\.gguf$`),
    ]);
    const target = join(freshFolder(folder), 'out.gguf');
    await convert('to/convert', target, { offline: true });
    expect(await logitsOf(target)).toEqual(await logitsOf(small));
  });

  test('is downloaded in the shards that its index lists', async () => {
    const shards = splitWeights(writeTextCheckpoint(join(freshFolder(folder), 'shards')));
    hub.push('some/shards', shards);
    expect(await logitsOf('some/shards')).toEqual(await logitsOf(shards));
    const requestCount = hub.requests.length;
    await logitsOf('some/shards');
    expect(hub.requests).toHaveLength(requestCount);
  });

  test('is the GGUF file whose name contains the type', async () => {
    const [one, two] = [join(folder, 'one.gguf'), join(folder, 'two.gguf')];
    await convert(small, one);
    await convert(small, two, { type: 'f16' });
    hub.push('only/one', undefined, { files: { 'x.gguf': readFileSync(one), 'README.md': 'x' } });
    expect(await logitsOf('only/one')).toEqual(await logitsOf(one));

    const files = { 'x.F32.gguf': readFileSync(one), 'x-F16.gguf': readFileSync(two) };
    hub.push('two/files', undefined, { files });
    expect(await logitsOf('two/files', { type: 'f16' })).toEqual(await logitsOf(two));
    expect(hub.fetches('x.F32.gguf')).toEqual([]);
    const { message } = await failure('INVALID_ARGUMENT', () =>
      loadModel('two/files', { type: 'q4_0' }),
    );
    expect(message).toMatch('x-F16.gguf');
    expect(await logitsOf('two/files')).toEqual(await logitsOf(two)); // the one in the cache
    const three = join(folder, 'three.gguf');
    await convert(small, three, { type: 'bf16' });
    const more = { ...files, 'x-BF16.gguf': readFileSync(three), 'imatrix.bin': 'no model' };
    hub.push('three/files', undefined, { files: more });
    for (const type of ['f16', 'f32', 'bf16'] as const) await logitsOf('three/files', { type });
    expect(hub.fetches('x-BF16.gguf')).toHaveLength(1);
    const target = join(freshFolder(folder), 'out.gguf');
    await convert('three/files', target, { type: 'f16' });
    expect(await logitsOf(target)).toEqual(await logitsOf(two));
  });
});

test('a partially downloaded model is never used as a complete one', async () => {
  const whole = join(folder, 'interrupted.gguf');
  await convert(small, whole);
  const parts = splitGguf(whole, freshFolder(folder), 2);
  const files = Object.fromEntries(parts.map((path) => [basename(path), readFileSync(path)]));
  const commit = hub.push('half/split', undefined, { files });
  hub.misbehave = ({ file }) =>
    file === basename(parts[1] as string) ? { status: 404 } : undefined;
  await failure('MODEL_NOT_FOUND', () => logitsOf(`half/split@${commit}`));
  await failure('MODEL_NOT_FOUND', () => logitsOf(`half/split@${commit}`, { offline: true }));
  hub.misbehave = () => undefined;
  expect(await logitsOf(`half/split@${commit}`)).toEqual(await logitsOf(whole));

  const tensorflow = freshFolder(folder);
  writeTensorflow(
    join(tensorflow, 'model.ckpt'),
    new Map(
      [...readSafetensors(join(small, weights))].map(([name, tensor]) => [
        tensorflowName(name),
        tensor,
      ]),
    ),
  );
  const hparams = { n_vocab: 5, n_ctx: 8, n_embd: 8, n_head: 2, n_layer: 1 };
  writeFileSync(join(tensorflow, 'hparams.json'), JSON.stringify(hparams));
  const other = hub.push('half/tensorflow', tensorflow);
  hub.misbehave = ({ file }) => (file?.includes('.index') ? { status: 404 } : undefined);
  await failure('MODEL_NOT_FOUND', () => logitsOf(`half/tensorflow@${other}`));
  hub.misbehave = () => undefined;
  expect(await logitsOf(`half/tensorflow@${other}`)).toEqual(await logitsOf(tensorflow));
});

test('all parts of a split GGUF file are downloaded', async () => {
  const whole = join(folder, 'whole.gguf');
  await convert(small, whole);
  const parts = splitGguf(whole, freshFolder(folder), 3);
  const files = Object.fromEntries(parts.map((path) => [basename(path), readFileSync(path)]));
  hub.push('in/parts', undefined, { files: { ...files, 'other-Q4_0.gguf': '' } });
  const logits = await logitsOf(whole);
  await failure('INVALID_ARGUMENT', () => logitsOf('in/parts'));
  hub.push('in/parts', undefined, { files });
  expect(await logitsOf('in/parts')).toEqual(logits);
  expect(await logitsOf('in/parts', { offline: true })).toEqual(logits);
});

describe('a connection that', () => {
  test('is cut is reopened and the download resumed', async () => {
    hub.push('cut/often', checkpoint);
    onWeights({ cutAfter: 500_000 }, { cutAfter: 0 }, { cutAfter: 700_000 });
    expect(await logitsOf('cut/often')).toEqual(await logitsOf(checkpoint));
    const starts = hub.fetches(weights).map(({ range }) => Number(/\d+/.exec(range ?? '0')));
    expect(starts).toHaveLength(4);
    expect(starts[0]).toBe(0);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBe(starts[1]);
    expect(starts[3]).toBeGreaterThan(starts[2] as number);
    expect(incomplete('cut/often')).toEqual([]);
  });

  test('is cut repeatedly is given up, and the next call resumes the download', async () => {
    hub.push('cut/always', checkpoint);
    let count = 0;
    hub.misbehave = ({ kind }) =>
      kind === 'content' ? { cutAfter: count++ === 0 ? 400_000 : 0 } : undefined;
    const { message } = await failure('HUB_UNAVAILABLE', () => logitsOf('cut/always'));
    expect(message).toMatch(weights);
    expect(count).toBe(5);
    expect(incomplete('cut/always')).toHaveLength(1);
    expect(existsSync(join(repositoryFolder('cut/always'), 'refs'))).toBe(false);
    await failure('MODEL_NOT_FOUND', () => loadModel('cut/always', { offline: true }));

    hub.misbehave = () => undefined;
    hub.requests.length = 0;
    expect(await logitsOf('cut/always')).toEqual(await logitsOf(checkpoint));
    expect(hub.fetches(weights).map(({ range }) => range)).toEqual([
      expect.stringMatching(/^bytes=[1-9]\d*-$/),
    ]);
  });

  test('stalls is reopened', async () => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '2');
    hub.push('stalls/once', checkpoint);
    onWeights({ stallAfter: 300_000 });
    expect(await logitsOf('stalls/once')).toEqual(await logitsOf(checkpoint));
    expect(hub.fetches(weights).length).toBeGreaterThanOrEqual(2);
  });

  test('is refused is an error with the reason', async () => {
    vi.stubEnv('HF_ENDPOINT', unreachable);
    const { message } = await failure('HUB_UNAVAILABLE', () => loadModel('some/model'));
    expect(message).toMatch('ECONNREFUSED');
  });

  test('has an unknown host is an error that names it', async () => {
    vi.stubEnv('HF_ENDPOINT', 'http://no-such-host.invalid');
    const { message } = await failure('HUB_UNAVAILABLE', () => loadModel('some/model'));
    expect(message).toMatch('no-such-host.invalid');
  });

  test('cannot satisfy the range restarts the download', async () => {
    hub.push('no/ranges', checkpoint);
    onWeights({ cutAfter: 500_000 }, { status: 416 });
    expect(await logitsOf('no/ranges')).toEqual(await logitsOf(checkpoint));
    expect(hub.fetches(weights).map(({ range }) => range)).toEqual([
      undefined,
      expect.stringMatching(/^bytes=[1-9]\d*-$/),
      undefined,
    ]);
  });

  test('ignores ranges restarts the download', async () => {
    hub.push('no/parts', checkpoint);
    onWeights({ cutAfter: 500_000 }, { wholeFile: true });
    expect(await logitsOf('no/parts')).toEqual(await logitsOf(checkpoint));
    expect(hub.fetches(weights).map(({ range }) => range)).toEqual([
      undefined,
      expect.stringMatching(/^bytes=[1-9]\d*-$/),
    ]);
  });
});

describe('wrong bytes', () => {
  const wrong = () => {
    const bytes = readFileSync(join(checkpoint, weights));
    bytes[100_000] = (bytes[100_000] as number) ^ 1;
    return { bytes };
  };

  test('are rejected and never get the final name', async () => {
    hub.push('wrong/bytes', checkpoint);
    hub.misbehave = ({ kind }) => (kind === 'content' ? wrong() : undefined);
    const { message } = await failure('CHECKSUM_MISMATCH', () => logitsOf('wrong/bytes'));
    expect(message).toMatch(weights);
    expect(blobs('wrong/bytes').filter((blob) => blob.length === 64)).toEqual([]);
    expect(readdirSync(conversions)).toEqual([]);
    hub.misbehave = () => undefined;
    expect(await logitsOf('wrong/bytes')).toEqual(await logitsOf(checkpoint));
  });

  test('of a small file are rejected too', async () => {
    hub.push('wrong/config', checkpoint);
    const bytes = Buffer.from(readFileSync(join(checkpoint, 'config.json'), 'utf8').toUpperCase());
    hub.misbehave = ({ file }) => (file === 'config.json' ? { bytes } : undefined);
    await failure('CHECKSUM_MISMATCH', () => logitsOf('wrong/config'));
  });

  test('are rejected as soon as there are too many', async () => {
    hub.push('too/many', checkpoint);
    const bytes = Buffer.alloc(50_000_000);
    // It stalls, so that only a client that stops early gets as far as the checksum.
    hub.misbehave = ({ kind }) =>
      kind === 'content' ? { bytes, stallAfter: 5_000_000 } : undefined;
    await failure('CHECKSUM_MISMATCH', () => logitsOf('too/many'));
    expect(hub.fetches(weights)).toHaveLength(1);
    const sizes = blobs('too/many').map(
      (blob) => statSync(join(repositoryFolder('too/many'), 'blobs', blob)).size,
    );
    expect(sizes).toContain(0); // nothing of the weights is kept
    expect(Math.max(...sizes)).toBeLessThan(5_000_000);
  });

  test('that an earlier attempt left are downloaded again', async () => {
    hub.push('wrong/start', checkpoint);
    onWeights(...Array(5).fill({ cutAfter: 300_000 }));
    const stop = new AbortController();
    await loadModel('wrong/start', {
      signal: stop.signal,
      onProgress: ({ done }) => done > 1_500_000 && stop.abort(), // within the weights
    }).catch(() => {});
    const [name] = incomplete('wrong/start');
    const path = join(repositoryFolder('wrong/start'), 'blobs', name as string);
    writeFileSync(path, Buffer.alloc(statSync(path).size));
    hub.misbehave = () => undefined;
    hub.requests.length = 0;
    expect(await logitsOf('wrong/start')).toEqual(await logitsOf(checkpoint));
    expect(hub.fetches(weights).map(({ range }) => range)).toEqual([
      expect.stringMatching(/^bytes=[1-9]\d*-$/),
      undefined,
    ]);
    // Then a partial download that is longer than the file.
    writeFileSync(path, Buffer.alloc(3_000_000));
    truncateSync(path.replace('.incomplete', ''), 10);
    expect((await runProcess([command, 'pull', 'wrong/start'])).exitCode).toBe(0);
    expect(statSync(path.replace('.incomplete', '')).size).toBe(
      statSync(join(checkpoint, weights)).size,
    );
    expect(await logitsOf('wrong/start')).toEqual(await logitsOf(checkpoint));
  });
});

describe('the hub', () => {
  test.each([
    [401, {}, 'ACCESS_DENIED'],
    [401, { 'x-error-code': 'RepoNotFound' }, 'MODEL_NOT_FOUND'],
    [403, { 'x-error-code': 'GatedRepo', 'x-error-message': 'accept it' }, 'ACCESS_DENIED'],
    [404, {}, 'MODEL_NOT_FOUND'],
    [410, {}, 'HUB_UNAVAILABLE'],
    [429, { 'retry-after': '300' }, 'HUB_UNAVAILABLE'],
    [429, { ratelimit: '"api";r=0;t=299' }, 'HUB_UNAVAILABLE'],
  ] as const)('responds %i with %j', async (status, headers, code) => {
    hub.push('some/model', small);
    for (const kind of ['info', 'resolve'] as const) {
      hub.requests.length = 0;
      hub.misbehave = (request) => (request.kind === kind ? { status, headers } : undefined);
      const { message } = await failure(code, () => loadModel('some/model'));
      expect(message).toMatch(String(status));
      if ('x-error-message' in headers) expect(message).toMatch('accept it');
      expect(hub.requests.filter((request) => request.kind === kind)).toHaveLength(1);
    }
  });

  test.each([
    ['info', { status: 429, headers: { 'retry-after': '1' } }, 950],
    ['tree', { status: 429, headers: { ratelimit: '"api";r=0;t=1' } }, 950],
    ['tree', { status: 503, headers: { ratelimit: '"api";r=499;t=250' } }, 450],
    ['resolve', { status: 500, headers: { 'retry-after': 'soon' } }, 450],
    ['content', { status: 429, headers: { 'retry-after': new Date().toUTCString() } }, 450],
  ] as const)(
    'receives a %s request again after responding %j',
    async (kind, misbehaviour, least) => {
      hub.push('ask/again', checkpoint);
      let refused = 0;
      hub.misbehave = (request) =>
        request.kind === kind && refused++ === 0 ? misbehaviour : undefined;
      const start = performance.now();
      await logitsOf('ask/again');
      expect(performance.now() - start).toBeGreaterThan(least);
      expect(refused).toBeGreaterThan(1); // the refused request and its retry
    },
  );

  test('receives the token, but the file storage does not', async () => {
    hub.push('private/model', checkpoint);
    hub.misbehave = ({ kind, authorization }) =>
      kind !== 'content' && authorization !== 'Bearer secret' ? { status: 401 } : undefined;
    const { message } = await failure('ACCESS_DENIED', () => logitsOf('private/model'));
    expect(message).toMatch('HF_TOKEN is not set');
    vi.stubEnv('HF_TOKEN', 'secret');
    await logitsOf('private/model');
    const contents = hub.requests.filter(({ kind }) => kind === 'content');
    expect(contents.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  test('is not asked for the weights of another architecture', async () => {
    hub.push('some/llama', checkpoint, { files: { 'config.json': '{"model_type":"llama"}' } });
    await failure('UNSUPPORTED_MODEL', () => loadModel('some/llama'));
    expect(hub.fetches(weights)).toEqual([]);
  });

  test('may have no weights', async () => {
    hub.push('no/weights', undefined, { files: { 'README.md': 'nothing' } });
    const { message } = await failure('MODEL_NOT_FOUND', () => loadModel('no/weights'));
    expect(message).toMatch('model.safetensors');
    await failure('MODEL_NOT_FOUND', () => loadModel('no/weights@other'));
    await failure('MODEL_NOT_FOUND', () => loadModel('no/model'));
  });

  const entry = { type: 'file', oid: 'a'.repeat(40), size: 1, path: weights };
  test.each([
    ['info', 'nonsense'],
    ['info', '{}'],
    ['info', '{"sha":"../../../../etc"}'],
    ['tree', '{}'],
    ['tree', '[null]'],
    ['tree', JSON.stringify([{ ...entry, oid: '../../x' }])],
    ['tree', JSON.stringify([{ ...entry, size: -1 }])],
    ['tree', JSON.stringify([{ ...entry, size: 1e300 }])],
    ['tree', JSON.stringify([{ ...entry, lfs: { oid: 'x' } }])],
    ['tree', 'x'.repeat(11_000_000)],
  ] as const)('sends a malformed response to %s: %.40s', async (kind, text) => {
    hub.push('some/model', small);
    hub.misbehave = (request) => (request.kind === kind ? { text } : undefined);
    await failure('HUB_UNAVAILABLE', () => loadModel('some/model'));
    expect(readdirSync(cache)).toEqual([]);
  });

  test('lists paths outside the top level, which are ignored', async () => {
    const paths = ['../../escape.json', 'folder/model.safetensors', '..', 'a\\b'];
    const text = JSON.stringify(paths.map((path) => ({ ...entry, path })));
    hub.push('some/model', small);
    hub.misbehave = ({ kind }) => (kind === 'tree' ? { text } : undefined);
    await failure('MODEL_NOT_FOUND', () => loadModel('some/model'));
    expect(readdirSync(cache)).toEqual([]);
  });

  test('lists files without end', async () => {
    const entries = Array.from({ length: 1000 }, (_, i) => ({ ...entry, path: `${i}` }));
    const link = `<${hub.url}/api/models/some/model/tree/${'a'.repeat(40)}>; rel="next"`;
    hub.push('some/model', small);
    hub.misbehave = ({ kind }) =>
      kind === 'tree' ? { text: JSON.stringify(entries), headers: { link } } : undefined;
    await failure('HUB_UNAVAILABLE', () => loadModel('some/model'));
    expect(hub.requests.length).toBeLessThan(20);
  });

  test('returns empty pages without end', async () => {
    const link = `<${hub.url}/api/models/some/model/tree/${'a'.repeat(40)}>; rel="next"`;
    hub.push('some/model', small);
    hub.misbehave = ({ kind }) => (kind === 'tree' ? { text: '[]', headers: { link } } : undefined);
    await failure('HUB_UNAVAILABLE', () => loadModel('some/model'));
    expect(hub.requests.length).toBeLessThan(200);
  });

  test('lists unsafe file names, which are ignored', async () => {
    const names = [
      '\ud800.gguf',
      '\x1b[2Ja.gguf',
      'a\nb.gguf',
      'c:x.gguf',
      `${'n'.repeat(300)}.gguf`,
    ];
    const text = JSON.stringify(names.map((path) => ({ ...entry, path })));
    hub.push('some/model', small);
    hub.misbehave = ({ kind }) => (kind === 'tree' ? { text } : undefined);
    const { message } = await failure('MODEL_NOT_FOUND', () => loadModel('some/model'));
    expect(message).toMatch(/^[\x20-\x7e]+$/);
  });

  test('is not contacted by an offline pull', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const { exitCode, stderr } = await runProcess([command, 'pull', 'some/model']);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch('HF_HUB_OFFLINE');
    expect(hub.requests).toEqual([]);
  });

  test('is not contacted offline', async () => {
    hub.push('some/model', small);
    for (const [options, variable] of [
      [{ offline: true }, ''],
      [{}, '1'],
      [{}, 'true'],
    ] as const) {
      vi.stubEnv('HF_HUB_OFFLINE', variable);
      const { message } = await failure('MODEL_NOT_FOUND', () => loadModel('some/model', options));
      expect(message).toMatch('offline');
    }
    expect(hub.requests).toEqual([]);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect(await logitsOf('some/model', { offline: false })).toEqual(await logitsOf(small));
  });

  test.each([
    ['HF_ENDPOINT', 'ftp://example.org'],
    ['HF_ENDPOINT', 'nonsense'],
    ['HF_ENDPOINT', 'http://user:two@127.0.0.1'],
    ['HF_ENDPOINT', 'http://127.0.0.1/?two'],
    ['HF_TOKEN', 'two\nlines'],
    ['HF_HUB_DOWNLOAD_TIMEOUT', 'soon'],
  ])('is misconfigured by %s=%j', async (name, value) => {
    vi.stubEnv(name, value);
    const { message } = await failure('INVALID_ARGUMENT', () => loadModel('some/model'));
    expect(message).toMatch(name);
    expect(message).not.toMatch('two');
  });
});

describe('a download', () => {
  test('is aborted by its signal and resumed by the next call', async () => {
    hub.push('stop/it', checkpoint);
    const stop = new AbortController();
    onWeights({ stallAfter: 800_000 });
    let aborted = 0;
    const loading = loadModel('stop/it', {
      signal: stop.signal,
      onProgress: ({ stage, done }) => {
        if (stage !== 'download' || done < 1_500_000 || aborted > 0) return;
        aborted = performance.now();
        stop.abort(new Error('enough'));
      },
    });
    await expect(loading).rejects.toThrow('enough');
    expect(performance.now() - aborted).toBeLessThan(2000);
    expect(incomplete('stop/it')).toHaveLength(1);
    await logitsOf('stop/it');
    expect(hub.fetches(weights).at(-1)?.range).toMatch(/^bytes=[1-9]/);
  });

  test('is aborted while it waits to retry', async () => {
    hub.misbehave = () => ({ status: 503, headers: { 'retry-after': '30' } });
    const loading = loadModel('some/model', { signal: AbortSignal.timeout(300) });
    await expect(loading).rejects.toThrow(/timeout/);
  });

  test('rejects with the error that onProgress throws', async () => {
    hub.push('some/model', checkpoint);
    const loading = loadModel('some/model', {
      onProgress: () => {
        throw Object.assign(new Error('of the host'), { syscall: 'open', code: 'ENOENT' });
      },
    });
    await expect(loading).rejects.toThrow('of the host');
  });

  test('is shared by concurrent calls and processes', async () => {
    hub.push('all/at-once', checkpoint);
    let slow = true;
    hub.misbehave = ({ kind }) => {
      if (kind !== 'content' || !slow) return undefined;
      slow = false;
      return { cutAfter: 900_000 }; // a pause of half a second in which the others start
    };
    const script = `
      const model = await gpt2.loadModel('all/at-once');
      console.log(model.config.vocabSize);`;
    const all = await Promise.all([
      ...[1, 2].map(async () => (await runNode(script)).stdout),
      ...[1, 2].map(async () => `${(await logitsOf('all/at-once')).length}\n`),
    ]);
    expect(all).toEqual(Array(4).fill('50257\n'));
    expect(hub.fetches(weights)).toHaveLength(2); // the interrupted request and its continuation
  });

  test('of a killed process is resumed by another', async () => {
    hub.push('kill/it', checkpoint);
    onWeights({ stallAfter: 800_000 });
    const script = `
      await gpt2.loadModel('kill/it', {
        onProgress: ({ stage, done }) => {
          if (stage === 'download' && done > 1_500_000) process.kill(process.pid, 'SIGKILL');
        },
      });`;
    expect((await runNode(script)).signal).toBe('SIGKILL');
    expect(incomplete('kill/it')).toHaveLength(1);
    expect(await logitsOf('kill/it')).toEqual(await logitsOf(checkpoint));
    expect(hub.fetches(weights).at(-1)?.range).toMatch(/^bytes=[1-9]/);
  });

  test('prevents the removal of its cache', async () => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '100');
    hub.push('remove/it', checkpoint);
    onWeights({ stallAfter: 800_000 });
    const stop = new AbortController();
    let removal: Promise<ProcessResult> | undefined;
    const loading = loadModel('remove/it', {
      signal: stop.signal,
      onProgress: ({ done }) => {
        if (done < 1_500_000 || removal) return;
        removal = runProcess([command, 'rm', 'remove/it']);
        removal.then(
          () => stop.abort(),
          () => stop.abort(),
        );
      },
    });
    await expect(loading).rejects.toThrow(/abort/);
    expect((await removal)?.stderr).toMatch(
      /another process is downloading it \[FILE_UNWRITABLE\]/,
    );
    expect((await runProcess([command, 'rm', 'remove/it'])).exitCode).toBe(0);
    expect(existsSync(repositoryFolder('remove/it'))).toBe(false);
  });

  test('into a file that another process writes to fails', async () => {
    hub.push('two/writers', checkpoint);
    onWeights({ cutAfter: 800_000 });
    let isWritten = false;
    const loading = loadModel('two/writers', {
      onProgress: ({ done }) => {
        const [name] = incomplete('two/writers');
        if (done < 2_000_000 || isWritten || !name) return;
        isWritten = true;
        appendFileSync(join(repositoryFolder('two/writers'), 'blobs', name), 'more');
      },
    });
    const { message } = await failure('FILE_UNWRITABLE', () => loading);
    expect(message).toMatch(/another process is writing to it\)$/);
    expect(blobs('two/writers').filter((blob) => blob.length === 64)).toEqual([]);
    expect(await logitsOf('two/writers')).toEqual(await logitsOf(checkpoint));
  });

  test('into a file that another process replaces fails', async () => {
    hub.push('two/caches', checkpoint);
    onWeights({ cutAfter: 800_000 });
    let isReplaced = false;
    const loading = loadModel('two/caches', {
      onProgress: ({ done }) => {
        const [name] = incomplete('two/caches');
        if (done < 2_000_000 || isReplaced || !name) return;
        isReplaced = true;
        const path = join(repositoryFolder('two/caches'), 'blobs', name);
        renameSync(path, join(folder, name));
        writeFileSync(path, '');
      },
    });
    const { message } = await failure('FILE_UNWRITABLE', () => loading);
    expect(message).toMatch('another process is writing to it');
    expect(blobs('two/caches').filter((blob) => blob.length === 64)).toEqual([]);
  });

  test('that cannot be written fails', async () => {
    hub.push('some/model', small);
    const file = join(folder, 'a-file');
    writeFileSync(file, '');
    vi.stubEnv('HF_HUB_CACHE', join(file, 'cache'));
    const { message } = await failure('FILE_UNWRITABLE', () => loadModel('some/model'));
    expect(message).toMatch(/; set HF_HOME to another folder$/);
  });
});

describe('gpt2', () => {
  const gpt2 = (...args: string[]) => runProcess([command, ...args]);

  test('pull, list, rm', async () => {
    const old = hub.push('some/model', small);
    const pulled = await gpt2('pull', 'some/model');
    expect(pulled).toMatchObject({ exitCode: 0, stderr: '' });
    expect(pulled.stdout.trim()).toBe(join(repositoryFolder('some/model'), 'snapshots', old));
    await logitsOf('some/model', { type: 'f16' });

    // A name refers to the cached version until it is pulled again.
    const other = writeTextCheckpoint(join(freshFolder(folder), 'model'));
    const commit = hub.push('some/model', other);
    expect(await logitsOf('some/model')).toEqual(await logitsOf(small));
    await gpt2('pull', 'some/model');
    expect(await logitsOf('some/model')).toEqual(await logitsOf(other));

    mkdirSync(join(cache, 'models--some--bert', 'snapshots', commit), { recursive: true });
    const bert = join(cache, 'models--some--bert', 'snapshots', commit, 'config.json');
    writeFileSync(bert, '{"model_type":"bert"}');
    const listed = JSON.parse((await gpt2('list', '--json')).stdout);
    expect(listed).toHaveLength(2);
    expect(listed).toContainEqual(
      expect.objectContaining({ repository: 'some/model', commit: old, revisions: [] }),
    );
    const newest = listed.find((model: { commit: string }) => model.commit === commit);
    expect(newest).toMatchObject({ revisions: ['main'], hasWeights: true });
    expect(newest.byteSize).toBeGreaterThan(2_000_000);
    expect(newest.conversions).toHaveLength(1);
    const { stdout } = await gpt2('list');
    expect(stdout).toMatch(new RegExp(`^some/model {2}main {2}${commit.slice(0, 12)} {2}`, 'm'));

    mkdirSync(join(cache, 'models--odd--one', 'snapshots', old), { recursive: true });
    const odd = join(cache, 'models--odd--one', 'snapshots', old);
    writeFileSync(join(odd, 'config.json'), '{"model_type":"gpt2"}');
    for (const name of ['a.pt', 'b.pt']) writeFileSync(join(odd, name), '');
    expect((await gpt2('list')).stdout).toMatch(/odd\/one .* without its weights/);
    const own = join(conversions, 'some--model@mine-own-0123456789abcdef.gguf');
    writeFileSync(own, ''); // the conversion of a local folder that happens to have this name

    const removed = await gpt2('rm', `some/model@${old.slice(0, 12)}`);
    expect(removed).toMatchObject({ exitCode: 0, stderr: '' });
    expect(removed.stdout).toMatch(/some\/model@\w+: removed, .*B freed/);
    expect(await logitsOf('some/model', { offline: true })).toEqual(await logitsOf(other));
    await failure('MODEL_NOT_FOUND', () => loadModel(`some/model@${old}`, { offline: true }));
    expect(blobs('some/model')).toHaveLength(readdirSync(other).length);

    expect((await gpt2('rm', 'some/model')).exitCode).toBe(0);
    expect(readdirSync(cache)).toEqual(expect.arrayContaining(['models--some--bert']));
    expect(existsSync(repositoryFolder('some/model'))).toBe(false);
    expect(readdirSync(conversions).filter((name) => name.startsWith('some--model@'))).toEqual([
      basename(own),
    ]);
    expect((await gpt2('rm', 'some/model')).stderr).toMatch('[MODEL_NOT_FOUND]');
    await gpt2('rm', 'odd/one');
    expect((await gpt2('list')).stdout).toBe('');
  });

  test('rm of one version keeps the files that another version has too', async () => {
    const old = hub.push('shared/files', small);
    await gpt2('pull', 'shared/files');
    const config = `${readFileSync(join(small, 'config.json'), 'utf8')}\n`;
    hub.push('shared/files', small, { files: { 'config.json': config } });
    await gpt2('pull', 'shared/files');
    const all = blobs('shared/files');
    expect((await gpt2('rm', `shared/files@${old}`)).exitCode).toBe(0);
    expect(blobs('shared/files')).toHaveLength(all.length - 1); // the old config.json
    expect(await logitsOf('shared/files', { offline: true })).toEqual(await logitsOf(small));
  });

  test('accepts a name wherever it accepts a model', async () => {
    hub.push('any/where', checkpoint);
    const target = join(freshFolder(folder), 'out.gguf');
    const model = ['--model', 'any/where'];
    for (const args of [
      ['logits', 'Hello', ...model],
      ['generate', 'Hello', '-n', '2', ...model],
      ['inspect', 'any/where'],
      ['describe', 'any/where'],
      ['convert', 'any/where', target],
      ['quantize', 'any/where', target, '--type', 'q8_0'],
    ]) {
      const { exitCode, stderr } = await gpt2(...args);
      expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' });
      vi.stubEnv('HF_ENDPOINT', unreachable); // downloading once is enough
      const again = await gpt2(...args, '--offline');
      expect({ args, ...again }).toMatchObject({ args, exitCode: 0, stderr: '' });
    }
  });

  test('pull rejects anything but a name', async () => {
    const { exitCode, stderr } = await gpt2('pull', './folder');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch('[INVALID_ARGUMENT]');
    expect((await gpt2('rm', '..')).exitCode).toBe(2);
  });
});
