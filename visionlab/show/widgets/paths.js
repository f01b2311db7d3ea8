// What is counted of a pointwise convolution W = P Phi Q^T, in the page itself, so that the wiring board follows a finger
// and works without a kernel; a test holds the numbers to Python's. It is put in front of the board, so it has no
// imports and exports nothing.

const NOTHING = [128, 128, 128, 38];
const COUNTS = [ // up to how many paths, colour, words; greys and reds, which no group has
  [1, [96, 125, 139, 255], "exactly one path"],
  [2, [240, 178, 50, 255], "2 paths"],
  [4, [222, 110, 20, 255], "3 or 4"],
  [8, [172, 58, 10, 255], "5 to 8"],
  [Infinity, [96, 24, 10, 255], "more than 8"],
];

const css = ([red, green, blue, alpha]) => `rgba(${red}, ${green}, ${blue}, ${alpha / 255})`;
const divisors = (n) => Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
const nearest = (values, wanted) => values.reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a));
const tidy = (value) => (Number.isInteger(value) ? `${value}` : value.toFixed(1));

/** Hues from green over blue to purple, by turns of the golden angle where there are many, so that neighbours differ. */
function groupColor(group, groups) {
  const hue = 90 + 230 * (groups < 8 ? (group + 0.5) / groups : (group * 0.618) % 1);
  const lightness = (hue < 200 ? 0.36 : 0.52) + (group % 2 ? 0.06 : -0.02); // greens look brighter than they are
  const spread = 0.78 * Math.min(lightness, 1 - lightness);
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - spread * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4), 255];
}

/** Where hidden channel j behind the shuffle comes from. */
const source = (j, hidden, groups, shuffle) => (shuffle ? (j % groups) * (hidden / groups) + Math.floor(j / groups) : j);

/** Hidden channels that lead from each group of Q (column) to each of P (row): the paths of a pair of channels. */
function pathTable(hidden, groups, shuffle) {
  const size = hidden / groups;
  const table = Array.from({ length: groups }, () => new Array(groups).fill(0));
  for (let j = 0; j < hidden; j++) table[Math.floor(j / size)][Math.floor(source(j, hidden, groups, shuffle) / size)]++;
  return table;
}

/** All that is counted of one setting. */
function count({ channels, reduction, groups, shuffle }) {
  const hidden = channels / reduction;
  const table = pathTable(hidden, groups, shuffle);
  const all = table.flat();
  const [fewest, most] = [Math.min(...all), Math.max(...all)];
  return { hidden, table, fewest, most, paths: (hidden / groups) * (channels / groups),
    connected: (100 * all.filter((n) => n > 0).length) / all.length,
    cost: (2 * channels * hidden) / groups, dense: channels * channels };
}

/** A sentence on the setting, and one on the output that is followed. */
function said(values, found) {
  const { channels, groups, shuffle, picked } = values;
  const { hidden, fewest, most, connected } = found;
  const heard = Math.round((channels * connected) / 100);
  const range = fewest === most ? `${most} paths` : `${fewest} or ${most} paths`;
  let text;
  if (fewest > 0) {
    text = `Every output hears every input, by ${most === 1 ? "exactly one path" : range}.`;
    if (most > 1) text += " More than one path costs multiply-adds and connects nothing new.";
  } else {
    text = `Every output hears ${heard} of ${channels} inputs; of the others nothing arrives.`;
    if (!shuffle && groups > 1) text += " Without the shuffle each group stays among itself.";
  }
  if (picked < 0) return text;
  const size = hidden / groups;
  const group = Math.floor((picked * groups) / channels);
  const from = new Set(found.table[group].flatMap((n, g) => (n ? [g + 1] : [])));
  const which = from.size === groups ? `all ${groups}` : [...from].join(", ");
  return `${text} Output ${picked}, in group ${group + 1} of P, adds up hidden channels ${group * size} to ` +
    `${(group + 1) * size - 1}; they come from group${from.size > 1 ? "s" : ""} ${which} of Q.`;
}
