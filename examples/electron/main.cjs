// Speech to text in the main process of Electron. The models are in a utility process: what crashes
// or hangs there, a driver for instance, is replaced, and no window freezes.
//
//     npx electron examples/electron/main.cjs FILE     Ogg, WebM, WAV, FLAC, MP3, M4A
//
// Needs setup's model. examples/captions/preload.cjs brings a window's microphone to here.

const { app } = require('electron');
// Not 'opuscribe', which would load the addon into this process.
const { IsolatedTranscriber } = require('opuscribe/isolated');

async function main() {
  // Electron starts no process before.
  await app.whenReady();
  // One for the whole app: it loads the models once.
  const transcriber = await IsolatedTranscriber.open({
    model: 'tiny.en',
    onCrash: ({ explanation, path }) => console.error(`replaced: ${explanation}; see ${path}`),
  });
  // By its path: the worker reads it. From a window come packets, for transcribe() or a stream.
  const { text } = await transcriber.transcribeFile(process.argv.at(-1));
  console.log(text);
  // In an app with windows on 'will-quit', whose default is prevented until this is done.
  await transcriber.close();
}

main().then(
  () => app.quit(),
  (error) => {
    console.error(error);
    app.exit(1);
  },
);
