// A peer is a process that lives as long as the bench and answers one JSON object a line:
//
//     {"open":{"model","ggml","ct2","threads","variant"}}  {"ready":true,"ms","versions"}
//     {"run":{"wav","packets","language"}}                 {"text","ms","cpuMs"}
//     {"many":{"recordings":[…],"inFlight"}}               {"ms","cpuMs"}
//     {"peak":{}}                                          {"peakMb"}
//
// `ms` is until the text is there, `cpuMs` the processor time of the whole process meanwhile; files
// are read before either begins. An answer may be {"error"} instead. The process ends with its
// stdin.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const KEPT_STDERR_CHARACTERS = 2000;

export class Child {
  #process;
  #stderr = '';
  #waiting;
  #ended;

  constructor({ command, args, env = {} }) {
    this.#process = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_STDERR_CHARACTERS);
    });
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#take(line));
    // Writing to a process that has died is an error of the stream; its end is told below.
    this.#process.stdin.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      this.#process.on('error', (error) => resolve(error.message));
      this.#process.on('close', (code, signal) =>
        resolve(`ended with ${signal ?? `code ${code}`}`),
      );
    });
    this.#ended.then((how) => this.#fail(how));
  }

  /** One request at a time. */
  ask(request, timeoutS) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(`gave no answer in ${timeoutS} s`);
        this.#process.kill('SIGKILL');
      }, 1000 * timeoutS);
      const settle = (how) => (value) => {
        clearTimeout(timer);
        this.#waiting = undefined;
        how(value);
      };
      this.#waiting = { resolve: settle(resolve), reject: settle(reject) };
      this.#process.stdin.write(`${JSON.stringify(request)}\n`);
      if (this.#process.exitCode !== null || this.#process.signalCode !== null) this.#fail('ended');
    });
  }

  async close() {
    this.#process.stdin.end();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 10_000);
    await this.#ended;
    clearTimeout(timer);
  }

  /** What a library prints to stdout is no answer. */
  #take(line) {
    let answer;
    try {
      answer = JSON.parse(line);
    } catch {
      return;
    }
    if (answer?.error === undefined) this.#waiting?.resolve(answer);
    else this.#fail(answer.error);
  }

  #fail(how) {
    const said = this.#stderr.trim().split('\n').slice(-3).join(' / ');
    this.#waiting?.reject(new Error(said === '' ? how : `${how}; it said: ${said}`));
  }
}
