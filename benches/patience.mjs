// How many times as long as a processor the machine may take before it counts as hanging: SLOWER=30
// for a GPU in software. Lengths that are part of what is tried stay as they are.

const slower = Number(process.env.SLOWER ?? 1);

/** Milliseconds that such a machine may take. */
export const patient = (ms) => ms * Math.max(1, slower || 1);
