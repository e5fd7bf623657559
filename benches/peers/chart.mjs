// The chart of docs/benchmarks.svg: time and processor time by peer, as bars.

const WIDTH = 760;
const LABEL_WIDTH = 200;
const NUMBER_WIDTH = 76;
const BAR_WIDTH = (WIDTH - LABEL_WIDTH - 2 * NUMBER_WIDTH - 24) / 2;
const ROW = 22;
const BAR = 14;
const HEAD = 52;

/** A page in either scheme shows it through `<img>`, which knows the reader's scheme. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .small { font-size: 12px; fill: #59636e; }
  .bar { fill: #8c959f; }
  .ours { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .small { fill: #9198a1; }
    .bar { fill: #656c76; }
    .ours { fill: #4493f8; }
  }`;

/**
 * `panels`: [{ title, rows: [{ label, ours, slow, ms, cpu }] }]; rows come as they are to be shown.
 * What is slower than real time is named below: to its scale the others would have no length.
 */
export function chart(panels) {
  let y = 8;
  const parts = panels.map(({ title, rows }) => {
    const drawn = rows.filter(({ slow }) => !slow);
    const named = rows.filter(({ slow }) => slow);
    const bars = panel(title, drawn, y);
    y += HEAD + drawn.length * ROW + 16;
    if (named.length === 0) return bars;
    const list = named.map(({ label, ms }) => `${label} ${(ms / 1000).toFixed(1)} s`).join(', ');
    const note = text(8, y, `slower than real time, not drawn: ${list}`, 'small');
    y += 16;
    return `${bars}\n${note}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img">
<title>${escapeXml(panels.map((one) => one.title).join('; '))}</title>
<style>${STYLE}
</style>
${parts.join('\n')}
</svg>
`;
}

function panel(title, rows, top) {
  const columns = [
    {
      x: LABEL_WIDTH,
      head: 'median time',
      of: (row) => row.ms,
      text: (ms) => `${ms.toFixed(0)} ms`,
    },
    {
      x: LABEL_WIDTH + BAR_WIDTH + NUMBER_WIDTH + 12,
      head: 'CPU seconds per second of audio',
      of: (row) => row.cpu,
      text: (cpu) => cpu.toFixed(3),
    },
  ];
  const heads = columns.map(({ x, head }) => text(x, top + 40, head, 'small'));
  const bars = rows.flatMap((row, index) => {
    const y = top + HEAD + index * ROW;
    return [
      text(LABEL_WIDTH - 10, y + 11, row.label, '', 'end'),
      ...columns.flatMap(({ x, of, text: write }) => {
        const width = (BAR_WIDTH * of(row)) / Math.max(...rows.map(of));
        return [
          `<rect class="bar${row.ours ? ' ours' : ''}" x="${x}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2"/>`,
          text(x + width + 6, y + 11, write(of(row)), 'small'),
        ];
      }),
    ];
  });
  return [text(8, top + 16, title, 'title'), ...heads, ...bars].join('\n');
}

function text(x, y, content, style, anchor = 'start') {
  const attributes = style === '' ? '' : ` class="${style}"`;
  return `<text x="${x.toFixed(1)}" y="${y}" text-anchor="${anchor}"${attributes}>${escapeXml(content)}</text>`;
}

function escapeXml(content) {
  return content.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
