// The two kinds of transcriber, which promise the same: one suite for both.

import { describe } from 'node:test';
import { type BaseTranscriber, Transcriber, type TranscriberOptions } from 'opuscribe';
import { IsolatedTranscriber } from 'opuscribe/isolated';

export interface Kind {
  name: string;
  open(options: TranscriberOptions): Promise<BaseTranscriber>;
  isolated: boolean;
}

const kinds: Kind[] = [
  { name: 'Transcriber', open: (options) => Transcriber.open(options), isolated: false },
  {
    name: 'IsolatedTranscriber',
    open: (options) =>
      IsolatedTranscriber.open(
        typeof options === 'object' && options ? { crashReports: false, ...options } : options,
      ),
    isolated: true,
  },
];

export function describeEach(what: string, suite: (kind: Kind) => void): void {
  for (const kind of kinds) describe(`${what} (${kind.name})`, () => suite(kind));
}
