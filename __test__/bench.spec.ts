import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { normalize, wordErrors } from './wer';

/** The parts of the comparison bench that need no peer. */
// biome-ignore lint/suspicious/noExplicitAny: plain JavaScript, without declarations.
type Module = Record<string, any>;

describe('word errors', () => {
  it('counts substitutions, deletions and insertions', () => {
    assert.deepEqual(wordErrors('do re mi fa sol la', 'do ra mi sol la ti'), {
      ...{ substitutions: 1, deletions: 1, insertions: 1 },
      ...{ errors: 3, words: 6 },
    });
  });

  it('counts every word of a text about silence, and of a text that is missing', () => {
    assert.equal(wordErrors('', 'thank you').insertions, 2);
    assert.equal(wordErrors('thank you', '').deletions, 2);
  });

  for (const [one, other] of [
    ['Twenty-five men', '25 men'],
    ['in nineteen sixty one', 'in 1961.'],
    ['two thousand and five', '2,005'],
    ['a hundred and two', '102'],
    ['five million', '5 million'],
    ['the twenty-first', 'the 21st'],
    ["I'm sure they won't", 'i am sure they will not'],
    ['Mr. Brown paid five dollars', 'mister brown paid $5'],
    ['three point five per cent', '3.5%'],
  ] as const) {
    it(`takes "${one}" and "${other}" for the same`, () => {
      assert.deepEqual(normalize(one), normalize(other));
    });
  }

  it('joins no numbers that are said apart', () => {
    assert.deepEqual(normalize('one two three'), ['1', '2', '3']);
    assert.deepEqual(normalize('fifty and sixty'), ['50', 'and', '60']);
  });

  it('leaves other languages their words', () => {
    assert.deepEqual(normalize('six millions d’euros', 'fr'), ['six', 'millions', "d'euros"]);
  });
});

describe('statistics of the bench', () => {
  let statistics: Module;
  before(async () => {
    statistics = await load('statistics');
  });

  it('puts each length into one class', () => {
    const classes = [0, 2.99, 3, 9.99, 10, 29.99, 30, 59.99, 60, 599, 600, 4000].map(
      statistics.classOf,
    );
    assert.deepEqual(
      classes,
      statistics.CLASSES.flatMap((name: string) => [name, name]),
    );
    assert.equal(statistics.CLASS_NAMES.length, statistics.CLASSES.length);
  });

  it('has medians and quantiles', () => {
    assert.equal(statistics.median([3, 1, 2]), 2);
    assert.equal(statistics.median([4, 1, 2, 3]), 2.5);
    assert.equal(statistics.median([]), undefined);
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    assert.equal(statistics.quantile(hundred, 0.95), 95);
    assert.equal(statistics.quantile([7], 0.95), 7);
  });

  it('compares recording by recording, not mean by mean', () => {
    const recordings = [
      recording(5, { ours: [10, 30, 20], theirs: [40, 40, 40] }),
      recording(5, { ours: [100, 100, 100], theirs: [100, 100, 100] }),
      recording(5, { ours: [1000, 1000, 1000], theirs: [4000, 4000, 4000] }),
      recording(5, { ours: [1], theirs: [] }),
    ];
    const { ms, recordings: compared } = statistics.ratios(recordings, 'ours', 'theirs');
    assert.deepEqual({ ms, compared }, { ms: { median: 0.5, p95: 1 }, compared: 3 });
  });

  it('has the processor time of all audio together', () => {
    const recordings = [recording(1, { peer: [300] }), recording(9, { peer: [700] })];
    const { cpuSecondsPerSecond, medianMs } = statistics.spread(recordings, 'peer');
    assert.deepEqual(
      { cpuSecondsPerSecond, medianMs },
      { cpuSecondsPerSecond: 0.1, medianMs: 500 },
    );
  });

  it('has no word error rate of a part of the recordings', () => {
    const counted = { errors: 1, substitutions: 1, deletions: 0, insertions: 0, words: 4 };
    const both = [{ wordErrors: { a: counted, b: counted } }, { wordErrors: { a: counted } }];
    assert.equal(statistics.wordErrorsOf(both, 'a').percent, 25);
    assert.equal(statistics.wordErrorsOf(both, 'b'), undefined);
  });

  it('counts characters that are written where nobody speaks', () => {
    const silent = [
      { kind: 'noise', texts: { peer: 'né 👋' } },
      { kind: 'music', texts: {} },
      { kind: 'speech', texts: { peer: 'said' } },
    ];
    const found = statistics.falseText(silent, 'peer');
    assert.deepEqual(found, { recordings: 1, of: 2, characters: 4 });
  });

  it('chooses some of each class', () => {
    const many = Array.from({ length: 10 }, (_, index) => ({ seconds: 5, kind: 'speech', index }));
    const noise = { seconds: 5, kind: 'noise', index: 10 };
    const indexes = (limit?: number) =>
      statistics.choose([...many, noise], limit).map((one: { index: number }) => one.index);
    assert.deepEqual(indexes(3), [0, 4, 7, 10]);
    assert.equal(indexes().length, 11);
  });

  it('lets each peer begin', () => {
    assert.deepEqual(statistics.rotated(['a', 'b', 'c'], 4), ['b', 'c', 'a']);
    assert.deepEqual(statistics.rotated([], 4), []);
  });
});

describe('what the bench writes', () => {
  it('counts the cores, not their threads', async () => {
    const { countCores } = await load('machine');
    const processor = (socket: number, core: number) =>
      `processor\t: 0\nphysical id\t: ${socket}\ncore id\t\t: ${core}\n`;
    const four = [processor(0, 0), processor(0, 0), processor(0, 1), processor(1, 0)];
    assert.equal(countCores(four.join('\n')), 3);
    assert.equal(countCores('processor: 0\n'), 0);
  });

  it('draws a bar as long as its number, and no markup out of a name', async () => {
    const { chart } = await load('chart');
    const rows = [
      { label: 'ours', ours: true, ms: 50, cpu: 0.1 },
      { label: '<other> & "more"', ms: 100, cpu: 0.4 },
      { label: 'slow', slow: true, ms: 12_345, cpu: 3 },
    ];
    const svg: string = chart([{ title: 'tiny.en', rows }]);
    const widths = [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map((found) =>
      Number(found[1]),
    );
    const [ours = 0, oursCpu = 0, other = 0, otherCpu = 0] = widths;
    assert.ok(Math.abs(other / ours - 2) < 0.01 && Math.abs(otherCpu / oursCpu - 4) < 0.02, svg);
    assert.ok(!svg.includes('<other>'), svg);
    assert.equal(widths.length, 4);
    assert.match(svg, /slow 12\.3 s/);
    assert.match(svg, /prefers-color-scheme: dark/);
  });
});

function recording(seconds: number, times: Record<string, number[]>) {
  const runs = Object.entries(times).map(([peer, all]) => [
    peer,
    all.map((ms) => ({ ms, cpuMs: ms })),
  ]);
  return { kind: 'speech', seconds, runs: Object.fromEntries(runs) };
}

/** ES modules, which this CommonJS file imports at run time alone. */
function load(name: string): Promise<Module> {
  return import(`../benches/peers/${name}.mjs`);
}
