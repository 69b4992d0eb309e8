// The platforms of the prebuilt addons. The names are those of lib/native/prebuilt.ts.

const glibc = '2.28'; // Debian 10, Ubuntu 20.04, RHEL 8; Node 20's own binaries need it too

export const platforms = {
  'linux-x64-glibc': linux('x64', 'x86_64', 'glibc'),
  'linux-x64-musl': linux('x64', 'x86_64', 'musl'),
  'linux-arm64-glibc': linux('arm64', 'aarch64', 'glibc'),
  'linux-arm64-musl': linux('arm64', 'aarch64', 'musl'),
  'darwin-arm64': darwin('arm64', 'arm64', 'aarch64'),
  'darwin-x64': darwin('x64', 'x86_64', 'x86_64'),
  'win32-x64': {
    os: 'win32',
    arch: 'x64',
    system: 'Windows',
    processor: 'AMD64',
    zig: 'x86_64-windows-gnu',
    // zig's headers lack what ggml uses of Windows 8 for the priority of its threads, which we do not start.
    cFlags: ['-D_WIN32_WINNT=0x0601'],
    // CMake's tests link nothing here (prebuild.mjs), so they would find threads of POSIX.
    definitions: { CMAKE_HAVE_PTHREADS_CREATE: 'OFF', CMAKE_HAVE_PTHREAD_CREATE: 'OFF' },
  },
};

/**
 * The addon of a platform, in the package's folder. prebuildify names it.
 *
 * @param {{ os: string, arch: string, libc?: string }} platform
 */
export function addonPath({ os, arch, libc }) {
  return `prebuilds/${os}-${arch}/gpt2-native${libc ? `.${libc}` : ''}.node`;
}

function linux(arch, processor, libc) {
  const zig = `${processor}-linux-${libc === 'glibc' ? `gnu.${glibc}` : 'musl'}`;
  return { os: 'linux', arch, libc, system: 'Linux', processor, zig };
}

function darwin(arch, processor, zigProcessor) {
  return {
    os: 'darwin',
    arch,
    system: 'Darwin',
    processor,
    zig: `${zigProcessor}-macos.11.0`,
    definitions: { CMAKE_INSTALL_NAME_TOOL: 'true' }, // which CMake requires and does not run here
  };
}
