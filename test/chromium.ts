// Pages in headless Chromium, which is driven through a pipe by the DevTools protocol.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

const program = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Whether this machine has Chromium: Debian's package, or the program that CHROMIUM names. */
export const hasChromium = existsSync(program);

interface Message {
  id?: number;
  sessionId?: string;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

interface Answer {
  resolve(result: Record<string, unknown>): void;
  reject(error: Error): void;
}

export class Browser {
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, Answer>();
  readonly #pages = new Map<string, Page>();
  #lastId = 0;

  /** @param folder for Chromium's own files */
  constructor(folder: string) {
    const args = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--remote-debugging-pipe',
      `--user-data-dir=${folder}`,
      'about:blank',
    ];
    // A group of processes of its own, which end together.
    const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] as const;
    this.#child = spawn(program, args, { detached: true, stdio: [...stdio] });
    let rest = '';
    const [, , , , pipe] = this.#child.stdio as unknown as Readable[];
    pipe?.setEncoding('utf8').on('data', (text: string) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop() as string;
      for (const message of messages) this.#receive(JSON.parse(message));
    });
    this.#child.on('exit', () => {
      for (const { reject } of this.#answers.values()) reject(new Error('Chromium has ended'));
    });
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    this.#lastId++;
    const id = this.#lastId;
    const [, , , pipe] = this.#child.stdio as unknown as Writable[];
    pipe?.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject }));
  }

  async open(path: string, settings: PageSettings): Promise<Page> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const attached = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, attached.sessionId as string);
    this.#pages.set(attached.sessionId as string, page);
    await page.load(path, settings);
    return page;
  }

  #receive({ id, sessionId, method, params, result, error }: Message): void {
    if (id === undefined) {
      this.#pages.get(sessionId ?? '')?.receive(method ?? '', params ?? {});
      return;
    }
    const answer = this.#answers.get(id);
    this.#answers.delete(id);
    if (error) answer?.reject(new Error(error.message));
    else answer?.resolve(result ?? {});
  }

  /** Ends all of Chromium's processes. If only the first one ended, the others would go on writing files for a moment. */
  async close(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    process.kill(-pid, 'SIGKILL');
    await ended;
  }
}

export interface PageSettings {
  width: number;
  height: number;
  scheme: 'light' | 'dark';
}

/** The codes of the keys that tests press. */
const keyCodes: Record<string, number> = {
  Tab: 9,
  Escape: 27,
  End: 35,
  Home: 36,
  ArrowLeft: 37,
  ArrowUp: 38,
  ArrowRight: 39,
  ArrowDown: 40,
};

export class Page {
  /** Errors of scripts, and requests that leave the file. */
  readonly faults: string[] = [];
  readonly #browser: Browser;
  readonly #session: string;
  #onLoad = () => {};

  constructor(browser: Browser, session: string) {
    this.#browser = browser;
    this.#session = session;
  }

  receive(method: string, params: Record<string, unknown>): void {
    if (method === 'Page.loadEventFired') this.#onLoad();
    if (method === 'Runtime.exceptionThrown' || method === 'Log.entryAdded') {
      this.faults.push(JSON.stringify(params));
    }
    if (method === 'Network.requestWillBeSent' && params.type !== 'Document') {
      this.faults.push(`a request: ${JSON.stringify(params.request)}`);
    }
  }

  async load(path: string, { width, height, scheme }: PageSettings): Promise<void> {
    for (const domain of ['Page', 'Runtime', 'Log', 'Network'])
      await this.#send(`${domain}.enable`);
    await this.#send('Emulation.setDeviceMetricsOverride', {
      ...{ width, height },
      deviceScaleFactor: 1,
      mobile: false,
    });
    await this.#send('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: scheme }],
    });
    const loaded = new Promise<void>((resolve) => {
      this.#onLoad = resolve;
    });
    await this.#send('Page.navigate', { url: pathToFileURL(path).href });
    await loaded;
  }

  #send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return this.#browser.send(method, params, this.#session);
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  /** The visible text of an element. */
  async text(selector: string): Promise<string> {
    return await this.evaluate(`document.querySelector(${JSON.stringify(selector)}).innerText`);
  }

  async hover(selector: string): Promise<void> {
    await this.#mouse('mouseMoved', selector);
  }

  async click(selector: string): Promise<void> {
    await this.#mouse('mousePressed', selector);
    await this.#mouse('mouseReleased', selector);
  }

  async #mouse(type: string, selector: string): Promise<void> {
    const { x, y } = await this.evaluate<{ x: number; y: number }>(`(() => {
      const [{ left, top, width, height }] = document.querySelector(${JSON.stringify(selector)}).getClientRects();
      return { x: left + width / 2, y: top + height / 2 };
    })()`);
    await this.#send('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
  }

  async press(key: string): Promise<void> {
    const event = { key, code: key, windowsVirtualKeyCode: keyCodes[key] };
    await this.#send('Input.dispatchKeyEvent', { type: 'rawKeyDown', ...event });
    await this.#send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  async screenshot(path: string): Promise<void> {
    const { data } = await this.#send('Page.captureScreenshot', { format: 'png' });
    writeFileSync(path, Buffer.from(data as string, 'base64'));
  }
}
