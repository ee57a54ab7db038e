// The networks, away from the page's own thread: a file in, an answer out. Nothing is ever sent.

import * as ort from "onnxruntime-web/wasm";
import { readFilm } from "./films.js";
import { assess, judgedInverse, maskQuality, prediction, screen, wantsInverse } from "./judge.js";

ort.env.wasm.numThreads = 1;

const waiting = new Map();

// A file of the page, unpacked and compared with the hash that page.json has.
async function fetched(name) {
  const { files } = await rules();
  const answer = await fetch(`${name}.gzip`);
  if (!answer.ok) throw new Error(`${name} cannot be loaded (${answer.status}); reload the page while online`);
  const unpacked = answer.body.pipeThrough(new DecompressionStream("gzip"));
  const content = await new Response(unpacked).arrayBuffer();
  if (!crypto.subtle) throw new Error("open the page over https, or on this machine: the browser asks for it");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hash !== files[name]) throw new Error(`${name} is damaged; empty the browser's cache and reload the page`);
  return new Uint8Array(content);
}

function once(name, make) {
  if (!waiting.has(name)) {
    const made = make();
    waiting.set(name, made);
    made.catch(() => waiting.delete(name)); // so that a later film tries again
  }
  return waiting.get(name);
}

const rules = () => once("rules", async () => (await fetch("page.json")).json());

const runtime = () =>
  once("runtime", async () => {
    ort.env.wasm.wasmBinary = await fetched("runtime.wasm");
  });

const session = ({ graph, weights }) =>
  once(graph, async () => {
    await runtime();
    const externalData = weights ? [{ path: weights, data: await fetched(weights) }] : [];
    const options = { executionProviders: ["wasm"], externalData, logSeverityLevel: 3 };
    return ort.InferenceSession.create(await fetched(graph), options);
  });

async function run(stage, feeds) {
  const loaded = await session(stage);
  return loaded.run(Object.fromEntries(loaded.inputNames.map((each) => [each, feeds[each]])));
}

function feedsOf(film, pixels) {
  return {
    film: new ort.Tensor("float32", pixels, [film.height, film.width]),
    aspect: new ort.Tensor("float64", Float64Array.of(film.aspect), []),
  };
}

async function screened(film, known) {
  const look = async (feeds) => screen((await run(known.stages.gate, feeds)).logits.data, known);
  const feeds = feedsOf(film, film.pixels);
  const first = await look(feeds);
  if (!wantsInverse(first)) return { screening: first, feeds };
  const inverse = feedsOf(film, film.pixels.map((value) => Math.fround(1 - value)));
  const screening = judgedInverse(first, await look(inverse), known);
  return { screening, feeds: screening.corrected ? inverse : feeds };
}

// (x0, y0, x1, y1) of a mask, end exclusive; null where it is empty.
function boxOf(mask, height, width) {
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (mask[y * width + x]) {
        x0 = Math.min(x0, x);
        y0 = Math.min(y0, y);
        x1 = Math.max(x1, x + 1);
        y1 = y + 1;
      }
    }
  }
  return x1 ? [x0, y0, x1, y1] : null;
}

async function answer(bytes) {
  const known = await rules();
  const film = await readFilm(bytes, known.film);
  const { height, width } = film;
  const { screening, feeds } = await screened(film, known);
  const found = await run(known.stages.segmenter, feeds);
  const measured = Object.fromEntries(known.measures.map((name) => [name, Number(found[name].data[0])]));
  const mask = maskQuality(measured, known);
  const quality = assess(film, screening, mask, known);
  const fallback = known.classifiers.main.needs_mask && mask.lungs < 2;
  const classifier = fallback ? known.classifiers.fallback : known.classifiers.main;
  const said = await run(classifier, { ...feeds, mask: found.mask });
  return {
    ...prediction(classifier, fallback, quality, said.probabilities.data, said.p_values?.data, known),
    height,
    width,
    mask_area: measured.area,
    box: boxOf(found.mask.data, height, width),
    segmenter: known.stages.segmenter.name,
    lungcls: known.lungcls,
    notice: known.notice,
    picture: new Uint8ClampedArray(found.picture.data),
    mask: Uint8Array.from(found.mask.data),
  };
}

let queue = Promise.resolve();

self.onmessage = ({ data: { id, file } }) => {
  // One film at a time, so that memory does not grow with their number.
  queue = queue.then(async () => {
    try {
      const result = await answer(new Uint8Array(await file.arrayBuffer()));
      self.postMessage({ id, result }, [result.picture.buffer, result.mask.buffer]);
    } catch (error) {
      self.postMessage({ id, problem: String(error.message ?? error) });
    }
  });
};

// The networks are fetched before the first film is chosen.
rules()
  .then(async (known) => {
    await Promise.all([known.stages.gate, known.stages.segmenter, known.classifiers.main].map(session));
    self.postMessage({ ready: true });
  })
  .catch((error) => self.postMessage({ failed: String(error.message ?? error) }));
