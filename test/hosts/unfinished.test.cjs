// Jest ends the process while the engine is computing: the exit code is Jest's, not that of a crash.

const { loadModel } = require('../../dist/index.js');

test('a generation in flight', async () => {
  const model = await loadModel();
  model.generate([464], { maxTokens: 500 }).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 50));
});
