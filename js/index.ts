export type {
  EngineInfo,
  LogRecord,
  PacketCounts,
  Quantiles,
  Segment,
  SpeechSegment,
  SplitOptions,
  TimingQuantiles,
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
export {
  type EngineStats,
  type PcmOptions,
  Transcriber,
  type TranscriberOptions,
} from './transcriber.js';
