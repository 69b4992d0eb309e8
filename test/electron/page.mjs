import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const example = fileURLToPath(new URL('../../examples/electron', import.meta.url));
const screens = fileURLToPath(new URL('../../build-screens', import.meta.url));
const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };

/** What an engine sends after a prompt. */
const words = [' and', ' saw', ' the', ' sea', '.'];
const parts = words.map((text, i) => ({
  type: 'part',
  text,
  candidates: [text, ' a', ' his', '\n', ' very', ' to', ' of', ' in'].map((other, place) => ({
    text: other,
    probability: place === 0 ? 0.6 - i / 10 : 0.2 / (place + 1),
  })),
}));

/** In the page: a bridge that answers like the engine. */
function standIn(replies) {
  let receive;
  const sent = [];
  Object.assign(window, {
    sent,
    engine: {
      onReply(receiver) {
        receive = receiver;
        setTimeout(() => receive({ type: 'ready', parameterCount: 7477632, contextLength: 512 }));
      },
      send(request) {
        sent.push(request);
        if (request.type === 'stop') return;
        const { id } = request;
        if (request.prompt === 'fail') {
          receive({
            type: 'failed',
            id,
            code: 'CONTEXT_OVERFLOW',
            message: 'Expected fewer tokens',
          });
          return;
        }
        receive({ type: 'part', id: id - 1, text: 'of an earlier prompt', candidates: [] });
        for (const reply of replies) receive({ ...reply, id });
        receive({ type: 'end', id, reason: 'length', tokensPerSecond: 250 });
      },
    },
  });
}

/** Uses the page in Chromium. */
export async function testPage() {
  const { chromium } = createRequire(import.meta.url)('playwright-core');
  mkdirSync(screens, { recursive: true });
  const server = createServer(({ url }, response) => {
    const file = join(example, url === '/' ? 'window.html' : url.slice(1));
    if (!existsSync(file)) {
      response.writeHead(204).end(); // the icon, which Chromium asks for
      return;
    }
    response.setHeader('content-type', types[extname(file)] ?? 'text/plain');
    response.end(readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
  });
  try {
    for (const colorScheme of ['light', 'dark']) {
      for (const width of [900, 380]) {
        const page = await browser.newPage({ colorScheme, viewport: { width, height: 700 } });
        const faults = [];
        page.on('pageerror', (error) => faults.push(error.message));
        page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
        await page.addInitScript(standIn, parts);
        await page.goto(`http://127.0.0.1:${server.address().port}/`);
        await usePage(page);
        await page.screenshot({ path: join(screens, `electron-${colorScheme}-${width}.png`) });
        const tooWide = await page.evaluate(
          () => document.documentElement.scrollWidth > innerWidth,
        );
        assert.ok(!tooWide, `the page is wider than ${width} pixels`);
        assert.deepEqual(faults, []);
        await page.close();
      }
    }
  } finally {
    await browser.close();
    server.close();
  }
  console.log(`ok   the page shows tokens and candidates (${screens})`);
}

async function usePage(page) {
  const status = page.getByRole('status');
  await status.getByText('7.5 million parameters, 512 tokens of context').waitFor();

  await page.getByLabel('Prompt').fill('fail');
  await page.getByRole('button', { name: 'Continue' }).click();
  await status.getByText('Expected fewer tokens [CONTEXT_OVERFLOW]').waitFor();

  await page.getByLabel('Prompt').fill('We went out');
  await page.getByLabel('Temperature').fill('0.5');
  await page.getByRole('button', { name: 'Continue' }).click();
  await status.getByText('Ended by the length, 250 tokens/s').waitFor();
  assert.equal(await page.locator('#text').textContent(), `We went out${words.join('')}`);
  assert.ok(await page.getByRole('button', { name: 'Stop' }).isDisabled());
  const requests = await page.evaluate(() => window.sent);
  assert.deepEqual(requests.at(-1), {
    type: 'complete',
    id: 2,
    prompt: 'We went out',
    maxTokens: 80,
    temperature: 0.5,
  });

  await page.locator('#text span', { hasText: ' sea' }).hover();
  await page.getByRole('heading', { name: 'In place of ␣sea' }).waitFor();
  const rows = await page.locator('#candidates li').allTextContents();
  assert.equal(rows.length, 8);
  assert.equal(rows[0], '␣sea30.0 %');
  assert.equal(rows[3], '\\n5.0 %');

  await page.locator('#text').focus();
  await page.keyboard.press('ArrowLeft');
  await page.getByRole('heading', { name: 'In place of ␣the' }).waitFor();
}
