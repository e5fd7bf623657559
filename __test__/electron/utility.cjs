// What a utility process of the double runs first: makes `process` that of Electron's, then runs the
// module that was forked.

const { EventEmitter } = require('node:events');
const { Socket } = require('node:net');
const { resolve } = require('node:path');
const { pathToFileURL } = require('node:url');
const { disguise } = require('./disguise.cjs');
const { decoder, encode } = require('./wire.cjs');

class ParentPort extends EventEmitter {
  #pipe = new Socket({ fd: 3 });
  /** Messages wait until there is somebody to hear them. */
  #waiting = [];
  #started = false;

  constructor() {
    super();
    const receive = decoder((data) => {
      this.#waiting.push({ data, ports: [] });
      this.#deliver();
    });
    this.#pipe.on('data', receive);
    this.#pipe.on('error', () => {});
    // Chromium ends a process whose parent is gone, without asking it.
    this.#pipe.on('close', () => process.kill(process.pid, 'SIGKILL'));
    this.on('newListener', (name) => {
      if (name === 'message') process.nextTick(() => this.start());
    });
    this.on('removeListener', (name) => {
      if (name === 'message' && this.listenerCount('message') === 0) this.pause();
    });
  }

  start() {
    this.#started = true;
    this.#deliver();
  }

  pause() {
    this.#started = false;
  }

  postMessage(message) {
    this.#pipe.write(encode(message));
  }

  #deliver() {
    while (this.#started && this.#waiting.length > 0) this.emit('message', this.#waiting.shift());
  }
}

disguise('utility');
Object.defineProperty(process, 'parentPort', { enumerable: true, value: new ParentPort() });
process.argv.splice(1, 1);
// Relative to the working directory, and ES modules too, as Electron has it.
import(pathToFileURL(resolve(process.argv[1])).href).catch((error) => {
  process.nextTick(() => {
    throw error;
  });
});
