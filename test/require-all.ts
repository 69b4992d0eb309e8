import type { Reporter, TestModule, Vitest } from 'vitest/node';

// Tests that .ci/run may skip, with the reason.
const maySkip = new Map([
  ['full-disk.test.ts', 'needs user namespaces, which many containers refuse'],
  ['known-outputs.test.ts', 'needs weights of OpenAI, which the variable GPT2_WEIGHTS names'],
]);

/**
 * Lists the skipped tests. With GPT2_REQUIRE_ALL in the environment, which .ci/run sets, the run fails if
 * one of them is not listed above.
 */
export class SkippedTests implements Reporter {
  #isFiltered = false;

  onInit(vitest: Vitest): void {
    this.#isFiltered = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    if (this.#isFiltered) return;
    for (const module of modules) {
      const file = module.relativeModuleId.replace(/^test\//, '');
      const reason = maySkip.get(file);
      for (const test of module.children.allTests('skipped')) {
        const name = `${file} > ${test.fullName}`;
        if (!process.env.GPT2_REQUIRE_ALL || reason) {
          console.log(`skip  ${name}${reason ? ` (${reason})` : ''}`);
        } else {
          console.error(`FAIL  ${name}: skipped although GPT2_REQUIRE_ALL is set`);
          process.exitCode = 1;
        }
      }
    }
  }
}
