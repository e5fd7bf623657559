// The renderer's half: microphone to Opus packets, events to captions. It runs in a browser, with a
// WebSocket, as it does in Electron, where a preload script gives `window.captions` instead.

/** Of a packet; Opus has no others that WebCodecs takes between 10 and 60 ms. */
const FRAME_MICROSECONDS = 20_000;

const show = (id, text) => {
  document.getElementById(id).textContent = text;
};

const wire = window.captions ?? (await overWebSocket(`ws://${location.host}`));
wire.onEvent((event) => {
  if (event.type === 'speech-start') show('state', 'Somebody speaks');
  else if (event.type === 'speech-end') show('state', 'Silence');
  else if (event.type === 'interim') {
    show('committed', event.committed);
    show('tentative', event.tentative);
  } else if (event.type === 'final') {
    show('committed', '');
    show('tentative', '');
    const paragraph = document.createElement('p');
    paragraph.textContent = event.transcript.text;
    document.getElementById('finals').append(paragraph);
  }
});
await listen((packet) => wire.send(packet));

/** Sends each packet as soon as it is encoded. */
async function listen(send) {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true });
  const [track] = media.getAudioTracks();
  const { sampleRate, channelCount } = track.getSettings();
  const encoder = new AudioEncoder({
    output(chunk) {
      const packet = new Uint8Array(chunk.byteLength);
      chunk.copyTo(packet);
      send(packet);
    },
    error: (error) => show('state', error.message),
  });
  encoder.configure({
    codec: 'opus',
    sampleRate,
    numberOfChannels: channelCount,
    bitrate: 32_000,
    opus: { frameDuration: FRAME_MICROSECONDS },
  });
  show('state', 'Listening');
  const samples = new MediaStreamTrackProcessor({ track }).readable;
  for await (const audio of samples) {
    encoder.encode(audio);
    audio.close();
  }
}

async function overWebSocket(url) {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`cannot connect to ${url}`));
  });
  return {
    send: (packet) => socket.send(packet),
    onEvent(take) {
      socket.onmessage = ({ data }) => take(JSON.parse(data));
    },
  };
}
