import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import Module from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { Transcriber } from 'opuscribe';
import { recording } from './fixtures';
import { wordErrorRate } from './wer';

const BROWSERS = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'];
const browser = BROWSERS.find((path) => path !== undefined && existsSync(path));
/** Longer than the speech and its text take. */
const LIMIT_MS = 90_000;

interface Captions {
  finals: string;
  /** The most that was shown as committed before a final text. */
  committed: number;
}

/** Run in the page. */
const WATCH = `() => {
  const committed = document.getElementById('committed');
  window.most = 0;
  new MutationObserver(() => {
    window.most = Math.max(window.most, committed.textContent.length);
  }).observe(committed, { childList: true, characterData: true, subtree: true });
}`;
const READ = `() => ({
  finals: [...document.querySelectorAll('#finals p')].map((p) => p.textContent).join(' '),
  committed: window.most,
})`;

/** ES modules, which this CommonJS file imports at run time alone. */
const module = (path: string) => import(`../${path}.mjs`);

/** What the preload script exposes, in an Electron that is none but answers as it does. */
function preload(ipcRenderer: EventEmitter & { send?: (...sent: unknown[]) => void }) {
  const loaded = Module as unknown as { _load: (...request: unknown[]) => unknown };
  const original = loaded._load;
  let exposed: unknown;
  loaded._load = (request, ...rest) =>
    request === 'electron'
      ? {
          ipcRenderer,
          contextBridge: {
            exposeInMainWorld: (name: string, value: unknown) => {
              assert.equal(name, 'captions');
              exposed = value;
            },
          },
        }
      : original.call(Module, request, ...rest);
  try {
    require('../examples/captions/preload.cjs');
  } finally {
    loaded._load = original;
  }
  return exposed as { send: (packet: Uint8Array) => void; onEvent: (take: unknown) => void };
}

describe('the preload script', () => {
  it('carries packets to the main process and events back', () => {
    const ipcRenderer: Parameters<typeof preload>[0] = new EventEmitter();
    const sent: unknown[] = [];
    ipcRenderer.send = (...message) => sent.push(message);
    const captions = preload(ipcRenderer);
    captions.send(new Uint8Array([1, 2]));
    assert.deepEqual(sent, [['captions:packet', new Uint8Array([1, 2])]]);
    const taken: unknown[] = [];
    captions.onEvent((event: unknown) => taken.push(event));
    // Electron gives its own event first.
    ipcRenderer.emit('captions:event', { sender: {} }, { type: 'speech-start', atMs: 7 });
    assert.deepEqual(taken, [{ type: 'speech-start', atMs: 7 }]);
  });
});

describe('captions in a browser', () => {
  it('show what the microphone hears, encoded by WebCodecs and sent over a WebSocket', {
    skip: browser === undefined && 'no Chromium: install it, or let CHROMIUM name it',
    timeout: 2 * LIMIT_MS,
  }, async (t) => {
    const { serve } = await module('examples/captions/server');
    const { startBrowser } = await module('scripts/chromium');
    const work = mkdtempSync(join(tmpdir(), 'opuscribe-captions-'));
    const transcriber = await Transcriber.open({ model: 'tiny.en' });
    const server = await serve(transcriber);
    const microphone = join(__dirname, 'fixtures', 'jfk.wav');
    const chromium = await startBrowser(browser, microphone, join(work, 'profile'));
    try {
      const { port } = server.address() as AddressInfo;
      const page = await chromium.open(`http://localhost:${port}/`);
      await page.call(WATCH);
      const begun = performance.now();
      let shown: Captions;
      do {
        await setTimeout(200);
        shown = await page.call(READ);
        assert.ok(performance.now() - begun < LIMIT_MS, JSON.stringify(shown));
      } while (!/for your country\W*$/i.test(shown.finals));
      const { transcript } = recording('jfk');
      const rate = wordErrorRate([{ said: transcript, heard: shown.finals }]);
      t.diagnostic(`${rate.toFixed(1)} % of the words wrong: ${shown.finals}`);
      // A browser that gets no processor drops audio.
      assert.ok(rate <= 20, shown.finals);
      assert.ok(shown.committed > 0, 'nothing was shown as committed');
      const { CAPTIONS_SCREENSHOT } = process.env;
      const screenshot = await page.screenshot();
      assert.ok(screenshot.length > 1000);
      if (CAPTIONS_SCREENSHOT) writeFileSync(CAPTIONS_SCREENSHOT, screenshot);
    } finally {
      await chromium.close();
      server.closeAllConnections();
      server.close();
      await transcriber.close();
      rmSync(work, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});
