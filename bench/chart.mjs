// A bar chart of one row as SVG, with a group of bars for each type of weights and a bar for each contestant.

const colours = {
  'gpt2-native': '#1a7f5a',
  'node-llama-cpp': '#8a6fb0',
  'onnxruntime-node': '#c98a3d',
  'llama.cpp': '#7a7a7a',
};
const bar = 20;
const labelWidth = 190;
const barsWidth = 420;
const valueWidth = 110;

/** @param results the results of one row and number of threads */
export function barChart(title, results) {
  const longest = Math.max(...results.flatMap(({ median, max }) => [median, max]));
  const types = [...new Set(results.map(({ type }) => type))];
  const parts = [];
  let y = 44;
  for (const type of types) {
    for (const { contestant, median, min, max } of results.filter(
      (result) => result.type === type,
    )) {
      const width = (number) => (number / longest) * barsWidth;
      const middle = y + bar / 2;
      parts.push(
        `<text x="${labelWidth - 8}" y="${middle}" text-anchor="end" dominant-baseline="central">${type} ${contestant}</text>`,
        `<rect x="${labelWidth}" y="${y + 2}" width="${width(median).toFixed(1)}" height="${bar - 4}" fill="${colours[contestant]}"/>`,
        `<line x1="${(labelWidth + width(min)).toFixed(1)}" x2="${(labelWidth + width(max)).toFixed(1)}" y1="${middle}" y2="${middle}" stroke="#000" stroke-opacity="0.5"/>`,
        `<text x="${(labelWidth + Math.max(width(median), width(max)) + 6).toFixed(1)}" y="${middle}" dominant-baseline="central">${figure(median)}</text>`,
      );
      y += bar;
    }
    y += 10;
  }
  const size = { width: labelWidth + barsWidth + valueWidth, height: y + 6 };
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="24" font-size="15">${title}</text>
${parts.join('\n')}
</svg>
`;
}

/** A number with three significant digits, as in the tables. */
export const figure = (number) =>
  number >= 100 ? Math.round(number).toLocaleString('en-US') : number.toPrecision(3);
