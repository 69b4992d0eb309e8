import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['vm.test.mts'],
    globals: true,
    server: { deps: { external: [/\/dist\//, /suite\.cjs/] } },
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
