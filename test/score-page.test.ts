// The page of gpt2 score --html in headless Chromium: what a mouse and a keyboard do. Screenshots go to build-screens/.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PageContent, pageOf } from '../dist/cli/score-page.js';
import { loadModel, type Score } from '../dist/index.js';
import { Browser, hasChromium, type Page } from './chromium.js';
import { runProcess } from './node-process.js';
import { freshFolder, temporaryFolder } from './temporary-folder.js';

const command = join(__dirname, '..', 'dist', 'cli', 'gpt2.js');
const screens = join(__dirname, '..', 'build-screens');
const folder = temporaryFolder();
const text = `It was a bright cold day in April, and the clocks were striking three. He shook his head, and went up the stairs to the room where the old man had been waiting since the morning.

"You have been a long time," said the old man. "I had almost given you up." He was sitting by the fire, with a book upon his knees, and did not rise from his chair.

Nothing in it is a tag: <b>bold</b> </script>. Bytes of one character: 日本 😀.
`;
const schemes = ['light', 'dark'] as const;
const widths = [1200, 380];

let browser: Browser;

/** The page of a text, scored by the bundled model. */
async function writePage(...texts: string[]): Promise<string> {
  const here = freshFolder(folder);
  const paths = texts.map((each, index) => {
    const path = `text-${index}.txt`;
    writeFileSync(join(here, path), each);
    return join(here, path);
  });
  const html = join(here, 'page.html');
  const { exitCode, stderr } = await runProcess([command, 'score', ...paths, '--html', html]);
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
  return html;
}

/** The contrast of two colours as WCAG defines it, and the least of the classes with their text. In the page. */
const leastContrast = `(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (value) => (value <= 10.3 ? value / 3294 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [red, green, blue] = channels(colour).map(linear);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const page = getComputedStyle(document.body).backgroundColor;
  return Math.min(...[...document.querySelectorAll('#legend li, .note, #details dt')].map((item) => {
    const { color, backgroundColor } = getComputedStyle(item);
    const behind = channels(backgroundColor)[3] === 0 ? page : backgroundColor;
    const [light, dark] = [luminance(color), luminance(behind)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }));
})()`;

/** Presses a key so many times. */
async function press(page: Page, key: string, count = 1): Promise<void> {
  for (let time = 0; time < count; time++) await page.press(key);
}

const focus = (page: Page, selector: string) =>
  page.evaluate(`document.querySelector('${selector}').focus()`);
const chosen = (page: Page) =>
  page.evaluate<number | undefined>('document.querySelector("#text .chosen")?.token');
const isHidden = (page: Page) => page.evaluate('document.querySelector("#details").hidden');

describe.runIf(hasChromium)('the page', () => {
  let path: string;
  let score: Score;

  beforeAll(async () => {
    mkdirSync(screens, { recursive: true });
    browser = new Browser(freshFolder(folder));
    path = await writePage(text);
    await using model = await loadModel();
    score = await model.score(text, { topK: 5 });
  });
  afterAll(async () => await browser?.close());

  describe.each(schemes)('in a %s scheme', (scheme) => {
    test.each(widths)('at a width of %i', async (width) => {
      const shot = (name: string) => join(screens, `score-${scheme}-${width}-${name}.png`);
      const page = await browser.open(path, { width, height: 800, scheme });
      await page.screenshot(shot('top'));
      expect(await page.evaluate('document.querySelector("#text").textContent')).toBe(text);
      expect(await page.evaluate('document.querySelectorAll("#text span").length')).toBe(
        score.tokenCount,
      );
      expect(await page.text('#figures')).toContain(score.perplexity.toFixed(2));

      await page.evaluate(
        'document.querySelector("#t7").scrollIntoView({ block: "center", behavior: "instant" })',
      );
      await page.hover('#t7');
      const details = await page.text('#details');
      expect(details).toContain(`token 8 of ${score.tokenCount}`);
      expect(details).toContain(`${(-(score.logprobs[7] ?? 0) / Math.LN2).toFixed(2)} bits`);
      expect(details).toMatch(new RegExp(`rank\\s+${score.ranks[7]}\\s`));
      expect(await page.evaluate('document.querySelectorAll("#details li").length')).toBe(5);
      const likeliest = Math.exp(score.topLogprobs?.[7 * 5] ?? 0) * 100;
      expect(await page.text('#details li')).toContain(`${likeliest.toPrecision(3)} %`);
      expect(await page.evaluate(leastContrast)).toBeGreaterThan(4.5);
      await page.screenshot(shot('hover'));

      await page.click('[value=rank]');
      expect(await page.text('#legend')).toMatch(/^0\s+1–9\s+10–99\s+100–999\s+1,000\+/);
      expect(await page.evaluate(leastContrast)).toBeGreaterThan(4.5);
      await page.evaluate('scrollTo(0, document.body.scrollHeight)');
      await focus(page, '#text');
      await press(page, 'End');
      await page.screenshot(shot('rank'));

      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(
        width,
      );
      expect(page.faults).toEqual([]);
    });
  });

  test('has a cursor that keys move', async () => {
    const page = await browser.open(path, { width: 1200, height: 800, scheme: 'light' });
    await focus(page, '#text');
    await press(page, 'ArrowRight', 3);
    expect(await chosen(page)).toBe(2);
    await press(page, 'ArrowLeft');
    expect(await chosen(page)).toBe(1);
    expect(await page.text('#spoken')).toMatch(
      /^␣was, \d+\.\d bits, rank \d+, probability .* %; likeliest: /,
    );
    expect(await isHidden(page)).toBe(false);
    const top = 'document.querySelector("#text .chosen").getBoundingClientRect().top';
    const before = await page.evaluate<number>(top);
    await press(page, 'ArrowDown');
    expect(await page.evaluate<number>(top)).toBeGreaterThan(before);
    await press(page, 'ArrowUp');
    expect(await chosen(page)).toBe(1);
    await press(page, 'End');
    expect(await chosen(page)).toBe(score.tokenCount - 1);
    await press(page, 'ArrowRight');
    expect(await chosen(page)).toBe(score.tokenCount - 1);
    await press(page, 'Home');
    await press(page, 'ArrowLeft');
    expect(await chosen(page)).toBe(0);
    await press(page, 'Escape');
    expect(await chosen(page)).toBeUndefined();
    expect(await isHidden(page)).toBe(true);
    expect(page.faults).toEqual([]);
  });

  test('keeps the details of a token that was clicked', async () => {
    const page = await browser.open(path, { width: 1200, height: 800, scheme: 'light' });
    await page.click('#t3');
    expect(await chosen(page)).toBe(3);
    await page.hover('#t5');
    expect(await page.text('#details')).toContain('token 6 of');
    await page.hover('h1');
    expect(await page.text('#details')).toContain('token 4 of');
    await page.click('h1');
    expect(await isHidden(page)).toBe(true);
  });

  test('has a curve that a click and keys follow', async () => {
    const page = await browser.open(path, { width: 1200, height: 800, scheme: 'light' });
    await page.click('#curve');
    const middle = Math.floor(score.tokenCount / 2);
    expect(await chosen(page)).toBe(middle);
    await focus(page, '#curve');
    await press(page, 'ArrowRight');
    expect(await chosen(page)).toBeGreaterThan(middle);
    expect(
      await page.evaluate('document.querySelector("#curve").getAttribute("aria-valuetext")'),
    ).toContain(` of ${score.tokenCount}: `);
  });

  test('of several texts shows one at a time', async () => {
    const page = await browser.open(await writePage('One', 'The sea'), {
      ...{ width: 380, height: 700, scheme: 'dark' },
    });
    expect(await page.evaluate('document.querySelector("#text").textContent')).toBe('One');
    await page.evaluate(`(() => {
      const choice = document.querySelector('#choice');
      choice.value = 1;
      choice.dispatchEvent(new Event('change'));
    })()`);
    expect(await page.evaluate('document.querySelector("#text").textContent')).toBe('The sea');
    expect(await page.text('h1')).toMatch(/text-1\.txt$/);
    expect(page.faults).toEqual([]);
  });

  test('of 20,000 tokens is scrolled and walked through', async () => {
    const count = 20_000;
    const content = new PageContent('m', 5, (token) => `␣w${token}`);
    content.add('long', longScore(count));
    const long = join(freshFolder(folder), 'long.html');
    writeFileSync(long, await pageOf(content.data));
    const page = await browser.open(long, { width: 1200, height: 800, scheme: 'light' });
    expect(await page.evaluate('document.querySelectorAll("#text span").length')).toBe(count);
    const reached = await page.evaluate<number>(`(async () => {
      for (let y = 0; y < document.body.scrollHeight; y += 5000) {
        scrollTo({ top: y, behavior: 'instant' });
        await new Promise(requestAnimationFrame);
      }
      return scrollY;
    })()`);
    expect(reached).toBeGreaterThan(5000);
    await focus(page, '#text');
    await press(page, 'End');
    await press(page, 'ArrowUp', 10);
    await press(page, 'ArrowLeft', 50);
    const at = (await chosen(page)) ?? 0;
    expect(at).toBeGreaterThan(count - 400);
    expect(at).toBeLessThan(count - 60);
    await page.click('[value=rank]');
    await page.screenshot(join(screens, 'score-long.png'));
    expect(page.faults).toEqual([]);
  });
});

/** Invented scores of words in lines of twenty. */
function longScore(count: number): Score {
  const pieces = Array.from({ length: count }, (_, token) =>
    token % 20 === 19 ? '\n' : ` w${token % 97}`,
  );
  let offset = 0;
  const offsets = Uint32Array.from(pieces, ({ length }) => {
    offset += length;
    return offset - length;
  });
  const tokens = Uint32Array.from(pieces, (_, token) => token % 97);
  const logprobs = Float32Array.from(pieces, (_, token) => -((token * 7) % 11));
  return {
    text: pieces.join(''),
    ...{ tokens, offsets, logprobs },
    byteOffsets: offsets,
    ranks: Uint32Array.from(pieces, (_, token) => (token * 31) % 1500),
    entropies: logprobs.map((logprob) => -logprob / 2),
    variances: logprobs.map((logprob) => -logprob),
    topTokens: Uint32Array.from({ length: 5 * count }, (_, index) => index % 97),
    topLogprobs: Float32Array.from({ length: 5 * count }, (_, index) => -1 - (index % 5)),
    words: { offsets, ends: offsets, logprobs },
    lines: { offsets, ends: offsets, logprobs },
    logprob: -5 * count,
    perplexity: Math.exp(5),
    wordPerplexity: Math.exp(5),
    bitsPerByte: 2,
    meanRank: 750,
    rankShares: { top10: 0.01, top100: 0.1, top1000: 0.7 },
    ...{ tokenCount: count, wordCount: count, byteCount: offset },
  };
}
