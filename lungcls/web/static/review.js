// The mask editor. A mask is a canvas of the film's own size: opaque where there is lung, transparent elsewhere.

const byId = (id) => document.getElementById(id);
const [film, mask] = [byId("film"), byId("mask")];
const marks = mask.getContext("2d", { willReadFrequently: true });
const COLOUR = [64, 191, 255];
const STEPS = 20; // that can be undone

let films = [];
let at = 0;
let erasing = false;
let last = null; // where the stroke in progress was
let history = [];
let changed = false;

function say(text, bad = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", bad);
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `the server says ${answer.status}`);
  return answer;
}

const picture = async (path) => createImageBitmap(await (await ask(path)).blob());

/** Paint the mask anew from one value a pixel: 255 is lung. */
function put(values, width, height) {
  const data = new ImageData(width, height);
  for (let i = 0; i < values.length; i += 1) {
    data.data.set(COLOUR, 4 * i);
    data.data[4 * i + 3] = values[i];
  }
  marks.putImageData(data, 0, 0);
}

/** The mask as one value a pixel, 0 or 255. */
function taken() {
  const { data } = marks.getImageData(0, 0, mask.width, mask.height);
  return Uint8Array.from({ length: data.length / 4 }, (_, i) => (data[4 * i + 3] > 127 ? 255 : 0));
}

function remember() {
  history.push(marks.getImageData(0, 0, mask.width, mask.height));
  history = history.slice(-STEPS);
  changed = true;
}

async function open(number) {
  if (changed && !window.confirm("This mask has changes that are not saved. Leave them?")) return;
  document.body.removeAttribute("data-ready");
  at = number;
  say("Loading ...");
  try {
    const [shown, drawn] = await Promise.all([picture(`films/${at}`), picture(`masks/${at}`)]);
    for (const canvas of [film, mask]) [canvas.width, canvas.height] = [shown.width, shown.height];
    film.getContext("2d").drawImage(shown, 0, 0);
    marks.drawImage(drawn, 0, 0);
    const { data } = marks.getImageData(0, 0, mask.width, mask.height);
    put(Uint8Array.from({ length: data.length / 4 }, (_, i) => (data[4 * i] > 127 ? 255 : 0)), mask.width, mask.height);
    say(films[at].saved ? "This mask was saved before." : "Drawn by the segmenter; not saved yet.");
  } catch (error) {
    marks.clearRect(0, 0, mask.width, mask.height);
    say(error.message, true);
  }
  history = [];
  changed = false;
  list();
  document.body.setAttribute("data-ready", String(at));
}

function list() {
  const saved = films.filter((one) => one.saved).length;
  byId("progress").textContent = `${films[at].name}: ${at + 1} of ${films.length}; ${saved} saved`;
  byId("previous").disabled = at === 0;
  byId("next").disabled = at === films.length - 1;
}

function place(event) {
  const box = mask.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * mask.width) / box.width,
    ((event.clientY - box.top) * mask.height) / box.height,
  ];
}

function stroke(to) {
  const radius = (Number(byId("size").value) / 200) * Math.max(mask.width, mask.height) * 0.3;
  marks.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  marks.strokeStyle = `rgb(${COLOUR.join()})`;
  marks.lineWidth = Math.max(1, 2 * radius);
  marks.lineCap = "round";
  marks.beginPath();
  marks.moveTo(...(last ?? to));
  marks.lineTo(to[0] + 0.01, to[1]);
  marks.stroke();
  marks.globalCompositeOperation = "source-over";
  last = to;
}

/** The mean over a square around each pixel, along one direction and then the other. */
function blurred(values, width, height, radius) {
  let from = Float32Array.from(values);
  for (const [count, length, step, jump] of [[height, width, 1, width], [width, height, width, 1]]) {
    const to = new Float32Array(from.length);
    for (let line = 0; line < count; line += 1) {
      let sum = 0;
      const get = (i) => from[line * jump + Math.min(length - 1, Math.max(0, i)) * step];
      for (let i = -radius; i <= radius; i += 1) sum += get(i);
      for (let i = 0; i < length; i += 1) {
        to[line * jump + i * step] = sum / (2 * radius + 1);
        sum += get(i + radius + 1) - get(i - radius);
      }
    }
    from = to;
  }
  return from;
}

/** Round off the outline: a pixel is lung where most of its surroundings are. */
function smooth() {
  remember();
  const { width, height } = mask;
  const radius = Math.max(1, Math.round(Math.max(width, height) / 100));
  const mean = blurred(blurred(taken(), width, height, radius), width, height, radius);
  put(Uint8Array.from(mean, (value) => (value > 127.5 ? 255 : 0)), width, height);
}

function undo() {
  const before = history.pop();
  if (before) marks.putImageData(before, 0, 0);
}

function choose(erase) {
  erasing = erase;
  byId("brush").setAttribute("aria-pressed", String(!erase));
  byId("erase").setAttribute("aria-pressed", String(erase));
}

async function save() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [mask.width, mask.height];
  const values = taken();
  const data = new ImageData(mask.width, mask.height);
  for (let i = 0; i < values.length; i += 1) data.data.set([values[i], values[i], values[i], 255], 4 * i);
  canvas.getContext("2d").putImageData(data, 0, 0);
  const content = await new Promise((done) => canvas.toBlob(done, "image/png"));
  try {
    const answer = await ask(`masks/${at}`, { method: "PUT", body: content, headers: { "Content-Type": "image/png" } });
    films[at].saved = true;
    changed = false;
    const { saved } = await answer.json();
    if (at + 1 < films.length) await open(at + 1);
    list();
    say(`Saved: ${saved}`);
  } catch (error) {
    say(error.message, true);
  }
}

mask.addEventListener("pointerdown", (event) => {
  remember();
  mask.setPointerCapture(event.pointerId);
  last = null;
  stroke(place(event));
});
mask.addEventListener("pointermove", (event) => {
  if (event.buttons && last) stroke(place(event));
});
for (const name of ["pointerup", "pointercancel"]) {
  mask.addEventListener(name, () => {
    last = null;
  });
}
byId("brush").addEventListener("click", () => choose(false));
byId("erase").addEventListener("click", () => choose(true));
byId("smooth").addEventListener("click", smooth);
byId("undo").addEventListener("click", undo);
byId("save").addEventListener("click", save);
byId("previous").addEventListener("click", () => open(at - 1));
byId("next").addEventListener("click", () => open(at + 1));
byId("shown").addEventListener("change", (event) => {
  mask.style.opacity = event.target.checked ? "" : "0";
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.matches("button") && event.key === "Enter";
  const keys = {
    b: () => choose(false),
    e: () => choose(true),
    s: smooth,
    z: undo,
    Enter: save,
    ArrowLeft: () => at > 0 && open(at - 1),
    ArrowRight: () => at + 1 < films.length && open(at + 1),
  };
  if (keys[event.key] && !onButton) {
    event.preventDefault();
    keys[event.key]();
  }
});
window.addEventListener("beforeunload", (event) => {
  if (changed) event.preventDefault();
});

ask("films")
  .then((answer) => answer.json())
  .then((found) => {
    films = found;
    const first = films.findIndex((one) => !one.saved);
    return open(Math.max(0, first));
  })
  .catch((error) => say(error.message, true));
