// A process of ours and the messages to and from it: one of Node's child processes, or of Electron's
// utility processes where there are any.

import { type ChildProcess, fork } from 'node:child_process';
import { electron, startUtility } from './utility_process.js';

/** How a process ended. */
export interface Exit {
  /** What it exited with; `null` when a signal ended it, or it never began. */
  code: number | null;
  signal: string | null;
}

export interface Listeners<Report> {
  onReport(report: Report): void;
  /** The end of what it printed. */
  onPrinted(text: string): void;
  /** Called once, behind the last report. */
  onExit(exit: Exit): void;
}

export interface OwnProcess<Order> {
  readonly pid: number | undefined;
  send(order: Order): void;
  /** At once, whatever it is doing; `onExit` follows. */
  kill(): void;
}

export type Environment = Record<string, string | undefined>;

/** What a process has sent is there so long after its end, or never comes. */
export const LAST_WORDS_MS = 1000;

/** Starts a process that runs the file `main`, and keeps this one alive in no way. Throws nothing. */
export function start<Order extends object, Report>(
  main: string,
  env: Environment,
  listeners: Listeners<Report>,
): OwnProcess<Order> {
  const module = electron();
  const all = merged(env);
  return module ? startUtility(module, main, all, listeners) : startChild(main, all, listeners);
}

function startChild<Order extends object, Report>(
  main: string,
  env: Environment,
  { onReport, onPrinted, onExit }: Listeners<Report>,
): OwnProcess<Order> {
  let child: ChildProcess;
  try {
    child = fork(main, [], {
      env,
      // Loaders and debuggers are this process's own.
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
  } catch (error) {
    onPrinted(String(error));
    setImmediate(() => onExit({ code: null, signal: null }));
    return { pid: undefined, send() {}, kill() {} };
  }
  child.on('message', (report) => onReport(report as Report));
  child.stderr?.setEncoding('utf8').on('data', onPrinted);
  const ended = once(onExit);
  child.on('error', (error) => {
    onPrinted(String(error));
    // No process, no exit.
    if (child.pid === undefined) ended({ code: null, signal: null });
  });
  child.on('exit', (code, signal) => {
    const exit = { code, signal };
    // What it has sent and printed may still be on its way.
    child.once('close', () => {
      if (child.connected) child.once('disconnect', () => ended(exit));
      else setImmediate(() => ended(exit));
    });
    setTimeout(() => ended(exit), LAST_WORDS_MS).unref();
  });
  child.unref();
  child.channel?.unref();
  (child.stderr as unknown as { unref?(): void } | null)?.unref?.();
  return {
    pid: child.pid,
    // Whether it arrives shows in the answer, or in the end of the process.
    send: (order) => void (child.connected && child.send(order, () => {})),
    kill: () => void child.kill('SIGKILL'),
  };
}

/** `undefined` takes a variable away. */
function merged(env: Environment): Environment {
  const all = Object.entries({ ...process.env, ...env });
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

export function once<Argument>(call: (argument: Argument) => void): (argument: Argument) => void {
  let called = false;
  return (argument) => {
    if (called) return;
    called = true;
    call(argument);
  };
}
