import type { EngineOptions } from '../../index.js';
import type { EngineStats, TranscriberOptions } from '../base.js';
import { BaseTranscriber, checkOpening, opening } from '../base.js';
import { openOn } from '../devices/open.js';
import { invalidArgument, unwrap } from '../error.js';
import { report } from '../job.js';
import { isReady } from '../process/utility_process.js';
import type { CircuitOptions } from './circuit.js';
import type { CrashReport } from './crash.js';
import { CrashFiles, type CrashReportOptions } from './crash_files.js';
import { checkIsolated } from './options.js';
import { Pool, type PoolOptions } from './pool.js';
import { sendable } from './protocol.js';
import type { RecycleOptions, WorkerState } from './worker.js';

/** How to open an isolated transcriber. */
export interface IsolatedTranscriberOptions extends TranscriberOptions, RecycleOptions {
  /**
   * Worker processes, 1 to 16, which share the queue. Each has models and threads of its own.
   * Default 1.
   */
  workers?: number;
  /**
   * Variables of the processes' environment, besides this process's; `undefined` takes one away.
   */
  env?: Record<string, string | undefined>;
  /**
   * A process that does not answer for so long is hung, and replaced: 2000 to 600000 ms. Inference
   * is no reason not to answer. Default 10000.
   */
  heartbeatTimeoutMs?: number;
  /** When to stop replacing processes that crash. */
  circuit?: CircuitOptions;
  /** Where crash reports are written; `false` writes none. */
  crashReports?: CrashReportOptions | false;
  /** Called with each crash, once its report is written. */
  onCrash?: (report: CrashReport) => void;
}

/** One of the worker processes. */
export interface WorkerStats {
  pid: number | undefined;
  state: WorkerState;
  /** Jobs and streams that it has. */
  jobs: number;
  streams: number;
  /** Processes that took its place so far. */
  restarts: number;
  uptimeMs: number;
  /** Resident memory when it was last heard of. */
  rssBytes: number;
}

/**
 * A snapshot of an isolated transcriber. `rssBytes` is this process and its workers together, and
 * `running` counts jobs that the workers have: up to four of each priority.
 */
export interface IsolatedStats extends EngineStats {
  /** Worker processes that ended without being asked. */
  crashes: number;
  workers: WorkerStats[];
}

/** Nobody can close it any more; what it was asked for is done first. */
const forgotten = new FinalizationRegistry<Pool>((pool) => void pool.close(true));

/**
 * A `Transcriber` whose models are in a process of their own, which is watched and replaced: a fault
 * in native code or in a driver, or a lack of memory there, does not touch this process.
 *
 * A job that a crash interrupts is run again, alone; one that was running at two crashes rejects
 * with `ERR_WORKER_CRASHED`. Live streams go on where they were.
 */
export class IsolatedTranscriber extends BaseTranscriber {
  readonly #pool: Pool;

  private constructor(pool: Pool) {
    if (!(pool instanceof Pool)) {
      throw invalidArgument('use IsolatedTranscriber.open(), which starts the workers');
    }
    super(pool);
    this.#pool = pool;
    forgotten.register(this, pool);
  }

  /** Starts the worker processes; resolves when each has loaded its models and run them once. */
  static async open(options: IsolatedTranscriberOptions): Promise<IsolatedTranscriber> {
    checkOpening(options);
    checkIsolated(options);
    if (!isReady()) {
      throw invalidArgument(
        'Electron is not ready to start processes; await app.whenReady() first',
      );
    }
    const {
      workers = 1,
      env = {},
      heartbeatTimeoutMs = 10_000,
      circuit = {},
      crashReports = {},
      onCrash,
      recycleAfterJobs,
      recycleAboveRssMb,
      ...rest
    } = options;
    const { options: engine, onnxRuntime, onLog, wish } = opening(rest);
    const pool: Omit<PoolOptions, 'engine'> = {
      onnxRuntime,
      onLog,
      onCrash: onCrash && ((crash) => report(onCrash, crash)),
      files: crashReports === false ? undefined : new CrashFiles(crashReports),
      workers,
      env,
      heartbeatTimeoutMs,
      recycle: {
        ...(recycleAfterJobs !== undefined && { recycleAfterJobs }),
        ...(recycleAboveRssMb !== undefined && { recycleAboveRssMb }),
      },
      circuit,
    };
    const plain = sendable(engine) as EngineOptions;
    const opened = await openOn({ ...wish, env }, (place) =>
      Pool.open({ ...pool, engine: { ...plain, ...place } }),
    );
    return new IsolatedTranscriber(unwrap(opened));
  }

  override stats(): IsolatedStats {
    const stats = super.stats();
    const workers = this.#pool.workers.map((worker) => ({
      pid: worker.child?.pid,
      state: worker.state,
      jobs: worker.jobs.size,
      streams: worker.streams.size,
      restarts: Math.max(0, worker.started - 1),
      uptimeMs: worker.child?.uptimeMs ?? 0,
      rssBytes: worker.child?.vitals?.rssBytes ?? 0,
    }));
    const rssBytes = workers.reduce((sum, worker) => sum + worker.rssBytes, stats.rssBytes);
    return { ...stats, rssBytes, crashes: this.#pool.crashes, workers };
  }
}
