import { defineConfig } from 'vitest/config';
import { SkippedTests } from './test/require-all.js';

export default defineConfig({
  test: {
    include: ['test/*.test.ts'],
    reporters: ['default', new SkippedTests()],
    // The package is tested as it ships: Node itself loads dist/, so that require() and import() of it
    // meet in one copy, with one addon and one class of error.
    server: { deps: { external: [/\/dist\//] } },
    // The addon computes on threads of its own and must be loaded by a process, not by a worker thread
    // that ends early.
    pool: 'forks',
    maxWorkers: 3, // on two cores: some tests wait for most of their time
    // For what hangs; a machine may be ten times slower than the one before.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
