// The runs: every peer has each recording in turn, so that a machine whose speed drifts is fair to
// all, and nothing else runs meanwhile.

import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from './child.mjs';
import { choose, rotated } from './statistics.mjs';

/** Jobs in flight, and how many there are then in all. */
const JOBS = { 1: 4, 4: 8, 16: 16 };
export const IN_FLIGHT = Object.keys(JOBS).map(Number);
/** Threads of some libraries spin for a moment after their work. */
const SETTLE_MS = 50;
const OPEN_TIMEOUT_S = 120;
/** Of a recording's length, and at least a minute: what is slower hangs. */
const TIMEOUT_FACTOR = 20;
/** Of each class, for a peer that is slower than real time. */
const SLOW_RECORDINGS = 2;
const SLOW_UNDER_S = 30;

/** Opens the peers, one after the other. `report` is told who cannot be opened. */
export async function openPeers(peers, options, report) {
  const opened = [];
  for (const peer of peers) {
    const launched = peer.launch();
    if (launched.missing !== undefined) {
      report(peer, launched.missing);
      continue;
    }
    const child = new Child(launched);
    try {
      const open = { ...options, variant: peer.variant };
      opened.push({ ...peer, child, opened: await child.ask({ open }, OPEN_TIMEOUT_S) });
    } catch (error) {
      report(peer, error.message);
      await child.close();
    }
  }
  return opened;
}

/**
 * Fills `runs` and `texts` of each recording, by peer. A peer that fails is told to `report` and
 * has no more turns; what it did remains. `afterRound` is called with the rounds that are done.
 */
export async function measure(peers, recordings, rounds, { report, progress, afterRound }) {
  const active = new Set(peers);
  const attempt = async (peer, work) => {
    try {
      return await work();
    } catch (error) {
      active.delete(peer);
      report(peer, error.message);
      return undefined;
    }
  };
  for (const peer of peers) await attempt(peer, () => warmUp(peer, recordings, progress));
  for (const one of recordings) Object.assign(one, { runs: {}, texts: {} });
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, one] of recordings.entries()) {
      progress(`round ${round + 1} of ${rounds}, recording ${index + 1} of ${recordings.length}`);
      for (const peer of rotated(peers, round + index)) {
        if (!active.has(peer) || !takes(peer, one) || (peer.slow && round > 0)) continue;
        await sleep(SETTLE_MS);
        const answer = await attempt(peer, () => runOnce(peer, one));
        if (answer === undefined) continue;
        const { text, ...times } = answer;
        one.runs[peer.id] ??= [];
        one.runs[peer.id].push(times);
        // With temperatures above 0 a peer may write another text each time; the first counts.
        one.texts[peer.id] ??= text;
      }
    }
    afterRound(round + 1);
  }
  for (const peer of active) {
    const answer = await attempt(peer, () => peer.child.ask({ peak: {} }, OPEN_TIMEOUT_S));
    peer.peakMb = answer?.peakMb;
  }
  return [...active];
}

/** Seconds of audio a second, with so many jobs in flight; `recordings` are taken in turn. */
export async function throughput(peers, recordings, { report, progress }) {
  const results = {};
  const failed = new Set();
  for (const [turn, inFlight] of IN_FLIGHT.entries()) {
    const jobs = Array.from(
      { length: JOBS[inFlight] },
      (_, index) => recordings[index % recordings.length],
    );
    const seconds = jobs.reduce((total, job) => total + job.seconds, 0);
    for (const peer of rotated(peers, turn)) {
      if (failed.has(peer) || peer.fromS !== undefined || peer.slow) continue;
      progress(`${inFlight} in flight, ${peer.id}`);
      await sleep(SETTLE_MS);
      try {
        const many = { recordings: jobs.map(asked), inFlight };
        const { ms, cpuMs } = await peer.child.ask({ many }, timeout(seconds));
        results[peer.id] ??= {};
        results[peer.id][inFlight] = { realTimeFactor: ms / 1000 / seconds, ms, cpuMs, seconds };
      } catch (error) {
        failed.add(peer);
        report(peer, error.message);
      }
    }
  }
  for (const peer of peers) {
    if (failed.has(peer)) continue;
    const answer = await peer.child.ask({ peak: {} }, OPEN_TIMEOUT_S).catch(() => undefined);
    peer.peakManyMb = answer?.peakMb;
  }
  return results;
}

export async function closePeers(peers) {
  for (const peer of peers) await peer.child.close();
}

function runOnce(peer, recording) {
  return peer.child.ask({ run: asked(recording) }, timeout(recording.seconds));
}

function timeout(seconds) {
  return Math.max(60, TIMEOUT_FACTOR * seconds);
}

/**
 * Not counted: the first run allocates, and reads the model into memory. A peer that is slower than
 * real time would take most of the bench's hours, and has a few recordings, once.
 */
async function warmUp(peer, recordings, progress) {
  const first = recordings.find((one) => takes(peer, one));
  if (first === undefined) return;
  progress(`warming up ${peer.id}`);
  const { ms } = await runOnce(peer, first);
  peer.slow = ms > 1000 * first.seconds;
  if (!peer.slow) return;
  const short = recordings.filter((one) => takes(peer, one) && one.seconds < SLOW_UNDER_S);
  peer.only = new Set(choose(short, SLOW_RECORDINGS));
}

function takes(peer, recording) {
  return recording.seconds >= (peer.fromS ?? 0) && (peer.only?.has(recording) ?? true);
}

function asked({ wav, packets, language }) {
  return { wav, packets, language };
}
