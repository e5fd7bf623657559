export type { EngineStats, PcmOptions } from '../base.js';
export { OpuscribeError, type OpuscribeErrorCode } from '../error.js';
export type { TranscribeOptions } from '../job.js';
export type { StreamEvent, StreamOptions, TranscriptionStream } from '../stream.js';
export type { CircuitOptions } from './circuit.js';
export type { CrashedJob, CrashReport } from './crash.js';
export type { CrashReportOptions } from './crash_files.js';
export {
  type IsolatedStats,
  IsolatedTranscriber,
  type IsolatedTranscriberOptions,
  type WorkerStats,
} from './transcriber.js';
export type { RecycleOptions, WorkerState } from './worker.js';
