// The other Node addons as peers of the bench, each with its own defaults:
//
//     node node_addons.mjs FOLDER whisper.node|smart-whisper|transcribe-cpp
//
// FOLDER has the node_modules that setup.mjs fills.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { floats, samples, serve } from './serve.mjs';

const [folder, name] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const ADDONS = {
  'whisper.node': whisperNode,
  'smart-whisper': smartWhisper,
  'transcribe-cpp': transcribeCpp,
};

await serve(ADDONS[name]());

/** Calls that are made at once wait for each other on a mutex of the context. */
function whisperNode() {
  const { initWhisper } = require('@fugood/whisper.node');
  let context;
  let maxThreads;
  return {
    async open({ ggml, threads }) {
      context = await initWhisper({ filePath: ggml, useGpu: false });
      maxThreads = threads;
      return versions('@fugood/whisper.node');
    },
    load: (recording) => samples(recording).buffer,
    async run(pcm, language) {
      const options = { language: language ?? 'auto', maxThreads };
      const { result } = await context.transcribeData(pcm, options).promise;
      return { text: result.trim() };
    },
  };
}

/** A call has a state of its own, and so runs beside the others. */
function smartWhisper() {
  const { Whisper } = require('smart-whisper');
  let whisper;
  let n_threads;
  return {
    async open({ ggml, threads }) {
      // It forgets a model that rests for so many seconds.
      whisper = new Whisper(ggml, { gpu: false, offload: 86_400 });
      await whisper.load();
      n_threads = threads;
      return versions('smart-whisper');
    },
    load: floats,
    async run(pcm, language) {
      const task = await whisper.transcribe(pcm, { language: language ?? 'auto', n_threads });
      const segments = await task.result;
      return {
        text: segments
          .map(({ text }) => text)
          .join('')
          .trim(),
      };
    },
  };
}

/** Calls that are made at once wait for each other in the package. */
function transcribeCpp() {
  let session;
  let detects;
  return {
    async open({ ggml, threads }) {
      // A package of ES modules alone, which `require.resolve` does not find.
      const entry = join(folder, 'node_modules', 'transcribe-cpp', 'dist', 'index.js');
      const { TranscribeModel } = await import(pathToFileURL(entry).href);
      const model = await TranscribeModel.load(ggml, { backend: 'cpu' });
      session = model.createSession({ nThreads: threads });
      detects = model.capabilities.supportsLanguageDetect;
      return versions('transcribe-cpp');
    },
    load: floats,
    async run(pcm, language) {
      const chosen = detects && language !== null ? { language } : {};
      return { text: (await session.run(pcm, chosen)).text.trim() };
    },
  };
}

function versions(packageName) {
  const file = join(folder, 'node_modules', packageName, 'package.json');
  return { versions: { [packageName]: JSON.parse(readFileSync(file, 'utf8')).version } };
}
