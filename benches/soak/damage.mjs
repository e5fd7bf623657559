// Ways in which clients, networks and disks damage good input. Each gives what it made and says it.

const percent = (share) => `${(100 * share).toFixed()} %`;

/** Bursts: a gap begins with one probability and goes on with another (Gilbert). */
function lose(list, random) {
  const share = random.logBetween(0.02, 0.5);
  const packets = random.logBetween(1, 12);
  let lost = false;
  const damaged = list.map((packet) => {
    lost = random.chance(lost ? 1 - 1 / packets : share / packets);
    return lost ? null : packet;
  });
  return [damaged, `lost ${percent(share)} in bursts of ${packets.toFixed(1)}`];
}

function flip(list, random) {
  const share = random.logBetween(0.02, 0.6);
  return [some(list, random, share, flipped), `flipped bits in ${percent(share)}`];
}

function truncate(list, random) {
  const share = random.logBetween(0.02, 0.6);
  const cut = (packet) => packet.subarray(0, random.integer(1, packet.length));
  return [some(list, random, share, cut), `cut off ${percent(share)}`];
}

function replace(list, random) {
  const share = random.chance(0.2) ? 1 : random.logBetween(0.02, 0.6);
  return [some(list, random, share, () => noise(random)), `noise in ${percent(share)}`];
}

function mix(list, random) {
  const ways = random.shuffled([lose, flip, truncate, replace]).slice(0, random.integer(2, 4));
  const said = [];
  let damaged = list;
  for (const way of ways) {
    const [next, what] = way(damaged, random);
    damaged = next;
    said.push(what);
  }
  return [damaged, said.join(', ')];
}

/** For packet lists. */
export const PACKET_DAMAGE = { lose, flip, truncate, replace, mix };

function some(list, random, share, change) {
  return list.map((packet) =>
    packet?.length > 0 && random.chance(share) ? change(packet, random) : packet,
  );
}

function flipped(packet, random) {
  const damaged = Buffer.from(packet);
  for (let count = random.integer(1, 4); count > 0; count -= 1) {
    damaged[random.integer(0, damaged.length - 1)] ^= 1 << random.integer(0, 7);
  }
  return damaged;
}

function noise(random) {
  return Buffer.from(Array.from({ length: random.integer(1, 400) }, () => random.integer(0, 255)));
}

/** For the bytes of a file. */
export function damageFile(bytes, random) {
  const damaged = Buffer.from(bytes);
  switch (random.weighed({ cut: 1, flip: 1, blank: 1 })) {
    case 'cut': {
      const length = random.integer(1, damaged.length);
      return [damaged.subarray(0, length), `cut off at ${length}`];
    }
    case 'flip': {
      const count = Math.round(random.logBetween(1, 300));
      for (let flips = 0; flips < count; flips += 1) {
        damaged[random.integer(0, damaged.length - 1)] ^= 1 << random.integer(0, 7);
      }
      return [damaged, `${count} bits flipped`];
    }
    default: {
      const start = random.integer(0, damaged.length - 1);
      const end = Math.min(damaged.length, start + Math.round(random.logBetween(16, 8192)));
      return [damaged.fill(0, start, end), `blank from ${start} to ${end}`];
    }
  }
}
