// Many jobs at once: how much a second, with how many lanes, and how long somebody waits meanwhile.

import { closePeers, openPeers } from '../peers/measure.mjs';
import { quantile } from '../peers/statistics.mjs';
import { Watch } from './watch.mjs';

/** Jobs for each that is in flight, so that the first and the last do not decide. */
const JOBS_EACH = 3;
const TIMEOUT_S = 600;

/** Seconds of audio a second, by peer, lanes and jobs in flight. */
export async function crowd(peers, recordings, settings) {
  const rows = [];
  for (const peer of peers.filter(({ crowds }) => crowds)) {
    for (const lanes of peer.ours ? settings.lanes : [undefined]) {
      settings.progress(`${peer.id}${lanes ? `, ${lanes} lanes` : ''}, many at once`);
      const row = await inCrowd(peer, lanes, recordings, settings);
      if (row !== undefined) rows.push(row);
    }
  }
  return rows;
}

async function inCrowd(peer, lanes, recordings, { open, report, ...settings }) {
  const wanted = { ...open, ...peer.open, ...(lanes && { lanes }) };
  const [opened] = await openPeers([peer], wanted, report);
  if (opened === undefined) return undefined;
  const row = { id: peer.id, lanes, ours: peer.ours, perSecond: {} };
  if (peer.ours) {
    row.gpu = JSON.parse(opened.opened.system).gpu;
    // Fewer, where the memory is not enough; those were measured already.
    if (row.gpu && row.gpu.lanes < lanes) {
      report(peer, `of ${lanes} lanes ${row.gpu.lanes} fit`);
      await closePeers([opened]);
      return undefined;
    }
  }
  try {
    await opened.child.ask({ run: asked(recordings[0]) }, TIMEOUT_S);
    for (const inFlight of settings['in-flight']) {
      // More at once than lanes only wait; the first that do show it.
      if (lanes && inFlight > 2 * lanes && inFlight > 2) continue;
      const jobs = Array.from(
        { length: Math.max(settings.jobs, JOBS_EACH * inFlight) },
        (_, index) => recordings[index % recordings.length],
      );
      const seconds = jobs.reduce((sum, job) => sum + job.seconds, 0);
      const watch = new Watch();
      const many = { recordings: jobs.map(asked), inFlight };
      const { ms } = await opened.child.ask({ many }, Math.max(TIMEOUT_S, 20 * seconds));
      row.perSecond[inFlight] = { audio: (1000 * seconds) / ms, ...(await watch.end()) };
    }
  } catch (error) {
    report(peer, error.message);
  }
  await closePeers([opened]);
  return row;
}

/** One caller at a time for five seconds of speech, while as many batch jobs as are best are in flight. */
export async function underLoad(peers, recordings, rows, { open, progress, seconds }) {
  const ours = peers.find((peer) => peer.ours && peer.crowds);
  const best = rows
    .filter((row) => row.ours)
    .flatMap(({ lanes, perSecond }) =>
      Object.entries(perSecond).map(([inFlight, { audio }]) => ({ lanes, inFlight, audio })),
    )
    .toSorted((a, b) => b.audio - a.audio)[0];
  if (ours === undefined || best === undefined) return [];
  const interactive = recordings.toSorted(
    (a, b) => Math.abs(a.seconds - 5) - Math.abs(b.seconds - 5),
  )[0];
  const rowsUnderLoad = [];
  for (const inFlight of [0, Number(best.inFlight)]) {
    progress(`somebody waits while ${inFlight} batch jobs are in flight`);
    const [opened] = await openPeers(
      [ours],
      { ...open, ...ours.open, lanes: best.lanes },
      () => {},
    );
    const loaded = { recordings: recordings.map(asked), interactive: asked(interactive) };
    const question = { loaded: { ...loaded, inFlight, seconds } };
    const { ms } = await opened.child.ask(question, TIMEOUT_S + 10 * seconds);
    await closePeers([opened]);
    // The first has nobody before it.
    const times = ms.length > 1 ? ms.slice(1) : ms;
    rowsUnderLoad.push({
      lanes: best.lanes,
      inFlight,
      audioSeconds: interactive.seconds,
      calls: times.length,
      p50: quantile(times, 0.5),
      p95: quantile(times, 0.95),
    });
  }
  return rowsUnderLoad;
}

function asked({ wav, packets, language }) {
  return { wav, packets, language };
}
