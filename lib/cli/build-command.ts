import { spawn, spawnSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Gpt2Error } from '../errors.js';
import { writing } from '../files.js';
import { Command } from './commander.js';

const root = join(__dirname, '..', '..');

interface BuildFlags {
  cuda?: true;
  vulkan?: true;
  metal?: true;
}

export function buildCommand(): Command {
  return new Command('build')
    .description(
      'Compile the addon from the source in the package, for a platform without a prebuilt one or with a GPU backend.',
    )
    .option('--cuda', 'with CUDA (needs nvcc and cuBLAS)')
    .option('--vulkan', 'with Vulkan (needs glslc and the headers of Vulkan 1.4)')
    .option('--metal', 'with Metal (macOS)')
    .action(run);
}

async function run(flags: BuildFlags): Promise<void> {
  const gpu = Object.keys(flags);
  checkTools(gpu);
  const target = join(root, 'build', 'Release');
  await writing(target, async () => await mkdir(target, { recursive: true }));
  const folder = await writing(tmpdir(), async () => {
    return await mkdtemp(join(tmpdir(), 'gpt2-native-build-'));
  });
  try {
    const build = join(folder, 'build');
    const ggml = gpu.length === 0 ? join(root, 'native', 'ggml') : await fetchGgml(folder);
    await execute(
      'cmake',
      ...['-S', root, '-B', build, '-DCMAKE_BUILD_TYPE=Release', `-DGGML_SOURCE_DIR=${ggml}`],
      ...gpu.map((backend) => `-DGPT2_${backend.toUpperCase()}=ON`),
    );
    const parallel = String(availableParallelism());
    await execute(
      'cmake',
      ...['--build', build, '--config', 'Release', '--target', 'gpt2_native', '-j', parallel],
    );
    const addon = join(target, 'gpt2_native.node');
    const temporary = `${addon}.${process.pid}.tmp`;
    try {
      await writing(addon, async () => {
        await copyFile(join(build, 'Release', 'gpt2_native.node'), temporary);
        await rename(temporary, addon);
      });
    } finally {
      await rm(temporary, { force: true });
    }
    process.stderr.write(`gpt2: compiled ${addon}\n`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Fetches the source of all of ggml; the package contains that of the CPU backend. */
async function fetchGgml(folder: string): Promise<string> {
  const script = pathToFileURL(join(root, 'scripts', 'vendor-ggml.mjs')).href;
  const { vendorGgml }: { vendorGgml: (target: string) => Promise<string> } = await import(script);
  return await vendorGgml(join(folder, 'ggml'));
}

interface Tool {
  name: string;
  isPresent: () => boolean;
  /** The package that contains it, by package manager. */
  packages: Record<string, string>;
}

const runs = (program: string, ...args: string[]) => spawnSync(program, args).status === 0;

const cmake: Tool = {
  name: 'cmake 3.25 or newer',
  isPresent() {
    const { stdout } = spawnSync('cmake', ['--version'], { encoding: 'utf8' });
    const [, major, minor] = /version (\d+)\.(\d+)/.exec(stdout ?? '') ?? [];
    return Number(major) > 3 || (Number(major) === 3 && Number(minor) >= 25);
  },
  packages: { apt: 'cmake', dnf: 'cmake', apk: 'cmake', pacman: 'cmake', brew: 'cmake' },
};
const compiler: Tool = {
  name: 'a C++17 compiler (g++ 12 or clang 14, or newer)',
  isPresent: () =>
    [process.env.CXX, 'c++', 'g++', 'clang++'].some((name) => name && runs(name, '--version')),
  packages: { apt: 'g++', dnf: 'gcc-c++', apk: 'g++', pacman: 'gcc', brew: 'llvm' },
};
const buildTool: Tool = {
  name: 'make or ninja',
  isPresent: () => runs('make', '--version') || runs('ninja', '--version'),
  packages: { apt: 'make', dnf: 'make', apk: 'make', pacman: 'make', brew: 'ninja' },
};
const git: Tool = {
  name: 'git, for the source of GPU backends',
  isPresent: () => runs('git', '--version'),
  packages: { apt: 'git', dnf: 'git', apk: 'git', pacman: 'git', brew: 'git' },
};

const installers: readonly [manager: string, line: string][] = [
  ['apt', 'sudo apt install'],
  ['dnf', 'sudo dnf install'],
  ['apk', 'apk add'],
  ['pacman', 'sudo pacman -S'],
  ['brew', 'brew install'],
];

function checkTools(gpu: readonly string[]): void {
  if (process.platform === 'win32') {
    throw new Gpt2Error(
      'BUILD_FAILED',
      'Expected Linux or macOS: on Windows, the addon is compiled in a checkout (docs/building.md)',
    );
  }
  const needed =
    gpu.length === 0 ? [cmake, compiler, buildTool] : [cmake, compiler, buildTool, git];
  const missing = needed.filter((tool) => !tool.isPresent());
  if (missing.length === 0) return;
  const installer = installers.find(([manager]) => runs(manager, '--version'));
  const advice = installer
    ? `; install with: ${installer[1]} ${missing.map(({ packages }) => packages[installer[0]]).join(' ')}`
    : '';
  throw new Gpt2Error(
    'BUILD_FAILED',
    `Expected these tools: ${missing.map(({ name }) => name).join(', ')}${advice}`,
  );
}

/** Runs a program with its output on stderr. */
async function execute(program: string, ...args: string[]): Promise<void> {
  const ended = await new Promise<number | string>((resolve, reject) => {
    spawn(program, args, { stdio: ['ignore', 2, 2] })
      .on('error', reject)
      .on('close', (exitCode, signal) => resolve(exitCode ?? signal ?? 'unknown'));
  });
  if (ended !== 0) {
    throw new Gpt2Error('BUILD_FAILED', `${program} ended with ${ended}; its output is above`);
  }
}
