// What is known of a worker process that ended without being asked.

import { freemem, release, totalmem } from 'node:os';
import type { EngineCounters, EngineInfo, LogRecord } from '../../index.js';
import type { Exit } from '../process/process.js';

/** A job that a process was working on when it ended. Neither its audio nor a text. */
export interface CrashedJob {
  /** The job's id, or the stream's. */
  id: string;
  kind: 'packets' | 'pcm' | 'file' | 'stream';
  /** Bytes of its input; 0 for a file that is given by its path. */
  bytes: number;
  /** Packets, or samples. */
  count?: number;
  /** Its options; of a prompt only the length, in characters. */
  options: Record<string, unknown>;
  /** Processes that ended while it was running, this one included. */
  crashes: number;
  /** It will not run again. */
  rejected: boolean;
  /** Where its input was written, if it will not run again and that was asked for. */
  input?: string;
}

/** What is known of a worker process that ended without being asked, as it is written to a file. */
export interface CrashReport {
  /** Appears in the errors of the jobs that it cost, as `crashId`. */
  id: string;
  /** When it was noticed, ISO 8601. */
  time: string;
  /** What the process was doing: loading the models, or serving. */
  phase: 'starting' | 'serving';
  pid: number | undefined;
  uptimeMs: number;
  exitCode: number | null;
  signal: string | null;
  /** It answered no more and was killed. */
  hung: boolean;
  /** What the exit code or the signal means. */
  explanation: string;
  /** Whether memory ran out, by what it printed and logged last: of the process, or of a GPU. */
  outOfMemory: boolean;
  jobs: CrashedJob[];
  /** The last log records of the process, without the text of transcripts. */
  log: LogRecord[];
  /** The end of what it printed: the message of a failed assertion, for instance. */
  printed: string;
  versions: Record<string, string>;
  platform: string;
  /** What ran Whisper, once it was known. */
  device: string | undefined;
  /** Of the model file. */
  modelBytes: number | undefined;
  memory: {
    /** The process's resident memory when it was last heard of. */
    workerRssBytes: number | undefined;
    /** This process's. */
    rssBytes: number;
    freeBytes: number;
    totalBytes: number;
  };
  /** Where the report was written; missing if it was not. */
  path?: string;
}

/** What the supervisor knows. */
export interface Evidence {
  exit: Exit;
  pid: number | undefined;
  uptimeMs: number;
  phase: CrashReport['phase'];
  hung: boolean;
  /** Why it was killed by its supervisor. */
  verdict: string | undefined;
  printed: string;
  log: readonly LogRecord[];
  rssBytes: number | undefined;
  info: EngineInfo | undefined;
  counters: EngineCounters | undefined;
}

export function crashReport(evidence: Evidence, jobs: CrashedJob[]): CrashReport {
  const { exit, pid, info, hung, verdict } = evidence;
  const now = new Date();
  const stamp = now.toISOString().replace(/[-:.]/g, '');
  return {
    id: `crash-${stamp}-${process.pid}-${pid ?? 'none'}`,
    time: now.toISOString(),
    phase: evidence.phase,
    pid,
    uptimeMs: Math.round(evidence.uptimeMs),
    exitCode: exit.code,
    signal: exit.signal,
    hung,
    explanation: verdict === undefined ? explain(exit) : `${verdict}, and was killed`,
    outOfMemory: verdict === undefined && isOutOfMemory(evidence),
    jobs,
    log: evidence.log.map(withoutText),
    printed: evidence.printed,
    versions: versions(info),
    platform: `${process.platform} ${process.arch} ${release()}`,
    device: info?.device,
    modelBytes: info?.modelBytes,
    memory: {
      workerRssBytes: evidence.rssBytes,
      rssBytes: process.memoryUsage.rss(),
      freeBytes: freemem(),
      totalBytes: totalmem(),
    },
  };
}

function withoutText({ fields, ...record }: LogRecord): LogRecord {
  if (fields === undefined) return record;
  const { text: _, ...rest } = fields;
  return { ...record, fields: rest };
}

function versions(info: EngineInfo | undefined): Record<string, string> {
  const { node, v8, electron } = process.versions;
  return { ...info?.versions, node, v8, ...(electron && { electron }) };
}

/** What Vulkan's and CUDA's libraries, ggml, C++, Rust and V8 say when they cannot go on without it. */
const OUT_OF_MEMORY =
  /ErrorOutOf(Device|Host)Memory|out of memory|cudaMalloc failed|STATUS_ALLOC_FAILED|bad_alloc|memory allocation of (size )?\d+ (bytes )?failed|failed to allocate/i;
/** What comes last is what it ended of: Vulkan also tells of a try that it went on without. */
const LAST_RECORDS = 5;
const LAST_CHARACTERS = 500;

/** Told of what was caught, and is of a job that failed by itself. */
const SURVIVED = /^whisper\.cpp gave up:|^ggml_vulkan: .*(failed\.|ErrorOutOf\w+Memory)$/;

function isOutOfMemory({ printed, log }: Evidence): boolean {
  const errors = log.slice(-LAST_RECORDS).filter(({ level }) => level === 'error');
  const said = [
    ...printed.slice(-LAST_CHARACTERS).split('\n'),
    ...errors.map(({ message }) => message),
  ];
  return said.some((line) => OUT_OF_MEMORY.test(line) && !SURVIVED.test(line));
}

const SIGNALS: Record<string, string> = {
  SIGSEGV: 'access to memory that is not there (SIGSEGV): a fault in native code or a driver',
  SIGBUS: 'a bad access to memory (SIGBUS): a fault in native code, or a file that shrank',
  SIGILL: 'an instruction that this processor has not (SIGILL)',
  SIGFPE: 'an arithmetic error in native code (SIGFPE)',
  SIGABRT: 'native code gave up (SIGABRT): a failed assertion, or no memory; see what it printed',
  SIGKILL: 'killed (SIGKILL): by somebody, or by the system for want of memory',
  SIGTERM: 'asked to end (SIGTERM) by somebody else',
};

/** NTSTATUS values that a process ends with, from Microsoft's ntstatus.h. */
const WINDOWS: Record<number, string> = {
  3221225477: 'access violation (0xC0000005): a fault in native code or a driver',
  3221225501: 'an instruction that this processor has not (0xC000001D)',
  3221225495: 'no memory (0xC0000017)',
  3221225620: 'division by zero (0xC0000094)',
  3221225725: 'stack overflow (0xC00000FD)',
  3221225781: 'a library that was not found (0xC0000135)',
  3221225786: 'ended from its console (0xC000013A)',
  3221226356: 'the heap was found damaged (0xC0000374)',
  3221226505: 'native code gave up (0xC0000409): a failed assertion, or a damaged stack',
  3765269347: 'a C++ exception that nobody caught (0xE06D7363)',
};

export function explain({ code, signal }: Exit, platform: string = process.platform): string {
  if (signal !== null) return SIGNALS[signal] ?? `ended by ${signal}`;
  if (code === null) return 'it could not be started';
  if (platform === 'win32') {
    const status = code >>> 0;
    const known = WINDOWS[status];
    if (known !== undefined) return known;
    if (status >= 0x8000_0000) return `it ended with status 0x${status.toString(16).toUpperCase()}`;
    if (status === 3) return 'native code gave up (exit code 3): abort() was called';
  }
  if (code === 134) return SIGNALS.SIGABRT as string;
  if (code === 139) return SIGNALS.SIGSEGV as string;
  if (code === 0) return 'it ended by itself, without being asked (exit code 0)';
  return `it ended with exit code ${code}`;
}
