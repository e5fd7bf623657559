export type {
  EngineInfo,
  EngineStats,
  LogRecord,
  PacketCounts,
  Segment,
  SpeechSegment,
  Timings,
  Transcript,
  VadOptions,
  Versions,
} from '../index.js';
export { OpuscribeError, type OpuscribeErrorCode } from './error.js';
export type { TranscribeOptions } from './job.js';
export { transcribe } from './transcribe.js';
export { type PcmOptions, Transcriber, type TranscriberOptions } from './transcriber.js';
