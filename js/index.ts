export type {
  EngineInfo,
  EngineStats,
  LogRecord,
  PacketCounts,
  Segment,
  SpeechSegment,
  SplitOptions,
  Timings,
  Transcript,
  VadOptions,
  Versions,
} from '../index.js';
export { OpusDemuxer, type OpusDemuxerOptions } from './demuxer.js';
export { OpuscribeError, type OpuscribeErrorCode } from './error.js';
export { splitPackets } from './framing.js';
export type { TranscribeOptions } from './job.js';
export { transcribe } from './transcribe.js';
export { type PcmOptions, Transcriber, type TranscriberOptions } from './transcriber.js';
