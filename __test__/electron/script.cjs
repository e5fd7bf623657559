// What the scripts of electron.spec.ts begin with. Nothing of it loads the addon into the process.

const assert = require('node:assert/strict');
const events = require('node:events');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const electron = require('electron');
const { IsolatedTranscriber } = require('opuscribe/isolated');

const crashes = [];

const fixture = (file) => join(__dirname, '..', 'fixtures', file);

function packets(name) {
  const bytes = readFileSync(fixture(`${name}.packets`));
  const found = [];
  for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16LE(at)) {
    found.push(bytes.subarray(at + 2, at + 2 + bytes.readUInt16LE(at)));
  }
  return found;
}

function open(options) {
  return IsolatedTranscriber.open({
    model: 'tiny.en',
    crashReports: false,
    onCrash: (crash) => crashes.push(crash),
    ...options,
  });
}

/** The text of 40 s of speech. When Whisper is at work, something is done to the worker, once. */
async function long(transcriber, meanwhile = () => {}) {
  const [{ pid }] = transcriber.stats().workers;
  const told = [];
  const { text, segments } = await transcriber.transcribe(packets('libri_moses').slice(0, 2000), {
    onSegment: (segment) => {
      if (told.push(segment) === 1) meanwhile(pid);
    },
  });
  // Each once, also of a job that ran twice.
  assert.deepEqual(told, segments);
  return text;
}

/** Electron's main process stays; the double's ends when nothing of it is left to wait for. */
async function hold(promise) {
  const stay = setInterval(() => {}, 2 ** 30);
  try {
    return await promise;
  } finally {
    clearInterval(stay);
  }
}

const once = (emitter, name) => hold(events.once(emitter, name));

const answer = (value) => console.log(JSON.stringify({ crashes, ...value }));

module.exports = { ...electron, answer, assert, fixture, hold, long, once, open, packets };
