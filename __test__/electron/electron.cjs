// A double of what the main process of Electron has: `app` and `utilityProcess`, as they are
// documented, and where that leaves it open, as the sources of Electron 33 have it
// (lib/browser/api/utility-process.ts, shell/browser/api/electron_api_utility_process.cc). Where
// versions differ it is the least forgiving.

const { spawn } = require('node:child_process');
const { EventEmitter } = require('node:events');
const { writeSync } = require('node:fs');
const { constants } = require('node:os');
const { join } = require('node:path');
const { PassThrough } = require('node:stream');
const { decoder, encode } = require('./wire.cjs');

const { ELECTRON_DOUBLE_READY, ELECTRON_DOUBLE_ALIVE, ELECTRON_DOUBLE_LATE_STDERR } = process.env;
const BOOTSTRAP = join(__dirname, 'utility.cjs');
const KINDS = ['inherit', 'pipe', 'ignore'];

/** What tests look at. Emits 'fork' with each utility process. */
const observed = Object.assign(new EventEmitter(), {
  forks: [],
  forksAfterQuit: 0,
  childForks: 0,
  posted: 0,
  postedBytes: 0,
  received: 0,
});

/** Processes that have not ended. */
const living = new Set();
let hasQuit = false;

class App extends EventEmitter {
  #isReady = false;
  #ready = new Promise((resolve) => {
    this.once('ready', resolve);
  });

  isReady() {
    return this.#isReady;
  }

  whenReady() {
    return this.#ready;
  }

  /** Electron does this on its own, some time after the main script has run. */
  becomeReady() {
    this.#isReady = true;
    this.emit('ready', {});
  }

  quit() {
    setImmediate(() => {
      for (const name of ['before-quit', 'will-quit']) {
        const event = { defaultPrevented: false };
        event.preventDefault = () => {
          event.defaultPrevented = true;
        };
        this.emit(name, event);
        if (event.defaultPrevented) return;
      }
      this.exit();
    });
  }

  exit(code = 0) {
    hasQuit = true;
    this.emit('quit', {}, code);
    // Scripts still run, and hear of it.
    for (const child of [...living]) child.shutDown();
    setImmediate(() => process.exit(code));
  }
}

class UtilityProcess extends EventEmitter {
  #pid;
  #stdout = null;
  #stderr = null;
  /** What was posted before there was a process. */
  #queue = [];
  #pipe;
  #wasKilled = false;
  #state = 'starting';

  constructor(modulePath, args, options) {
    super();
    const { stdio } = options;
    if (stdio[1] === 'pipe') this.#stdout = new PassThrough();
    if (stdio[2] === 'pipe') this.#stderr = new PassThrough();
    living.add(this);
    // Another thread starts it.
    setImmediate(() => this.#spawn(modulePath, args, options));
  }

  get pid() {
    return this.#pid;
  }

  get stdout() {
    return this.#stdout;
  }

  get stderr() {
    return this.#stderr;
  }

  postMessage(message) {
    // In Electron 44 a null pointer: https://github.com/electron/electron/issues/53923
    if (this.#state === 'exiting') {
      writeSync(2, "the double: postMessage() inside 'exit' ends Electron's main process\n");
      process.kill(process.pid, 'SIGSEGV');
    }
    if (this.#state === 'gone') return;
    const encoded = encode(message);
    observed.posted += 1;
    observed.postedBytes += encoded.length;
    if (this.#pipe) this.#pipe.write(encoded);
    else this.#queue.push(encoded);
  }

  /** Does nothing before 'spawn': https://github.com/electron/electron/issues/44009 */
  kill() {
    if (this.#pid === undefined) return false;
    this.#wasKilled = process.kill(this.#pid, 'SIGTERM');
    return this.#wasKilled;
  }

  /** What Electron does with every one of them when the app quits. */
  shutDown() {
    const pid = this.#pid;
    this.#terminated(0);
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  }

  #spawn(modulePath, args, { env, execArgv = [], cwd, stdio }) {
    if (this.#state === 'gone') return;
    const flags = [...execArgv, '--unhandled-rejections=warn-with-error-code'];
    const child = spawn(process.execPath, [...flags, BOOTSTRAP, modulePath, ...args], {
      // No variable at all counts as none given.
      env: Object.keys(env ?? {}).length > 0 ? env : process.env,
      cwd,
      // Who reads the end of the last pipe knows when every process is gone.
      stdio: [...stdio, 'pipe', ...(ELECTRON_DOUBLE_ALIVE ? [Number(ELECTRON_DOUBLE_ALIVE)] : [])],
    });
    const receive = decoder((message) => {
      if (this.#state !== 'running') return;
      observed.received += 1;
      this.emit('message', message);
    });
    this.#pipe = child.stdio[3];
    this.#pipe.on('data', receive).on('error', () => {});
    for (const stream of [child, ...child.stdio]) stream?.unref?.();
    const late = ELECTRON_DOUBLE_LATE_STDERR === 'yes';
    const [stdout, stderr] = [this.#stdout, this.#stderr];
    child.stdout?.pipe(stdout);
    if (!late) child.stderr?.pipe(stderr);
    child.once('spawn', () => {
      if (this.#state === 'gone') return;
      this.#pid = child.pid;
      this.#state = 'running';
      for (const encoded of this.#queue.splice(0)) this.#pipe.write(encoded);
      this.emit('spawn');
    });
    child.once('exit', (code, signal) => {
      this.#terminated(signal === null ? code : this.#codeOf(constants.signals[signal]));
      // That it has ended may be known before what it printed is read.
      if (late) child.stderr?.pipe(stderr);
    });
  }

  /** Of a signal, what waitpid says; a process that was asked to end has ended well. */
  #codeOf(signal) {
    const { SIGKILL, SIGTERM } = constants.signals;
    return this.#wasKilled && (signal === SIGTERM || signal === SIGKILL) ? 0 : signal;
  }

  #terminated(code) {
    if (!living.delete(this)) return;
    this.#pid = undefined;
    this.#state = 'exiting';
    try {
      this.emit('exit', code);
    } finally {
      this.#state = 'gone';
      for (const stream of [this.#stdout, this.#stderr]) stream?.removeAllListeners();
      this.#stdout = null;
      this.#stderr = null;
    }
  }
}

function fork(modulePath, args = [], options = {}) {
  if (!Array.isArray(args)) return fork(modulePath, [], args);
  if (!modulePath) throw new Error('Missing UtilityProcess entry script.');
  const { env, execArgv, serviceName } = options;
  if (execArgv != null && !Array.isArray(execArgv)) {
    throw new Error('execArgv must be an array of strings.');
  }
  if (serviceName != null && typeof serviceName !== 'string') {
    throw new Error('serviceName must be a string.');
  }
  const stdio = checkedStdio(options.stdio ?? 'inherit');
  if (!app.isReady()) {
    throw new TypeError('utilityProcess cannot be created before app is ready.');
  }
  if (env !== undefined && Object.values(env).some((value) => typeof value !== 'string')) {
    throw new TypeError('Invalid value for env');
  }
  if (hasQuit) observed.forksAfterQuit += 1;
  const child = new UtilityProcess(modulePath, args, { ...options, stdio });
  observed.forks.push({ modulePath, options, child });
  observed.emit('fork', child);
  return child;
}

function checkedStdio(stdio) {
  const all = typeof stdio === 'string' ? ['ignore', stdio, stdio] : stdio;
  if (all.length < 3) throw new Error('configuration missing for stdin, stdout or stderr.');
  if (all[0] !== 'ignore') throw new Error('stdin value other than ignore is not supported.');
  if (!KINDS.includes(all[1]) || !KINDS.includes(all[2])) {
    throw new Error(`stdio must be of the following values: ${KINDS.join(', ')}`);
  }
  return all.slice(0, 3);
}

const app = new App();
if (ELECTRON_DOUBLE_READY !== 'never') setImmediate(() => app.becomeReady());

module.exports = { app, utilityProcess: { fork }, observed };
