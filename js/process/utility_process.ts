// Electron's utility processes. Nothing of Electron is named elsewhere.

import { constants } from 'node:os';
import {
  type Environment,
  type Exit,
  LAST_WORDS_MS,
  type Listeners,
  type OwnProcess,
  once,
} from './process.js';

/** What of Electron's module is used, as its documentation has it. */
interface UtilityProcess {
  readonly pid: number | undefined;
  readonly stderr: NodeJS.ReadableStream | null;
  postMessage(message: unknown): void;
  on(event: 'spawn', listener: () => void): this;
  on(event: 'message', listener: (message: unknown) => void): this;
  on(event: 'exit', listener: (code: number) => void): this;
  on(event: 'error', listener: (type: string, location: string, report: string) => void): this;
}
interface ForkOptions {
  env: Environment;
  execArgv: string[];
  stdio: ('ignore' | 'pipe')[];
  serviceName: string;
}
export interface Electron {
  utilityProcess: { fork(path: string, args: string[], options: ForkOptions): UtilityProcess };
  app: {
    isReady(): boolean;
    once(event: 'quit', listener: () => void): unknown;
  };
}

/** Electron's module, where utility processes can be started: in the main process alone. */
export function electron(): Electron | undefined {
  const { type } = process as NodeJS.Process & { type?: string };
  if (process.versions.electron === undefined || type !== 'browser') return undefined;
  const module = require('electron') as Partial<Electron>;
  return module.utilityProcess && module.app ? (module as Electron) : undefined;
}

/** Whether Electron would start processes at the moment. */
export function isReady(): boolean {
  return electron()?.app.isReady() ?? true;
}

export function startUtility<Order extends object, Report>(
  { utilityProcess, app }: Electron,
  path: string,
  env: Environment,
  { onReport, onPrinted, onExit }: Listeners<Report>,
): OwnProcess<Order> {
  let child: UtilityProcess;
  try {
    child = utilityProcess.fork(path, [], {
      env,
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe'],
      serviceName: 'opuscribe',
    });
  } catch (error) {
    onPrinted(String(error));
    setImmediate(() => onExit({ code: null, signal: null }));
    return { pid: undefined, send() {}, kill() {} };
  }
  // Electron forgets both when the process has ended.
  const { stderr } = child;
  let pid: number | undefined;
  let isOver = false;
  let isUnwanted = false;
  const quitting = watchQuit(app);
  // Electron's own kill asks politely, which a process that hangs does not hear, and does nothing
  // before the process is there.
  const end = () => pid !== undefined && !isOver && kill(pid);
  child.on('spawn', () => {
    pid = child.pid;
    if (isUnwanted) end();
  });
  child.on('message', (report) => onReport(report as Report));
  const print = (text: unknown) => onPrinted(String(text));
  stderr?.setEncoding('utf8').on('data', print);
  child.on('error', (type, location) => onPrinted(`${type} at ${location}`));
  const ended = once(onExit);
  child.on('exit', (code) => {
    isOver = true;
    // The application takes its processes along, which is no crash.
    if (quitting.now) return;
    const exit = fromStatus(code);
    // Electron takes the listeners away now, and there may be something left to read.
    process.nextTick(() => {
      stderr?.on('data', print).once('end', () => ended(exit));
      if (stderr?.readable) setTimeout(() => ended(exit), LAST_WORDS_MS);
      else ended(exit);
    });
  });
  return {
    get pid() {
      return pid;
    },
    // A message to a process that has ended would take this one along.
    send: (order) => {
      if (!isOver) child.postMessage(order);
    },
    kill: () => {
      isUnwanted = true;
      end();
    },
  };
}

const quits = new WeakMap<Electron['app'], { now: boolean }>();

/** Whether the application is quitting; listens once, for any number of processes. */
function watchQuit(app: Electron['app']): { now: boolean } {
  const known = quits.get(app);
  if (known) return known;
  const quitting = { now: false };
  quits.set(app, quitting);
  app.once('quit', () => {
    quitting.now = true;
  });
  return quitting;
}

/** Signals by which native code ends, or is ended. */
const SIGNALS = [
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGKILL',
  'SIGSEGV',
  'SIGTERM',
];

/** Other than Node, Electron gives what waitpid said where there is one. */
function fromStatus(status: number): Exit {
  if (process.platform === 'win32') return { code: status, signal: null };
  const numbers: Record<string, number> = constants.signals;
  // Bit 7 says that there is a core dump.
  const signal = SIGNALS.find((name) => numbers[name] === (status & 127));
  if (signal !== undefined && status < 256) return { code: null, signal };
  return { code: status < 256 ? status : status >> 8, signal: null };
}

/** The process may be gone already. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {}
}
