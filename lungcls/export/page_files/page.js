// What is seen: files in, cards out. The networks run in worker.js.

const drop = document.querySelector("#drop");
const input = document.querySelector("#files");
const state = document.querySelector("#state");
const results = document.querySelector("#results");
const template = document.querySelector("#card");
const cards = new Map();
let number = 0;
let kept = false;

// Keeps all files of the page; false where the browser lets it not, so that the page needs its server.
async function keepForOffline() {
  try {
    const registration = await navigator.serviceWorker.register("offline.js");
    const coming = registration.installing ?? registration.waiting;
    if (!registration.active && coming) {
      await new Promise((done) => {
        coming.addEventListener("statechange", () => {
          if (["activated", "redundant"].includes(coming.state)) done();
        });
      });
    }
    return Boolean(registration.active);
  } catch {
    return false;
  }
}

// Never 0% or 100%, which no finite sample can tell.
function percent(value) {
  if (value < 0.01) return "under 1%";
  return value > 0.99 ? "over 99%" : `${Math.round(100 * value)}%`;
}

function tell() {
  const left = [...cards.values()].filter((card) => card.waiting).length;
  const word = left === 1 ? "film" : "films";
  const ready = kept ? "Ready. Works without a network from now on." : "Ready.";
  state.textContent = left ? `Looking at ${left} ${word}…` : ready;
}

function take(files) {
  for (const file of files) {
    const id = (number += 1);
    const card = template.content.firstElementChild.cloneNode(true);
    card.querySelector("h2").textContent = file.name;
    const remove = card.querySelector(".remove");
    remove.setAttribute("aria-label", `Remove: ${file.name}`);
    remove.addEventListener("click", () => {
      cards.delete(id);
      card.remove();
      tell();
      input.focus();
    });
    results.prepend(card);
    cards.set(id, { card, file, waiting: true });
    working.then((worker) => worker.postMessage({ id, file }));
  }
  if (files.length && "ready" in drop.dataset) tell();
}

function text(card, place, words) {
  const element = card.querySelector(place);
  element.textContent = words;
  element.hidden = !words;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function maskPicture(mask, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const picture = new ImageData(width, height);
  mask.forEach((inside, place) => picture.data.fill(inside ? 255 : 0, 4 * place, 4 * place + 3));
  mask.forEach((_, place) => {
    picture.data[4 * place + 3] = 255;
  });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

function show({ card, file }, { picture, mask, ...answer }) {
  const { width, height, label, quality } = answer;
  const canvas = card.querySelector("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(picture, width, height), 0, 0);
  canvas.setAttribute("aria-label", answer.box ? "The film with its lungs outlined" : "The film; no lungs were found");
  const said = label === null
    ? "No label is given"
    : `Most like ${label}: ${percent(answer.confidence)}, ${answer.tier} confidence`;
  text(card, ".answer", said);
  const rows = Object.entries(answer.probabilities).map(([name, value]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const meter = document.createElement("meter");
    meter.value = value;
    meter.setAttribute("aria-hidden", "true");
    const [bar, figure] = [document.createElement("td"), document.createElement("td")];
    bar.append(meter);
    figure.textContent = percent(value);
    row.append(head, bar, figure);
    return row;
  });
  card.querySelector("tbody").replaceChildren(...rows);
  card.querySelector("table").hidden = label === null;
  const names = answer.conformal_set;
  const listed = names.length === 1 ? `${names[0]} alone` : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
  text(card, ".set", names.length ? `At ${answer.coverage} coverage: ${listed}` : "");
  const items = quality.reasons.map((reason) => {
    const item = document.createElement("li");
    item.textContent = reason.message;
    return item;
  });
  card.querySelector(".reasons").replaceChildren(...items);
  const whole = answer.fallback ? "; answered for the whole film" : "";
  text(card, ".meta", `${width} × ${height} pixels; ${answer.classifier}${whole}`);
  card.querySelector(".body").hidden = false;
  card.classList.add("done");
  const stem = file.name.replace(/\.[^.]*$/, "");
  const kept = { file: file.name, ...answer };
  const savers = {
    json: () => save(new Blob([JSON.stringify(kept, null, 1)], { type: "application/json" }), `${stem}.json`),
    mask: () => maskPicture(mask, width, height).toBlob((blob) => save(blob, `${stem}-mask.png`)),
    overlay: () => canvas.toBlob((blob) => save(blob, `${stem}-overlay.png`)),
  };
  for (const button of card.querySelectorAll("[data-save]")) {
    button.setAttribute("aria-label", `${button.textContent}: ${file.name}`);
    button.addEventListener("click", savers[button.dataset.save]);
  }
}

function receive({ data }) {
  if (data.ready) {
    drop.dataset.ready = "";
    tell();
    return;
  }
  if (data.failed) {
    state.textContent = `The networks cannot be loaded: ${data.failed}`;
    state.className = "problem";
    return;
  }
  const entry = cards.get(data.id);
  if (!entry) return; // removed while it was looked at
  entry.waiting = false;
  const pending = entry.card.querySelector(".pending");
  if (data.problem) {
    pending.textContent = data.problem;
    pending.className = "problem";
    pending.setAttribute("role", "alert");
  } else {
    pending.remove();
    show(entry, data.result);
  }
  tell();
}

// After the files are kept, so that they are fetched once.
const working = keepForOffline().then((done) => {
  kept = done;
  const worker = new Worker("worker.js", { type: "module" });
  worker.addEventListener("message", receive);
  worker.addEventListener("error", (event) => receive({ data: { failed: event.message || "the script does not run here" } }));
  return worker;
});

input.addEventListener("change", () => {
  take(input.files);
  input.value = "";
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
