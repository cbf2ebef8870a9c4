"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const [times, rows, columns] = data.grid;
const cells = rows * columns, tokens = times * cells, last = data.plane.length - 1;
const palettes = Object.fromEntries(Object.entries(data.scales).map(([name, scale]) => [name, bytes(scale.colours)]));
const variants = data.variants.map((variant) => ({
  ...variant, visible: bytes(variant.visible), error: floats(variant.error), ifHidden: floats(variant.if_hidden),
  // Draws that prefer no token have none.
  probability: variant.probability && floats(variant.probability),
}));

// In `visible`: of tokens that are visible, but the encoder sees a mask token.
const REPLACED = 2;
const states = ["masked", "visible", "visible, but the encoder sees a mask token"];

// What the person has chosen.
const state = { frame: 0, variant: 0, opacity: 0.7, token: null, playing: false };

// ---- pictures, decoded when they are first wanted
const pictures = new Map();
function picture(list, number, then) {
  const source = list[number];
  let image = pictures.get(source);
  if (!image) {
    image = new Image();
    image.src = "data:image/webp;base64," + source;
    pictures.set(source, image);
  }
  if (image.complete) return image;
  image.addEventListener("load", then, { once: true });
  return null;
}

// ---- panels
const names = ["video", "visible tokens", "prediction", "error", ...(data.scales.probability ? ["probability"] : [])];
const panels = Object.fromEntries(names.map((name) => {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  const canvas = document.createElement("canvas");
  caption.textContent = name === "video" ? data.noun : name;
  canvas.className = "panel";
  canvas.width = canvas.height = data.size;
  canvas.dataset.name = name;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption.textContent);
  canvas.addEventListener("click", (event) => choose(event, canvas));
  if (name === "probability") figure.className = "of-probability";
  figure.append(caption, canvas);
  find("panels").append(figure);
  return [name, canvas.getContext("2d")];
}));
const map = document.createElement("canvas");
map.width = columns;
map.height = rows;
const mapPen = map.getContext("2d", { willReadFrequently: true });

function paint(pen, values, scale, opacity) {
  const image = mapPen.createImageData(columns, rows), begin = data.plane[state.frame] * cells;
  const table = palettes[scale], high = data.scales[scale].high;
  for (let cell = 0; cell < cells; cell++) {
    const value = values[begin + cell];
    const place = 3 * Math.round(Math.min(Math.max(value / high, 0), 1) * 255);
    for (let colour = 0; colour < 3; colour++) {
      image.data[4 * cell + colour] = Number.isNaN(value) ? data.hidden : table[place + colour];
    }
    image.data[4 * cell + 3] = 255;
  }
  mapPen.putImageData(image, 0, 0);
  pen.globalAlpha = opacity;
  pen.imageSmoothingEnabled = false;
  pen.drawImage(map, 0, 0, data.size, data.size);
  pen.globalAlpha = 1;
}

// A token's pixels; the picture may have fewer of them than the video.
function part(pen, image, x, y, toX, toY) {
  const share = image.naturalWidth / data.size, patch = data.patch;
  pen.drawImage(image, x * share, y * share, patch * share, patch * share, toX, toY, patch, patch);
}

function draw() {
  const variant = variants[state.variant], patch = data.patch, begin = data.plane[state.frame] * cells;
  const video = picture(data.video, state.frame, draw), predicted = picture(variant.prediction, state.frame, draw);
  if (video) {
    panels["video"].drawImage(video, 0, 0, data.size, data.size);
    const pen = panels["visible tokens"];
    pen.fillStyle = `rgb(${data.hidden} ${data.hidden} ${data.hidden})`;
    pen.fillRect(0, 0, data.size, data.size);
    for (let cell = 0; cell < cells; cell++) {
      const token = variant.visible[begin + cell], x = cell % columns * patch, y = Math.floor(cell / columns) * patch;
      if (token === REPLACED) {
        pen.fillStyle = `rgb(${data.secondary.join(" ")})`;
        pen.fillRect(x, y, patch, patch);
      } else if (token) part(pen, video, x, y, x, y);
    }
    if (variant.probability) panels["probability"].drawImage(video, 0, 0, data.size, data.size);
  }
  if (predicted) panels["prediction"].drawImage(predicted, 0, 0, data.size, data.size);
  paint(panels["error"], variant.error, "error", 1);
  if (variant.probability) paint(panels["probability"], variant.probability, "probability", state.opacity);
  mark();
  find("time").value = state.frame;
  find("clock").textContent = `${data.seconds[state.frame].toFixed(2)} s, frame ${data.numbers[state.frame]}`;
}

function mark() {
  const token = state.token;
  if (!token || token.plane !== data.plane[state.frame]) return;
  const x = token.cell % columns * data.patch, y = Math.floor(token.cell / columns) * data.patch;
  for (const pen of Object.values(panels)) {
    pen.lineWidth = Math.max(1, data.size / 112);
    pen.strokeStyle = "#fff";
    pen.strokeRect(x + 0.5, y + 0.5, data.patch - 1, data.patch - 1);
  }
}

// ---- a token
function choose(event, canvas) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / box.width * columns);
  const row = Math.floor((event.clientY - box.top) / box.height * rows);
  select(Math.min(row, rows - 1) * columns + Math.min(column, columns - 1));
}

function select(cell) {
  state.token = { plane: data.plane[state.frame], cell };
  draw();
  describe();
}

function row(table, texts, kind = "td") {
  const line = table.insertRow();
  for (const text of texts) {
    const cell = document.createElement(kind);
    cell.textContent = text;
    line.append(cell);
  }
  return line;
}

const shown = (value) => (Number.isNaN(value) ? "–" : value.toFixed(3));

function describe() {
  const token = state.token;
  if (!token) return;
  const variant = variants[state.variant], place = token.plane * cells + token.cell;
  const table = find("numbers");
  table.replaceChildren();
  row(table, ["place", `time ${token.plane % times}, row ${Math.floor(token.cell / columns)}, column ${token.cell % columns}`]);
  row(table, ["state", states[variant.visible[place]]]);
  if (variant.probability) {
    const first = Math.floor(token.plane / times) * tokens;
    const clip = variant.probability.subarray(first, first + tokens);
    const rank = 1 + clip.reduce((count, value) => count + (value > variant.probability[place] ? 1 : 0), 0);
    const relative = variant.score === "probability" ? "uniform" : "the mean of its clip";
    row(table, [`${variant.score} relative to ${relative}`, shown(variant.probability[place])]);
    row(table, ["rank in its clip", `${rank} of ${tokens}`]);
  }
  row(table, ["error", shown(variant.error[place])]);
  if (variant.visible[place]) row(table, ["error in a second draw that hides it", shown(variant.ifHidden[place])]);
  find("hint").hidden = true;
  find("details").hidden = false;
  patches(variant, token);
}

function patches(variant, token) {
  const box = find("patches"), patch = data.patch;
  const x = token.cell % columns * patch, y = Math.floor(token.cell / columns) * patch;
  box.replaceChildren();
  data.plane.forEach((plane, frame) => {
    if (plane !== token.plane) return;
    for (const [name, list] of [[data.noun, data.video], ["prediction", variant.prediction]]) {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = patch;
      caption.textContent = `${name} ${data.numbers[frame]}`;
      figure.append(canvas, caption);
      box.append(figure);
      const put = () => {
        const image = picture(list, frame, put);
        if (image) part(canvas.getContext("2d"), image, x, y, 0, 0);
      };
      put();
    }
  });
}

// ---- statistics
const number = (digits) => (value) => value.toFixed(digits);
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const headings = {
  visible: ["visible", (value, all) => `${value} of ${all.tokens}`], entropy: ["entropy (uniform: 1)", number(4)],
  top_tenth: ["visible in the top tenth", percent], target_error: ["error of masked tokens", number(4)],
  trivial_error: ["error of the trivial predictor", number(4)], visible_error: ["error of visible tokens, if masked", number(4)],
  on_moving: ["visible on moving regions", percent], hit_rate: ["hit rate (uniform: 1)", number(2)],
};
function tabulate() {
  const table = find("statistics");
  table.replaceChildren();
  const known = Object.keys(headings).filter((name) => variants.some((variant) => variant.statistics[name] !== undefined));
  row(table, ["sampler", ...known.map((name) => headings[name][0])], "th");
  variants.forEach((variant, number) => {
    const all = variant.statistics;
    const cellsOf = known.map((name) => (all[name] === undefined ? "–" : headings[name][1](all[name], all)));
    row(table, [variant.label, ...cellsOf]).className = number === state.variant ? "current" : "";
  });
}

// ---- controls
const groups = [...new Set(variants.map((variant) => variant.group))];
function offer(select, names, chosen) {
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
}
function ratios() {
  const group = variants[state.variant].group;
  offer(find("ratio"), variants.filter((variant) => variant.group === group).map((variant) => variant.ratio), variants[state.variant].ratio);
}
function show(number) {
  state.variant = number;
  for (const part of document.querySelectorAll(".of-probability")) part.hidden = !variants[number].probability;
  const figure = document.querySelector("figure.of-probability");
  if (figure) {
    figure.querySelector("figcaption").textContent = variants[number].score;
    figure.querySelector("canvas").setAttribute("aria-label", variants[number].score);
  }
  ratios();
  tabulate();
  describe();
  draw();
}
offer(find("method"), groups, variants[data.first].group);
find("methods").hidden = groups.length < 2;
find("method").addEventListener("change", (event) => {
  const asked = variants[state.variant].mask_ratio;
  const same = variants.findIndex((variant) => variant.group === event.target.value && variant.mask_ratio === asked);
  show(same >= 0 ? same : variants.findIndex((variant) => variant.group === event.target.value));
});
find("ratio").addEventListener("change", (event) => {
  const group = variants[state.variant].group;
  show(variants.findIndex((variant) => variant.group === group && variant.ratio === event.target.value));
});
find("opacity").addEventListener("input", (event) => { state.opacity = event.target.value / 100; draw(); });
find("time").max = last;
// A single frame is no film.
for (const id of ["play", "time", "clock"]) find(id).hidden = last === 0;
find("time").addEventListener("input", (event) => { play(false); go(Number(event.target.value)); });
find("play").addEventListener("click", () => play(!state.playing));
find("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches, root = document.documentElement;
  const now = root.dataset.theme || (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});

function go(frame) {
  state.frame = Math.min(Math.max(frame, 0), last);
  draw();
}

let began = 0, from = 0;
function play(on) {
  state.playing = on;
  find("play").textContent = on ? "❚❚" : "▶";
  if (on) {
    began = performance.now();
    from = state.frame;
    requestAnimationFrame(tick);
  }
}
function tick(now) {
  if (!state.playing) return;
  const length = data.end - data.seconds[0];
  const second = data.seconds[0] + (data.seconds[from] - data.seconds[0] + Math.max(now - began, 0) / 1000) % length;
  const later = data.seconds.findIndex((begin) => begin > second);
  const frame = later < 0 ? last : later - 1;
  if (frame !== state.frame) go(frame);
  requestAnimationFrame(tick);
}

function step(select, by) {
  const next = select.selectedIndex + by;
  if (next < 0 || next >= select.options.length) return;
  select.selectedIndex = next;
  select.dispatchEvent(new Event("change"));
}
const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
function moveToken([down, right]) {
  const cell = state.token ? state.token.cell : Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  const y = Math.min(Math.max(Math.floor(cell / columns) + down, 0), rows - 1);
  const x = Math.min(Math.max(cell % columns + right, 0), columns - 1);
  select(y * columns + x);
}
const keys = {
  " ": () => play(!state.playing), Home: () => go(0), End: () => go(last),
  ArrowLeft: () => { play(false); go(state.frame - 1); }, ArrowRight: () => { play(false); go(state.frame + 1); },
  "[": () => step(find("ratio"), -1), "]": () => step(find("ratio"), 1),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.shiftKey && moves[event.key]) moveToken(moves[event.key]);
  // Controls keep the keys that are theirs.
  else if (["SELECT", "INPUT"].includes(event.target.tagName) && !"[]".includes(event.key)) return;
  else if (event.target.tagName === "BUTTON" && event.key === " ") return;
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

// ---- words
find("title").textContent = data.title;
for (const note of data.notes) {
  const line = document.createElement("li");
  line.textContent = note;
  find("notes").append(line);
}
for (const [name, scale] of Object.entries(data.scales)) {
  const table = palettes[name], stops = [];
  for (let place = 0; place < 256; place += 15) stops.push(`rgb(${table.slice(3 * place, 3 * place + 3).join(" ")})`);
  const line = document.createElement("span"), bar = document.createElement("i");
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  if (name === "probability") line.className = "of-probability";
  line.append(scale.what, " 0", bar, scale.end);
  find("legend").append(line);
}
show(data.first);
})();
