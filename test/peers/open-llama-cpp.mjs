import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const { dependencies } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
const version = dependencies['node-llama-cpp'];

/** Opens llama.cpp on the CPU, through node-llama-cpp. */
export async function openLlamaCpp() {
  install();
  const { getLlama, LlamaLogLevel, LlamaModel } = await import('node-llama-cpp');
  // node-llama-cpp tokenizes a sentence to decide whether to warn. Without a vocabulary that aborts the process,
  // although llama.cpp loads and evaluates such files.
  LlamaModel.prototype.getWarnings = () => [];
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
    maxThreads: 2,
  });
  return new LlamaCpp(llama);
}

class LlamaCpp {
  #llama;

  constructor(llama) {
    this.#llama = llama;
  }

  async open(path, { cacheType = 'f32' } = {}) {
    const model = await this.#llama.loadModel({ modelPath: path, gpuLayers: 0 });
    return new LlamaCppModel(model, cacheType);
  }

  dispose() {
    return this.#llama.dispose();
  }
}

class LlamaCppModel {
  #model;
  #cacheType;

  constructor(model, cacheType) {
    this.#model = model;
    this.#cacheType = cacheType;
  }

  get endOfText() {
    return this.#model.tokens.eos;
  }

  tokenize(text) {
    return this.#model.tokenize(text, false);
  }

  /** Returns a row of logits for each of the given positions. */
  async logits(tokens, positions) {
    const context = await this.#model.createContext({
      // node-llama-cpp discards tokens once the context is full.
      contextSize: tokens.length + 1,
      batchSize: tokens.length,
      threads: 2,
      // On the CPU, flash attention accumulates f16 values in f16.
      flashAttention: false,
      experimentalKvCacheKeyType: this.#cacheType.toUpperCase(),
      experimentalKvCacheValueType: this.#cacheType.toUpperCase(),
    });
    // The default temperature of 0 selects the greedy sampler, which does not modify the logits.
    const wanted = new Set(positions);
    const outputs = await context
      .getSequence()
      .controlledEvaluate(
        tokens.map((token, index) =>
          wanted.has(index) ? [token, { generateNext: { logits: true } }] : token,
        ),
      );
    await context.dispose();
    return positions.map((position) => {
      const { logits } = outputs[position].next;
      const row = new Float32Array(logits.size).fill(Number.NaN);
      for (const [token, logit] of logits) row[token] = logit;
      return row;
    });
  }

  dispose() {
    return this.#model.dispose();
  }
}

/** Reads the tensors of a GGUF file: name → { type, shape, bytes }. */
export async function readTensors(path) {
  const { readGgufFileInfo } = await import('node-llama-cpp');
  const { tensorInfo } = await readGgufFileInfo(path, { sourceType: 'filesystem' });
  const inOrder = tensorInfo.toSorted((a, b) => Number(a.fileOffset) - Number(b.fileOffset));
  const ends = [...inOrder.slice(1).map(({ fileOffset }) => fileOffset), (await stat(path)).size];
  const file = await open(path);
  const tensors = new Map();
  for (const [index, { name, ggmlType, dimensions, fileOffset }] of inOrder.entries()) {
    const start = Number(fileOffset);
    // Includes the padding after the tensor, which is the same in all files.
    const bytes = Buffer.alloc(Number(ends[index]) - start);
    await file.read(bytes, 0, bytes.length, start);
    tensors.set(name, { type: ggmlType, shape: dimensions.join(), bytes });
  }
  await file.close();
  return tensors;
}

/** Compiles llama.cpp's quantiser into a folder. Returns a function that quantises a file. */
export function buildQuantizer(folder) {
  const libraries = platformLibraries();
  const library = readdirSync(libraries).find((name) => /^libllama\.[^-]*so$/.test(name));
  const program = join(folder, 'quantize');
  call(process.env.CC ?? 'cc', [
    join(here, 'quantize.c'),
    '-o',
    program,
    join(libraries, library),
    `-Wl,-rpath,${libraries}`,
    '-Wl,--allow-shlib-undefined',
  ]);
  return (source, target, type) => call(program, [source, target, String(type)]);
}

// The platform package with CPU code only. node-llama-cpp lists it as an optional dependency beside those for CUDA and
// Vulkan, which have hundreds of megabytes. npm cannot select among them, so all optional dependencies are omitted
// and this one is installed explicitly.
function platformPackage() {
  const platform = `${process.platform}-${process.arch}`;
  if (platform !== 'linux-x64' && platform !== 'linux-arm64') {
    throw new Error(
      `The comparison with llama.cpp runs on Linux, on x64 and arm64, not on ${platform}`,
    );
  }
  return `@node-llama-cpp/${platform}`;
}

function platformLibraries() {
  return join(
    here,
    'node_modules',
    platformPackage(),
    'bins',
    `${process.platform}-${process.arch}`,
  );
}

function install() {
  const installed = (name) => {
    try {
      const manifest = join(here, 'node_modules', name, 'package.json');
      return JSON.parse(readFileSync(manifest, 'utf8')).version === version;
    } catch {
      return false;
    }
  };
  if (installed('node-llama-cpp') && installed(platformPackage())) return;
  console.log(`Installing node-llama-cpp ${version} (about 85 MB)`);
  // Install scripts would download binaries and sources, but the binaries in the package suffice.
  call('npm', [
    'install',
    `--prefix=${here}`,
    '--no-save',
    '--omit=optional',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    `${platformPackage()}@${version}`,
  ]);
}

function call(program, options) {
  const { status, error, stdout, stderr } = spawnSync(program, options, {
    cwd: here,
    encoding: 'utf8',
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${options.join(' ')} failed:\n${stdout}${stderr}`);
}
