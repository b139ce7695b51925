// A real browser for tests of pages: Debian's chromium without a window, told what to do over its DevTools socket. Each
// has a profile of its own in a fresh directory, and both are gone at the end.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const COMMAND = 'chromium';
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'];
const SIZE = '--window-size=1200,800';
/** A busy machine starts it slowly. */
const START_MS = 60_000;

interface Reply {
  readonly id?: number;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

export class Browser {
  /** What the page asked for beside itself. */
  readonly requests: string[] = [];
  /** What its script threw. */
  readonly errors: string[] = [];
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<Reply>>();
  #loaded = Promise.withResolvers<void>();
  #nextId = 1;

  private constructor(child: ChildProcess, folder: string, socket: WebSocket) {
    this.#child = child;
    this.#folder = folder;
    this.#socket = socket;
    socket.onclose = () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser is gone'));
      this.#loaded.reject(new Error('the browser is gone'));
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(String(data)) as Reply);
  }

  static async open(url: string): Promise<Browser> {
    const folder = mkdtempSync(path.join(tmpdir(), 'sim-page-'));
    const profile = `--user-data-dir=${folder}`;
    const args = [...FLAGS, SIZE, profile, '--remote-debugging-port=0', 'about:blank'];
    const child = spawn(COMMAND, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const base = await debuggerOf(child);
    const pages = (await (await fetch(`http://${base}/json`)).json()) as {
      readonly type: string;
      readonly webSocketDebuggerUrl: string;
    }[];
    const page = pages.find(({ type }) => type === 'page');
    const socket = new WebSocket(page?.webSocketDebuggerUrl ?? '');
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error('the browser does not talk'));
    });
    const browser = new Browser(child, folder, socket);
    for (const domain of ['Page', 'Runtime', 'Network']) await browser.send(`${domain}.enable`);
    await browser.send('Page.navigate', { url });
    await browser.#loaded.promise;
    return browser;
  }

  async send(method: string, params: object = {}): Promise<Readonly<Record<string, unknown>>> {
    const id = this.#nextId;
    this.#nextId += 1;
    const answer = Promise.withResolvers<Reply>();
    this.#waiting.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await answer.promise;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** The value of an expression in the page. */
  async ask<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
    })) as { readonly result: { readonly value: T }; readonly exceptionDetails?: object };
    if (exceptionDetails !== undefined) throw new Error(`${expression}: it throws`);
    return result.value;
  }

  /** A real click in the middle of what this selector finds first. */
  async click(selector: string): Promise<void> {
    const place = await this.ask<{ readonly x: number; readonly y: number }>(
      `(() => { const box = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect();
        return { x: box.x + box.width / 2, y: box.y + box.height / 2 }; })()`,
    );
    for (const type of ['mousePressed', 'mouseReleased']) {
      await this.send('Input.dispatchMouseEvent', {
        type,
        ...place,
        button: 'left',
        clickCount: 1,
      });
    }
  }

  async press(key: string): Promise<void> {
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', key, text: key });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key });
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    // Its profile goes anyhow, and a browser that ends by itself may do so before it answers.
    this.#loaded.promise.catch(() => undefined);
    if (this.#child.exitCode === null && this.#child.kill('SIGKILL')) await gone;
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #hear({ id, method, params, ...reply }: Reply): void {
    if (id !== undefined) this.#waiting.get(id)?.resolve(reply);
    if (method === 'Page.loadEventFired') this.#loaded.resolve();
    if (method === 'Network.requestWillBeSent') {
      this.requests.push((params as { request: { url: string } }).request.url);
    }
    if (method === 'Runtime.exceptionThrown') this.errors.push(JSON.stringify(params));
  }
}

/** Host and port of its DevTools, which it tells at its start. */
function debuggerOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('the browser does not start')), START_MS);
    const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream });
    lines.on('line', (line) => {
      const [, place] = /^DevTools listening on ws:\/\/([^/]+)\//.exec(line) ?? [];
      if (place === undefined) return;
      clearTimeout(late);
      resolve(place);
    });
    child.once('error', reject);
  });
}
