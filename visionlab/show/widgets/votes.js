// What a recorded run says of every point and epoch: the votes, as `visionlab.points.voting` counts them, and the words
// for them, as `visionlab.show.timeline` has them. It is put in front of the widget that uses it.

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const copied = (view) => bytes(view).slice().buffer; // starts at 0, as arrays of wider numbers need
const fixed = (value) => (Math.floor(1000 * value + 0.5) / 1000).toFixed(3);

/** Classes, -1 for none: bytes, or two to a byte where they fit. */
function classesOf(view, packed) {
  const stored = bytes(view);
  if (!packed) return new Int8Array(copied(view));
  const half = (value) => (value === 15 ? -1 : value);
  return Int8Array.from({ length: 2 * stored.length }, (_, i) => half((stored[i >> 1] >> (i & 1 ? 0 : 4)) & 15));
}

/** The recorded run, and what follows from it. Epochs count from 1, and `e` votes by the predictions before it. */
function recordOf(model) {
  const [epochs, rooms, points] = model.get("shape");
  const { slots, warmup, share, gamma } = model.get("rule");
  const classes = model.get("classes");
  const K = classes.length;
  const packed = model.get("packed");
  const stored = (name) => classesOf(model.get(name), packed);
  const [given, truth, predicted, force] = ["given", "truth", "predicted", "in_force"].map(stored);
  const cluster = new Uint32Array(copied(model.get("cluster")));
  const perCluster = model.get("per_cluster");
  const clusters = model.get("clusters");
  const rgb = bytes(model.get("rgb"));
  const places = new Int16Array(copied(model.get("xyz")));
  const units = model.get("units");
  const known = new Map();

  function remember(key, compute) {
    if (!known.has(key)) known.set(key, compute());
    return known.get(key);
  }
  const cloud = (room) => remember(`cloud ${room}`, () =>
    cloudOf(Float32Array.from(places.subarray(3 * room * points, 3 * (room + 1) * points), (v) => v * units[room])));
  const predictedIn = (epoch, room, i) => (epoch < 1 ? -1 : predicted[((epoch - 1) * rooms + room) * points + i]);
  const history = (room, epoch, i) => Array.from({ length: slots }, (_, k) => predictedIn(epoch - slots + k, room, i));
  const unsure = (p) => (-p * Math.log(p)) / Math.log(K);
  const trusted = (p) => (gamma === null ? p >= share - 1e-6 : unsure(p) <= gamma); // false where u is not a number
  const labels = (room, epoch) => remember(`labels ${room} ${epoch}`, () => {
    const start = room * points;
    if (epoch <= warmup) return given.slice(start, start + points);
    const row = (epoch - 1) * (perCluster ? clusters : rooms * points);
    return Int8Array.from({ length: points }, (_, i) => force[row + (perCluster ? cluster[start + i] : start + i)]);
  });
  const votes = (room, epoch) => remember(`votes ${room} ${epoch}`, () => {
    const [label, p] = [new Int8Array(points), new Float64Array(points)];
    const table = new Map();
    for (let i = 0; i < points; i++) {
      const counts = new Uint8Array(K);
      for (const c of history(room, epoch, i)) if (c >= 0) counts[c]++;
      label[i] = counts.indexOf(Math.max(...counts));
      p[i] = counts[label[i]] / slots;
      const own = cluster[room * points + i];
      if (!table.has(own)) table.set(own, { points: 0, reliable: 0, counts: new Uint32Array(K) });
      const entry = table.get(own);
      entry.points++;
      if (!trusted(p[i])) continue;
      entry.reliable++;
      entry.counts[label[i]]++;
    }
    return { label, p, table };
  });
  const score = (room, epoch) => remember(`score ${room} ${epoch}`, () => shares(labels(room, epoch), room));
  function shares(found, room) {
    let [right, none, all] = [0, 0, 0];
    for (let i = 0; i < points; i++) {
      const true_ = truth[room * points + i];
      if (true_ < 0) continue;
      all++;
      right += found[i] === true_;
      none += found[i] < 0;
    }
    return all ? { right: right / all, none: none / all, wrong: (all - right - none) / all } : { right: 0, none: 0, wrong: 0 };
  }
  /** All that is shown of a point. */
  function facts(room, epoch, i) {
    const at = room * points + i;
    const { label, p, table } = votes(room, epoch);
    const entry = table.get(cluster[at]);
    const counted = classes.map((_, k) => k).filter((k) => entry.counts[k]).sort((a, b) => entry.counts[b] - entry.counts[a]);
    return { room, epoch, i, history: history(room, epoch, i), best: label[i], p: p[i], u: unsure(p[i]),
      reliable: trusted(p[i]), members: entry.points, voters: entry.reliable, counted, counts: entry.counts,
      given: given[at], now: labels(room, epoch)[i], true: truth[at], late: epoch <= warmup };
  }
  const rowOf = (array, room) => array.subarray(room * points, (room + 1) * points);
  return { epochs, rooms, points, slots, warmup, share, gamma, classes, cloud, labels, votes, score, shares, facts,
    given: (room) => rowOf(given, room), truth: (room) => rowOf(truth, room), cluster: (room) => rowOf(cluster, room),
    predicted: (room, epoch) => Int8Array.from({ length: points }, (_, i) => predictedIn(epoch - 1, room, i)),
    rgb: (room) => rgb.subarray(3 * room * points, 3 * (room + 1) * points) };
}

/** The sentence of `Timeline.describe`. */
function sentence(f, record, name) {
  const word = (k, none) => (k < 0 ? none : record.classes[k]);
  const best = f.p ? `most frequent ${word(f.best)}, p = ${fixed(f.p)}, u = ${fixed(f.u)}` : "p = 0.000";
  const votes = f.counted.map((k) => `${word(k)} ${f.counts[k]}`).join(", ") || "none";
  return `Point ${f.i} of ${name}, epoch ${f.epoch}. Its last ${record.slots} predictions: ` +
    `${f.history.map((k) => word(k, "empty")).join(", ")}; ${best}, ${f.reliable ? "reliable" : "not reliable"}. ` +
    `Its cluster: ${f.members} points, ${f.voters} reliable; votes: ${votes}; ` +
    `winner: ${f.counted.length ? word(f.counted[0]) : "nobody"}${f.late ? " (warm-up: not applied)" : ""}. ` +
    `Given ${word(f.given, "none")}, in force ${word(f.now, "none")}, true ${word(f.true, "none")}.`;
}
