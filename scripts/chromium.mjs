// Drives a headless Chromium through its DevTools pipe: for the recorder of fixtures and for a test.

import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Starts a browser whose microphone is a WAV file, played once from the moment it is opened. */
export async function startBrowser(program, microphone, profile) {
  const child = spawn(
    program,
    [
      '--headless=new',
      '--no-sandbox',
      '--no-first-run',
      '--disable-gpu',
      `--user-data-dir=${profile}`,
      '--remote-debugging-pipe',
      '--autoplay-policy=no-user-gesture-required',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-audio-capture=${microphone}%noloop`,
    ],
    // It reads commands from descriptor 3 and writes answers to 4.
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
  );
  const exited = once(child, 'exit').catch((error) => {
    throw new Error(`cannot run ${program}: ${error.message}`);
  });
  const [, , , commands, answers] = child.stdio;
  const waiting = new Map();
  let lastId = 0;
  let buffered = '';
  answers.setEncoding('utf8').on('data', (text) => {
    const messages = (buffered + text).split('\0');
    buffered = messages.pop();
    for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
      // Without an id it is an event.
      const { resolve, reject } = waiting.get(id) ?? {};
      waiting.delete(id);
      if (error) reject?.(new Error(error.message));
      else resolve?.(result);
    }
  });
  const ended = (why) => {
    for (const { reject } of waiting.values()) reject(why);
  };
  exited.then(() => ended(new Error('the browser ended')), ended);

  function send(method, params = {}, sessionId = undefined) {
    lastId += 1;
    commands.write(`${JSON.stringify({ id: lastId, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => {
      waiting.set(lastId, { resolve, reject });
    });
  }

  /** A page, in which `call` runs a function, with one argument. */
  async function open(url) {
    const { targetId } = await send('Target.createTarget', { url });
    const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
    await send('Page.enable', {}, sessionId);
    const call = async (run, argument) => {
      const expression = `(${run})(${JSON.stringify(argument)})`;
      const { result, exceptionDetails } = await send(
        'Runtime.evaluate',
        { expression, awaitPromise: true, returnByValue: true, userGesture: true },
        sessionId,
      );
      if (exceptionDetails) {
        throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      }
      return result.value;
    };
    // The page may still be blank, and a blank page has no microphone.
    while (!(await call(() => document.readyState === 'complete' && isSecureContext))) {
      await new Promise((done) => setTimeout(done, 50));
    }
    const screenshot = async () => {
      const { data } = await send('Page.captureScreenshot', { format: 'png' }, sessionId);
      return Buffer.from(data, 'base64');
    };
    return { call, screenshot };
  }

  async function close() {
    await send('Browser.close').catch(() => {});
    await exited;
  }

  return { send, open, close };
}
