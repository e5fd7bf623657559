// Isolated transcribers that are watched and hurt.

import { setImmediate, setInterval } from 'node:timers/promises';
import type { LogRecord } from 'opuscribe';
import {
  type CrashReport,
  IsolatedTranscriber,
  type IsolatedTranscriberOptions,
} from 'opuscribe/isolated';

/** What a transcriber told besides its answers. */
export class Watched {
  readonly crashes: CrashReport[] = [];
  readonly log: LogRecord[] = [];
  readonly #waiting: (() => void)[] = [];

  async open(options: Partial<IsolatedTranscriberOptions> = {}): Promise<IsolatedTranscriber> {
    return IsolatedTranscriber.open({
      model: 'tiny.en',
      crashReports: false,
      onLog: (record) => this.#tell(() => this.log.push(record)),
      onCrash: (report) => this.#tell(() => this.crashes.push(report)),
      ...options,
    });
  }

  #tell(note: () => void): void {
    note();
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async until(condition: () => boolean): Promise<void> {
    // A transcriber that has nothing to do does not keep the process alive.
    const alive = globalThis.setInterval(() => {}, 1e6);
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    clearInterval(alive);
  }
}

export function pids(transcriber: IsolatedTranscriber): number[] {
  return transcriber.stats().workers.flatMap(({ pid }) => pid ?? []);
}

export function kill(transcriber: IsolatedTranscriber, signal: NodeJS.Signals = 'SIGKILL'): void {
  for (const pid of pids(transcriber)) process.kill(pid, signal);
}

/** Looks until there is nobody any more. */
export async function gone(pid: number): Promise<void> {
  for await (const _ of setInterval(20)) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
  }
}

/** Calls back as soon as the job is under way. */
export function started(transcriber: IsolatedTranscriber): Promise<void> {
  return (async () => {
    while (transcriber.stats().running === 0) await setImmediate();
  })();
}
