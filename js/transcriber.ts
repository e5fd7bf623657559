import { BaseTranscriber, checkOpening, opening, type TranscriberOptions } from './base.js';
import { openOn } from './devices/open.js';
import { invalidArgument, unwrap } from './error.js';
import { NativeEngine } from './native_engine.js';

/**
 * A Whisper model, a voice activity detector, and the two threads that own them. Open one and keep
 * it: any number of calls share it.
 */
export class Transcriber extends BaseTranscriber {
  private constructor(engine: NativeEngine) {
    if (!(engine instanceof NativeEngine)) {
      throw invalidArgument('use Transcriber.open(), which loads the model');
    }
    super(engine);
  }

  /** Loads both models; resolves when each has run once. */
  static async open(options: TranscriberOptions): Promise<Transcriber> {
    checkOpening(options);
    const { options: engine, onnxRuntime, onLog, wish } = opening(options);
    const opened = await openOn(wish, (place) =>
      NativeEngine.open({ ...engine, ...place }, onnxRuntime, onLog),
    );
    return new Transcriber(unwrap(opened));
  }
}
