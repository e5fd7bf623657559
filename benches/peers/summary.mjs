// From the runs of one model to the numbers of the tables.

import { tsImport } from 'tsx/esm/api';
import {
  CLASSES,
  falseText,
  ratios,
  shareBeforeInference,
  spread,
  wordErrorsOf,
} from './statistics.mjs';

const { wordErrors } = await tsImport('../../__test__/wer.ts', import.meta.url);

/** Counts the words of every text against what was said. */
export function countWordErrors(recordings) {
  for (const one of recordings.filter(({ kind }) => kind === 'speech')) {
    one.wordErrors = Object.fromEntries(
      Object.entries(one.texts).map(([peer, text]) => [
        peer,
        wordErrors(one.transcript, text, one.language),
      ]),
    );
  }
}

export function summarize({ peers, recordings, throughput }) {
  const speech = recordings.filter(({ kind }) => kind === 'speech');
  const classes = CLASSES.filter((name) => speech.some((one) => one.class === name));
  const of = (name) => speech.filter((one) => one.class === name);
  const byClass = (make) => Object.fromEntries(classes.map((name) => [name, make(of(name))]));
  const languages = [...new Set(speech.map(({ language }) => language))];
  const mine = peers.find((peer) => peer.ours && spread(speech, peer.id).recordings > 0)?.id;
  return {
    classes: byClass((part) => part.length),
    peers: peers.map((peer) => ({
      ...peer,
      wordErrors: wordErrorsOf(speech, peer.id),
      byLanguage: Object.fromEntries(
        languages.map((language) => [
          language,
          wordErrorsOf(
            speech.filter((one) => one.language === language),
            peer.id,
          ),
        ]),
      ),
      all: spread(speech, peer.id),
      byClass: byClass((part) => ({
        ...spread(part, peer.id),
        wordErrors: wordErrorsOf(part, peer.id),
      })),
      ratio:
        mine === undefined || peer.ours
          ? undefined
          : byClass((part) => ratios(part, mine, peer.id)),
      beforeInference: peer.ours
        ? byClass((part) => shareBeforeInference(part, peer.id))
        : undefined,
      falseText: falseText(recordings, peer.id),
      realTimeFactor: throughput[peer.id],
    })),
  };
}
