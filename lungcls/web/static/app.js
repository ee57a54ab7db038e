// The page's behaviour. Everything it shows comes from the service: class names and regions from the weights' cards.

const PREVIEW = 1024; // longest side of the pictures on the page, in pixels
const MAP = 640;
const AT_ONCE = 2; // requests that one page sends at the same time
const TRIES = 30; // while the service is busy

const byId = (id) => document.getElementById(id);
const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const percent = (value) => (value < 0.01 ? "< 1%" : value > 0.99 ? "> 99%" : `${Math.round(100 * value)}%`);

const short = (value) => (value !== 0 && Math.abs(value) < 0.001 ? "< 0.001" : String(Number(value.toPrecision(3))));

/** Make an element: attributes, then children (elements or text; nothing is ever parsed as HTML). */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** Send a form; wait and try again while the service is busy. */
async function send(path, file, fields, wait) {
  for (let attempt = 1; ; attempt += 1) {
    const form = new FormData();
    form.append("files", file, file.name);
    for (const [name, value] of fields) form.append(name, value);
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body: form });
    } catch {
      throw new Refused({ title: "The service cannot be reached", detail: "Is it still running? Has the file moved?" });
    }
    if (answer.ok) return answer.json();
    if ((answer.status === 429 || answer.status === 503) && attempt < TRIES) {
      wait?.(attempt);
      await sleep(Math.min(30, Number(answer.headers.get("Retry-After")) || 2) + Math.random());
      continue;
    }
    throw new Refused(await problemOf(answer));
  }
}

async function problemOf(answer) {
  try {
    const problem = await answer.json();
    if (problem.title) return problem;
  } catch {
    // What stands between the page and the service (a proxy) answers in its own way.
  }
  const known = { 401: "A password is needed", 413: "The upload is too large", 502: "The service is not running", 504: "The work took too long" };
  return { title: known[answer.status] ?? "The request failed", detail: `The server answered ${answer.status}.` };
}

/** Run tasks, a few at a time, in their order. */
class Lane {
  constructor(width) {
    this.free = width;
    this.tasks = [];
  }

  run(task) {
    return new Promise((done, failed) => {
      this.tasks.push(() => task().then(done, failed));
      this.next();
    });
  }

  next() {
    if (!this.free || !this.tasks.length) return;
    this.free -= 1;
    this.tasks.shift()().finally(() => {
      this.free += 1;
      this.next();
    });
  }
}

const predictions = new Lane(AT_ONCE);
const explanations = new Lane(1);
const cards = new Set();
let about = null;
let numbered = 0;

function say(text) {
  byId("status").textContent = text;
}

function shownRegions() {
  const chosen = document.querySelector("#regions input:checked")?.value ?? "all";
  return chosen === "all" ? Object.keys(about.regions) : [chosen];
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function unpacked(dataUrl) {
  const binary = atob(dataUrl.slice(dataUrl.indexOf(",") + 1));
  return new Blob([Uint8Array.from(binary, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}

/** One image on the page. */
class Card {
  constructor(file) {
    this.file = file;
    this.number = numbered += 1; // tells the radio buttons of the cards apart
    this.maps = new Map(); // "region method" -> the answer of /v1/explain, or a promise of it
    this.element = byId("card-template").content.firstElementChild.cloneNode(true);
    this.element.querySelector("h2").textContent = file.name;
    this.element.querySelector(".meta").textContent = size(file.size);
    this.body = this.element.querySelector(".body");
    this.actions = this.element.querySelector(".actions");
    this.addAction("Remove", () => this.remove());
  }

  get stem() {
    return this.file.name.replace(/\.[^.]*$/, "") || "image";
  }

  remove() {
    cards.delete(this);
    this.element.remove();
    update();
    byId("files").focus();
  }

  addAction(text, act) {
    const button = make("button", { type: "button", "aria-label": `${text.replace("↓", "Download")}: ${this.file.name}` }, text);
    button.addEventListener("click", act);
    this.actions.append(button);
    return button;
  }

  wait(text) {
    this.body.replaceChildren(make("p", { class: "waiting" }, make("span", { class: "spinner", "aria-hidden": "true" }), text));
  }

  fail(problem) {
    this.body.replaceChildren(make("p", { class: "problem", role: "alert" }, make("strong", {}, problem.title), problem.detail));
  }

  async load() {
    this.wait("Waiting for a place");
    if (this.file.size > about.limits.max_upload_bytes) {
      this.fail({ title: "The upload is too large", detail: `${size(this.file.size)}; at most ${size(about.limits.max_upload_bytes)} are taken.` });
      return;
    }
    try {
      const answer = await predictions.run(() => {
        this.wait("Looking at the image");
        const fields = [..."image mask overlay view".split(" ").map((name) => ["pictures", name]), ["max_side", PREVIEW]];
        return send("v1/predict", this.file, fields, (attempt) => this.wait(`The service is busy, attempt ${attempt + 1}`));
      });
      this.answer = { notice: answer.notice, version: answer.version, ...answer.results[0] };
    } catch (error) {
      this.fail(error.problem ?? { title: "The page failed", detail: String(error) });
      say(`${this.file.name}: ${error.problem?.title ?? "failed"}`);
      return;
    }
    if (cards.has(this)) this.show();
  }

  show() {
    const { file, predictions: found } = this.answer;
    const spacing = file.pixel_spacing ? ` · ${file.pixel_spacing.map((value) => value.toFixed(3)).join(" × ")} mm a pixel` : "";
    this.element.querySelector(".meta").textContent = `${file.width} × ${file.height} pixels · ${size(file.bytes)} · ${file.format}${spacing}`;
    this.actions.replaceChildren();
    this.addAction("↓ Mask", () => save(unpacked(this.answer.pictures.mask), `${this.stem}-mask.png`));
    const overlay = this.addAction("↓ Overlay", () => this.saveOverlay(overlay));
    this.addAction("↓ JSON", () => this.saveJson());
    this.addAction("Remove", () => this.remove());

    this.columns = make("div", { class: "columns" });
    this.regions = {};
    for (const [region, prediction] of Object.entries(found)) {
      this.regions[region] = this.column(region, prediction);
      this.columns.append(this.regions[region]);
    }
    this.body.classList.add("done");
    this.body.replaceChildren(this.viewer(), make("div", { class: "answers" }, this.verdict(), this.columns));
    this.arrange();
    const best = found[about.default_region];
    say(`${this.file.name}: ${best.words}`);
  }

  viewer() {
    const { pictures, lungs } = this.answer;
    const views = {
      Lungs: [pictures.overlay, "The image with the lungs that were found tinted and outlined"],
      Image: [pictures.image, "The image as it was read"],
      Mask: [pictures.mask, "The lung mask: white on the lungs"],
    };
    const image = make("img", { src: views.Lungs[0], alt: views.Lungs[1] });
    const tabs = make("fieldset", { class: "segmented" }, make("legend", { class: "unseen" }, "Picture"));
    for (const [name, [source, text]] of Object.entries(views)) {
      const input = make("input", { type: "radio", name: `view-${this.number}`, value: name, checked: name === "Lungs" });
      input.addEventListener("change", () => {
        image.src = source;
        image.alt = text;
      });
      tabs.append(make("label", {}, input, make("span", {}, name)));
    }
    return make("div", { class: "viewer" }, make("div", { class: "film" }, image), tabs, this.quality(lungs.quality));
  }

  quality(quality) {
    if (!quality.reasons.length) {
      return make("p", { class: "quality fine" }, "Quality: both lungs found, nothing seems wrong with the image.");
    }
    const reasons = quality.reasons.map((reason) => {
      const measured = reason.value === null ? "" : ` (measured ${short(reason.value)}, limit ${short(reason.threshold)})`;
      return make("li", {}, `${reason.message}${measured}`);
    });
    const title = !quality.accepted ? "Not accepted as a chest X-ray" : quality.ok ? "Put right before use" : "Doubts about this image";
    return make("div", { class: "quality doubt" }, make("h3", {}, title), make("ul", {}, ...reasons));
  }

  verdict() {
    const found = Object.entries(this.answer.predictions);
    const labels = new Set(found.map(([, prediction]) => prediction.label));
    if (found.length < 2) return null;
    if (labels.has(null)) return make("p", { class: "verdict differ" }, "No class is given for this image.");
    if (labels.size === 1) {
      return make("p", { class: "verdict" }, `All regions give the same class, ${[...labels][0]}. That does not make it right.`);
    }
    const each = found.map(([region, prediction]) => `${region}: ${prediction.label} (${percent(prediction.confidence)})`).join("; ");
    return make("p", { class: "verdict differ" }, make("strong", {}, "The class changes with what the model may see. "), `${each}. What lies outside the lungs has a part in the answer.`);
  }

  column(region, prediction) {
    const parts = [make("h3", {}, region, make("small", {}, about.regions[region]))];
    const facts = make("dl", { class: "facts" });
    const fact = (name, ...text) => facts.append(make("dt", {}, name), make("dd", {}, ...text));
    if (prediction.label === null) {
      parts.push(make("p", { class: "label" }, "No class given"), make("p", { class: "words" }, prediction.words));
    } else {
      const rows = Object.entries(prediction.probabilities).map(([name, value]) => {
        const fill = make("div");
        fill.style.width = `${100 * value}%`;
        return make("tr", { class: name === prediction.label ? "first" : null },
          make("th", { scope: "row" }, name), make("td", { "aria-hidden": "true" }, make("div", { class: "track" }, fill)), make("td", {}, percent(value)));
      });
      parts.push(
        make("div", {}, make("p", { class: "label" }, prediction.label), make("span", { class: `tier ${prediction.tier}` }, `${prediction.tier} confidence`)),
        make("p", { class: "words" }, prediction.words),
        make("table", { class: "bars" }, make("caption", { class: "unseen" }, `Class probabilities, region ${region}`), make("tbody", {}, ...rows)),
      );
      if (prediction.second) fact("Second class", `${prediction.second}, ${percent(prediction.probabilities[prediction.second])}`);
      if (prediction.coverage !== null && prediction.conformal_set.length) {
        const chips = make("span", { class: "chips" }, ...prediction.conformal_set.map((name) => make("span", {}, name)));
        fact("Cannot be ruled out", chips, ` at ${Math.round(100 * prediction.coverage)}% coverage`);
      }
    }
    if (prediction.fallback) parts.push(make("p", { class: "quality doubt" }, "Both lungs were not found: the classifier saw the whole image instead of its region."));
    const map = make("div", { class: "film" }, make("span", { class: "spinner" }));
    const withheld = prediction.label === null; // evidence for a class that is not given would mislead
    const pair = make("div", { class: "pair" },
      make("figure", {}, make("div", { class: "film" }, make("img", { src: prediction.view, alt: `What the classifier of the region ${region} saw` })), make("figcaption", {}, "What the model saw")),
      withheld ? null : make("figure", { class: "map" }, map, make("figcaption", {}, "Map")));
    const notes = about.classes[prediction.label];
    if (notes?.references.length) {
      const links = notes.references.flatMap((each, index) => [index ? " · " : "", make("a", { href: each.url, rel: "noopener noreferrer external", target: "_blank" }, each.title)]);
      fact("To read", ...links);
    }
    fact("Model card", make("a", { href: `#card-${prediction.classifier}` }, prediction.classifier));
    const pictures = make("div", {}, pair, make("p", { class: "shares" }));
    parts.push(facts);
    return make("div", { class: "region", role: "group", "aria-label": `Region ${region}`, "data-region": region }, make("div", { class: "said" }, ...parts), pictures);
  }

  /** Show the regions that are chosen, and fetch the maps that they lack. */
  arrange() {
    if (!this.answer) return;
    const shown = shownRegions();
    this.columns.dataset.count = shown.length;
    for (const [region, element] of Object.entries(this.regions)) {
      element.hidden = !shown.includes(region);
      if (!element.hidden) this.map(region, byId("method").value);
    }
  }

  async map(region, method) {
    const key = `${region} ${method}`;
    const column = this.regions[region];
    const frame = column.querySelector(".map .film");
    if (!frame || column.dataset.map === key) return;
    column.dataset.map = key;
    frame.replaceChildren(make("span", { class: "spinner" }));
    column.querySelector(".shares").textContent = "";
    if (!this.maps.has(key)) {
      const fields = [["region", region], ["method", method], ["pictures", "overlay"], ["max_side", MAP]];
      this.maps.set(key, explanations.run(() => (cards.has(this) ? send("v1/explain", this.file, fields) : Promise.reject(new Error("removed")))));
    }
    let found;
    try {
      found = await this.maps.get(key);
    } catch (error) {
      this.maps.delete(key);
      if (column.dataset.map === key) frame.replaceChildren(make("span", {}, error.problem?.title ?? "No map"));
      return;
    }
    this.maps.set(key, found);
    if (column.dataset.map !== key) return; // another method was chosen meanwhile
    const text = `Where the evidence for ${found.target} lies`;
    frame.replaceChildren(make("img", { src: found.pictures.overlay, alt: `${text}, region ${region}` }));
    column.querySelector(".map figcaption").textContent = text;
    column.querySelector(".shares").textContent = sharesInWords(found.shares);
  }

  async saveOverlay(button) {
    const { file, pictures } = this.answer;
    if (Math.max(file.width, file.height) <= PREVIEW) {
      save(unpacked(pictures.overlay), `${this.stem}-overlay.png`);
      return;
    }
    button.disabled = true;
    try {
      const whole = await send("v1/segment", this.file, [["pictures", "overlay"]]);
      save(unpacked(whole.results[0].pictures.overlay), `${this.stem}-overlay.png`);
    } catch (error) {
      say(`The overlay could not be made: ${error.problem?.title ?? error}`);
    }
    button.disabled = false;
  }

  saveJson() {
    const { pictures, predictions: found, ...rest } = this.answer;
    const plain = Object.fromEntries(Object.entries(found).map(([region, { view, ...values }]) => [region, values]));
    const maps = [...this.maps.values()].filter((each) => each.shares).map(({ region, method, target, shares }) => ({ region, method, target, shares }));
    const text = JSON.stringify({ ...rest, predictions: plain, explanations: maps }, null, 1);
    save(new Blob([text], { type: "application/json" }), `${this.stem}.json`);
  }
}

function sharesInWords(shares) {
  if (shares.lungs === null || shares.lungs === undefined) return "The map is empty: nothing that the model saw speaks for this class.";
  const chance = shares.lungs_chance;
  const beside = chance === null || chance === undefined ? "" : ` (an even map: ${percent(chance)})`;
  return `${percent(shares.lungs)} of the map lies inside the lungs${beside}.`;
}

function update() {
  byId("tools").hidden = !cards.size;
  byId("drop").classList.toggle("small", cards.size > 0);
}

function add(files) {
  for (const file of files) {
    const card = new Card(file);
    cards.add(card);
    byId("results").append(card.element);
    card.load();
  }
  update();
  if (files.length) say(files.length === 1 ? `${files[0].name} is being looked at` : `${files.length} files are being looked at`);
}

function listen() {
  const input = byId("files");
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
  const drop = byId("drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    add([...(event.dataTransfer?.files ?? [])]);
  });
  document.addEventListener("paste", (event) => add([...(event.clipboardData?.files ?? [])]));
  byId("clear").addEventListener("click", () => {
    for (const card of [...cards]) card.remove();
  });
  byId("regions").addEventListener("change", () => cards.forEach((card) => card.arrange()));
  byId("method").addEventListener("change", () => cards.forEach((card) => card.arrange()));
}

function chooseTheme() {
  const button = byId("theme");
  const order = ["auto", "light", "dark"];
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute("aria-label", `${button.textContent} colours${theme === "auto" ? ", as the system has them" : ""}`);
    button.dataset.theme = theme;
  };
  let kept = null;
  try {
    kept = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden; the page does not need it.
  }
  apply(order.includes(kept) ? kept : "auto");
  button.addEventListener("click", () => {
    const theme = order[(order.indexOf(button.dataset.theme) + 1) % order.length];
    apply(theme);
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // As above.
    }
  });
}

async function start() {
  chooseTheme();
  try {
    about = await (await fetch("v1/models")).json();
  } catch {
    byId("drop").replaceWith(make("p", { class: "problem", role: "alert" }, make("strong", {}, "The service cannot be reached"), "Load the page again when it runs."));
    return;
  }
  const names = Object.keys(about.regions);
  const switches = names.length > 1 ? [["all", "Compare all"], ...names.map((name) => [name, name])] : [[names[0], names[0]]];
  switches.forEach(([value, text], index) => {
    const title = about.regions[value] ?? "every region side by side";
    byId("regions").append(make("label", { title }, make("input", { type: "radio", name: "region", value, checked: index === 0 }), make("span", {}, text)));
  });
  byId("method").append(...about.methods.map((method) => make("option", { value: method }, method.replaceAll("_", " "))));
  listen();
  byId("drop").dataset.ready = "";
}

start();
