// Live captions: a page sends its microphone as Opus packets, and gets events back.
//
//     node examples/captions/server.mjs [--model tiny.en] [--port 8080]
//
// Needs the package ws, and setup's model. A stream for each page, one transcriber for all.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Transcriber } from 'opuscribe';
import { WebSocketServer } from 'ws';

const FILES = { '/': 'index.html', '/captions.mjs': 'captions.mjs' };
const TYPES = { html: 'text/html', mjs: 'text/javascript' };

/** Serves the page; resolves when it can be opened. */
export async function serve(transcriber, port = 0) {
  const server = createServer(async (request, response) => {
    const file = FILES[new URL(request.url, 'http://localhost').pathname];
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    const body = await readFile(new URL(file, import.meta.url));
    response.writeHead(200, { 'content-type': TYPES[file.split('.').at(-1)] }).end(body);
  });
  new WebSocketServer({ server }).on('connection', (socket) => caption(transcriber, socket));
  await new Promise((resolve) => server.listen(port, 'localhost', resolve));
  return server;
}

async function caption(transcriber, socket) {
  const stream = transcriber.createStream();
  socket.on('message', (packet) => {
    // A page that sends more than can be heard is not read until it is.
    if (!stream.write(packet)) {
      socket.pause();
      stream.once('drain', () => socket.resume());
    }
  });
  socket.on('close', () => stream.destroy());
  try {
    for await (const event of stream) {
      // A page that does not read makes its stream wait.
      await new Promise((resolve) => socket.send(JSON.stringify(event), resolve));
    }
  } catch (error) {
    socket.close(1011, error.code);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'tiny.en' },
      port: { type: 'string', default: '8080' },
    },
  });
  const transcriber = await Transcriber.open({ model: values.model });
  const server = await serve(transcriber, Number(values.port));
  console.log(`http://localhost:${server.address().port}/`);
}
