import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { check, installation, isRight, node, npm } from './context.mjs';

const route = `
  import { Gpt2Error, loadModel } from 'gpt2-native';

  export const dynamic = 'force-dynamic';

  export async function GET() {
    const model = await loadModel();
    const { shape } = await model.logits('Hello');
    const { tokens } = await model.generate('Hello', { maxTokens: 4, temperature: 0 });
    const error = await model.logits([-1]).catch((error) => error);
    await model.dispose();
    return Response.json({ shape, tokens: [...tokens], ours: error instanceof Gpt2Error });
  }
`;

/** A route of Next.js that uses the package, as built and started for production. */
export async function testNext() {
  const folder = installation('next', {
    'next.config.mjs': `export default { serverExternalPackages: ['gpt2-native'] };`,
  });
  const packages = ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1'];
  npm(folder, ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', ...packages]);
  mkdirSync(join(folder, 'app', 'logits'), { recursive: true });
  writeFileSync(join(folder, 'app', 'logits', 'route.js'), route);
  const next = join(folder, 'node_modules', 'next', 'dist', 'bin', 'next');
  process.env.NEXT_TELEMETRY_DISABLED = '1';
  node(folder, next, 'build');

  const port = await freePort();
  const server = spawn(process.execPath, [next, 'start', '--port', String(port)], { cwd: folder });
  try {
    const response = await answer(`http://127.0.0.1:${port}/logits`);
    check('a route of Next.js', isRight(await response.text()));
  } finally {
    server.kill();
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The response of a server that is starting. */
async function answer(url) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await fetch(url);
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
