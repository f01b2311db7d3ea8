// A point cloud on canvases: one camera for several panels, and a painter of soft round points that needs no GPU.
// It is put in front of the widget that uses it, so it has no imports and exports nothing.

const CAMERA = { yaw: -1.05, pitch: 0.66, zoom: 1, x: 0, y: 0 };
const DISTANCE = 4.2; // of the eye from the middle of the room, in radii of the room
const SHELL = 0.14; // metres behind a side of the room that go with it when the side is opened
const BEHIND = 90; // of 1024 steps of depth that rims lie further back
const CORE = 15; // brightness of the core of points whose label is wrong

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Places around the middle of a room, its radius, and which of its six sides each point belongs to, as bits. */
function cloudOf(xyz) {
  const points = xyz.length / 3;
  const [low, high] = [[0, 1, 2].map(() => Infinity), [0, 1, 2].map(() => -Infinity)];
  xyz.forEach((value, i) => {
    low[i % 3] = Math.min(low[i % 3], value);
    high[i % 3] = Math.max(high[i % 3], value);
  });
  const middle = low.map((value, axis) => (value + high[axis]) / 2);
  const radius = Math.max(0.01, 0.5 * Math.hypot(...high.map((value, axis) => value - low[axis])));
  const [places, sides] = [new Float32Array(xyz.length), new Uint8Array(points)];
  xyz.forEach((value, i) => {
    const [axis, point] = [i % 3, Math.floor(i / 3)];
    places[i] = value - middle[axis];
    if (value - low[axis] < SHELL) sides[point] |= 1 << (2 * axis);
    if (high[axis] - value < SHELL) sides[point] |= 2 << (2 * axis);
  });
  return { points, places, radius, sides, half: high.map((value, axis) => value - middle[axis]) };
}

/** Where the points of a cloud are on a canvas of this size, and their order from far to near, of those to be seen. */
function seenFrom(camera, cloud, width, height, open) {
  const [sinYaw, cosYaw] = [Math.sin(camera.yaw), Math.cos(camera.yaw)];
  const [sinPitch, cosPitch] = [Math.sin(camera.pitch), Math.cos(camera.pitch)];
  const eye = [cosPitch * cosYaw, cosPitch * sinYaw, sinPitch];
  let opened = 0;
  eye.forEach((value, axis) => (opened |= (value < -0.1 ? 1 : value > 0.1 ? 2 : 0) << (2 * axis)));
  const { points, places, radius, sides } = cloud;
  const unit = (0.57 * camera.zoom * Math.min(width, 1.3 * height)) / radius;
  const at = (px, py, pz) => {
    const near = DISTANCE / (DISTANCE - (px * eye[0] + py * eye[1] + pz * eye[2]) / radius);
    return [centreX + unit * near * (py * cosYaw - px * sinYaw),
      centreY - unit * near * (pz * cosPitch - sinPitch * (px * cosYaw + py * sinYaw)), near];
  };
  const [x, y, near] = [new Float32Array(points), new Float32Array(points), new Float32Array(points)];
  const [centreX, centreY] = [width * (0.5 + camera.x), height * (0.5 + camera.y)];
  const buckets = new Int32Array(1026);
  const bucket = new Int16Array(points).fill(-1);
  for (let i = 0; i < points; i++) {
    const px = places[3 * i];
    const py = places[3 * i + 1];
    const pz = places[3 * i + 2];
    const depth = (px * eye[0] + py * eye[1] + pz * eye[2]) / radius; // -1 far, 1 near
    [x[i], y[i], near[i]] = at(px, py, pz);
    if (open && sides[i] & opened) continue;
    bucket[i] = clamp(Math.floor(512 * (depth + 1)), 0, 1023);
    buckets[bucket[i] + 1]++;
  }
  for (let b = 0; b < 1025; b++) buckets[b + 1] += buckets[b];
  const order = new Int32Array(buckets[1025]);
  for (let i = 0; i < points; i++) if (bucket[i] >= 0) order[buckets[bucket[i]]++] = i;
  return { x, y, near, order, bucket, walls: wallsOf(cloud.half, opened, at), zoom: Math.sqrt(camera.zoom) };
}

/** The sides of a room that do not face the eye, as four corners each on the canvas. */
function wallsOf(half, opened, at) {
  const walls = [];
  for (let axis = 0; axis < 3; axis++) {
    for (const [bit, sign] of [[1, -1], [2, 1]]) {
      if (!(opened & (3 << (2 * axis))) || opened & (bit << (2 * axis))) continue;
      walls.push([[-1, -1], [-1, 1], [1, 1], [1, -1]].map(([u, v]) => {
        const corner = [0, 0, 0];
        [corner[axis], corner[(axis + 1) % 3], corner[(axis + 2) % 3]] = [sign, u, v];
        return at(...corner.map((value, k) => value * half[k]));
      }));
    }
  }
  return walls;
}

const discs = new Map();

/** Pixels of a disc, four numbers each: place, how much is covered and how bright it is, of 256: a little ball. */
function disc(quarters, halfX, halfY) {
  const key = quarters * 4 + halfX * 2 + halfY;
  if (!discs.has(key)) {
    const radius = quarters / 4;
    const reach = Math.ceil(radius + 1);
    const pixels = [];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const [u, v] = [dx - halfX / 2, dy - halfY / 2];
        const away = Math.hypot(u, v);
        const cover = Math.round(256 * clamp(radius + 0.5 - away, 0, 1));
        const light = 0.97 - 0.34 * (away / (radius + 0.5)) ** 3 + 0.07 * clamp((-u - v) / (radius + 1), -1, 1);
        if (cover > 0) pixels.push(dx, dy, cover, Math.round(256 * clamp(light, 0, 1)));
      }
    }
    discs.set(key, Int32Array.from(pixels));
  }
  return discs.get(key);
}

const mixed = (value, other, share) => (value * (256 - share) + other * share) >> 8;

/** Point i on a picture of 32 bits a pixel; whole numbers only, as they are handed on without being stored first. */
function dot(page, i, quarters, red, green, blue, flat) {
  const { picture, width, height } = page;
  const x = Math.floor(2 * page.x[i]); // in halves of a pixel
  const y = Math.floor(2 * page.y[i]);
  const left = x >> 1;
  const top = y >> 1;
  const pixels = disc(quarters, x & 1, y & 1);
  for (let k = 0; k < pixels.length; k += 4) {
    const column = left + pixels[k];
    const row = top + pixels[k + 1];
    if (column < 0 || row < 0 || column >= width || row >= height) continue;
    const at = row * width + column;
    const cover = pixels[k + 2];
    const light = flat ? 256 : pixels[k + 3];
    let r = (red * light) >> 8;
    let g = (green * light) >> 8;
    let b = (blue * light) >> 8;
    if (cover < 256) {
      const old = picture[at];
      r = (r * cover + (old & 255) * (256 - cover)) >> 8;
      g = (g * cover + ((old >> 8) & 255) * (256 - cover)) >> 8;
      b = (b * cover + ((old >> 16) & 255) * (256 - cover)) >> 8;
    }
    picture[at] = -16777216 | (b << 16) | (g << 8) | r;
  }
}

/**
 * Draw a cloud. `look(i)` fills `pen` for point i: colour, radius, whether it has a core (its label is wrong), and how
 * far it is veiled; `rimmed(i)` tells points whose outline together is drawn. `ground` and `ink` are the page's.
 */
function paint(canvas, seen, look, rimmed, ground, ink) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = `rgb(${ground})`;
  context.fillRect(0, 0, width, height);
  drawWalls(context, seen.walls, ink);
  const picture = context.getImageData(0, 0, width, height);
  const pen = { colour: ink, radius: 1, core: false, veil: 0 };
  const { near, order, bucket, zoom } = seen;
  const page = { picture: new Int32Array(picture.data.buffer), width, height, x: seen.x, y: seen.y };
  const quarters = (radius) => Math.max(2, Math.round(4 * radius)) | 0;
  let ahead = 0;
  for (const i of order) {
    // Rims come earlier, as if they lay behind: so the points of one object do not cut each other up.
    for (; ahead < order.length && bucket[order[ahead]] <= bucket[i] + BEHIND; ahead++) {
      const other = order[ahead];
      if (!rimmed(other)) continue;
      look(other, pen);
      dot(page, other, quarters(pen.radius * near[other] * zoom + 2.2), ink[0], ink[1], ink[2], true);
    }
    look(i, pen);
    const radius = pen.radius * near[i] * zoom;
    const veil = Math.round(256 * Math.max(pen.veil, 0.45 * clamp(1.08 - near[i], 0, 0.3))); // what is far fades a little
    const { colour, core } = pen;
    const [red, green, blue] = ground;
    dot(page, i, quarters(radius), mixed(colour[0], red, veil), mixed(colour[1], green, veil),
      mixed(colour[2], blue, veil), false);
    if (core) dot(page, i, quarters(0.42 * radius), mixed(CORE, red, veil), mixed(CORE, green, veil),
      mixed(CORE, blue, veil), true);
  }
  context.putImageData(picture, 0, 0);
}

/** The far sides of the room, very light. */
function drawWalls(context, walls, ink) {
  for (const wall of walls) {
    context.beginPath();
    for (const [x, y] of wall) context.lineTo(x, y);
    context.closePath();
    context.fillStyle = `rgba(${ink}, 0.035)`;
    context.fill();
    context.strokeStyle = `rgba(${ink}, 0.25)`;
    context.lineWidth = 1;
    context.stroke();
  }
}

/** The point under a place on the canvas: the one in front that covers it, else the nearest one; -1 if none is near. */
function pointAt(seen, x, y, radiusOf, reach) {
  let [best, least] = [-1, reach];
  for (let k = seen.order.length - 1; k >= 0; k--) {
    const i = seen.order[k];
    const away = Math.hypot(seen.x[i] - x, seen.y[i] - y);
    if (away <= radiusOf(i) * seen.near[i] * seen.zoom) return i;
    if (away < least) [best, least] = [i, away];
  }
  return best;
}

/** Lets the pointer, the wheel and the keys of a panel move the camera; a click without a drag is handed on. */
function steer(canvas, camera, moved, clicked) {
  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, drag: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held || !event.buttons) return;
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    if (!held.drag && Math.hypot(dx, dy) < 4) return;
    const { clientWidth, clientHeight } = canvas;
    if (event.shiftKey) Object.assign(camera, { x: camera.x + dx / clientWidth, y: camera.y + dy / clientHeight });
    else turn(camera, -0.009 * dx, 0.009 * dy);
    held = { x: event.clientX, y: event.clientY, drag: true };
    moved();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held && !held.drag) clicked(event);
    held = null;
  });
  canvas.addEventListener("wheel", (event) => {
    // Until a panel has been clicked, the wheel scrolls the page that the widget is part of.
    if (!event.ctrlKey && !canvas.closest(".vl-room").contains(document.activeElement)) return;
    event.preventDefault();
    camera.zoom = clamp(camera.zoom * Math.exp(-0.0015 * event.deltaY), 0.3, 12);
    moved();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0.12, 0], ArrowRight: [-0.12, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    const zoom = { "+": 1.15, "=": 1.15, "-": 1 / 1.15 }[event.key];
    if (!step && !zoom) return;
    event.preventDefault();
    if (step) turn(camera, ...step);
    else camera.zoom = clamp(camera.zoom * zoom, 0.3, 12);
    moved();
  });
}

function turn(camera, yaw, pitch) {
  camera.yaw += yaw;
  camera.pitch = clamp(camera.pitch + pitch, -1.5, 1.5);
}

/** Red, green and blue of a colour that the page's style names. */
function colourOf(root, name) {
  const probe = make("i");
  probe.style.color = `var(${name})`;
  root.append(probe);
  const found = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
}

/** A ring around the point that was picked, seen on any colour. */
function ring(canvas, x, y, radius, ratio) {
  const context = canvas.getContext("2d");
  for (const [colour, width] of [["#000", 4.5], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.beginPath();
    context.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}
