export type {
  EngineInfo,
  GpuInfo,
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
  Word,
} from '../index.js';
export type { GpuBackend } from './addons.js';
export type { BaseTranscriber, EngineStats, PcmOptions, TranscriberOptions } from './base.js';
export { OpusDemuxer, type OpusDemuxerOptions } from './demuxer.js';
export type { Device } from './devices/device.js';
export { type DeviceInfo, type ListDevicesOptions, listDevices } from './devices/list.js';
export type { Verdict } from './devices/probe.js';
export { OpuscribeError, type OpuscribeErrorCode } from './error.js';
export { splitPackets } from './framing.js';
export type { TranscribeOptions } from './job.js';
export { type StreamEvent, type StreamOptions, TranscriptionStream } from './stream.js';
export { transcribe } from './transcribe.js';
export { Transcriber } from './transcriber.js';
