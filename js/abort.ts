// Listening to abort signals that many calls share.

interface Shared {
  aborts: Set<() => void>;
  listener: () => void;
}

/** One listener for each signal, however many calls share it: from eleven on Node warns of a leak. */
const shared = new WeakMap<AbortSignal, Shared>();

/** Calls `abort` when the signal is aborted, unless what is returned was called before. */
export function onAbort(signal: AbortSignal | undefined, abort: () => void): () => void {
  if (signal === undefined) return () => {};
  const { aborts, listener } = shared.get(signal) ?? share(signal);
  aborts.add(abort);
  return () => {
    aborts.delete(abort);
    if (aborts.size > 0 || shared.get(signal)?.aborts !== aborts) return;
    signal.removeEventListener('abort', listener);
    shared.delete(signal);
  };
}

function share(signal: AbortSignal): Shared {
  const aborts = new Set<() => void>();
  const listener = () => {
    for (const abort of aborts) abort();
  };
  signal.addEventListener('abort', listener, { once: true });
  const made = { aborts, listener };
  shared.set(signal, made);
  return made;
}
