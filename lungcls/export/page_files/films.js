// A file to one grey film: float32 in [0, 1], upright, bone bright, as lungcls.images.read_image gives it.

import { decode as decodePng } from "fast-png";
import { readDicom } from "./dicom.js";
import { FilmError, checkSize, decodeHere } from "./picture.js";

const starts = (bytes, text, offset = 0) =>
  [...text].every((letter, place) => bytes[offset + place] === letter.charCodeAt(0));

function formatOf(bytes) {
  if (starts(bytes, "\x89PNG")) return "PNG";
  if (starts(bytes, "\xff\xd8\xff")) return "JPEG";
  if (starts(bytes, "DICM", 128)) return "DICOM";
  if (starts(bytes, "BM")) return "BMP";
  if (starts(bytes, "RIFF") && starts(bytes, "WEBP", 8)) return "WebP";
  return null;
}

// The integers of Pillow's "L".
const luminance = (red, green, blue) => (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >>> 16;

// Grey of stored values: channels 1 to 4, the last of 2 and 4 being alpha; what is transparent lies over black.
function greyOf(data, channels, depth, height, width, limits) {
  const count = height * width;
  const pixels = new Float32Array(count);
  const coloured = channels > 2;
  // Of 16 bits in colour and with alpha, 8 are kept, as Pillow does.
  const spare = depth === 16 && channels > 1 ? 8 : 0;
  const white = depth === 16 && !spare ? 65535 : 255;
  const at = (place) => data[place] >>> spare;
  const alpha = channels % 2 ? () => 255 : (each) => at(each * channels + channels - 1);
  let clear = 0;
  let opaque = false;
  for (let each = 0; each < count; each += 1) {
    if (alpha(each) < 255) clear += 1;
    if (alpha(each) > 0) opaque = true;
  }
  let changed = false;
  const seen = (each, channel) => {
    const value = at(each * channels + channel);
    if (!clear || !opaque) return value;
    const laid = Math.floor((value * alpha(each) + 127) / 255);
    changed ||= laid !== value;
    return laid;
  };
  for (let each = 0; each < count; each += 1) {
    pixels[each] = (coloured ? luminance(seen(each, 0), seen(each, 1), seen(each, 2)) : seen(each, 0)) / white;
  }
  const share = clear / count;
  const message = `${(100 * share).toFixed(1)}% of the pixels are transparent; they are taken as lying over black`;
  const note = { name: "transparent", value: share, threshold: 0, message, corrected: true };
  const notes = changed ? [note] : [];
  return { pixels, notes: coloured ? [...notes, ...colours(seen, height, width, limits)] : notes };
}

// A note where a picture has colours that are no film's.
function colours(seen, height, width, limits) {
  const [down, across] = [height, width].map((side) => Math.max(1, Math.floor(side / 256)));
  let [odd, all] = [0, 0];
  for (let row = 0; row < height; row += down) {
    for (let column = 0; column < width; column += across) {
      const values = [0, 1, 2].map((channel) => seen(row * width + column, channel));
      if (Math.max(...values) - Math.min(...values) > 255 * limits.COLOUR) odd += 1;
      all += 1;
    }
  }
  const share = odd / all;
  const message = `${Math.round(100 * share)}% of the pixels have colour, which no film has; their luminance is taken`;
  const note = { name: "colour", value: share, threshold: limits.COLOURED, message, corrected: false };
  return share > limits.COLOURED ? [note] : [];
}

function readPng(bytes, limits) {
  const png = decodePng(bytes, { checkCrc: true });
  checkSize(png.height, png.width);
  let { data, channels, depth } = png;
  const count = png.width * png.height;
  if (depth < 8) {
    // Several pixels a byte, each row padded.
    const row = Math.ceil((png.width * depth) / 8);
    const white = png.palette ? 1 : 255 / ((1 << depth) - 1);
    const packed = data;
    data = Uint8Array.from({ length: count }, (_, place) => {
      const y = Math.floor(place / png.width);
      const bit = (place - y * png.width) * depth;
      const value = packed[y * row + (bit >> 3)] >> (8 - depth - (bit & 7));
      return (value & ((1 << depth) - 1)) * white;
    });
    depth = 8;
  }
  if (png.palette) {
    const size = png.palette[0].length;
    data = Uint8Array.from({ length: count * size }, (_, place) => png.palette[data[Math.floor(place / size)]][place % size]);
    channels = size;
  }
  const { x, y } = png.resolution ?? { x: 1, y: 1 };
  return {
    ...greyOf(data, channels, depth, png.height, png.width, limits),
    height: png.height,
    width: png.width,
    aspect: x > 0 && y > 0 ? x / y : 1,
  };
}

async function readBitmap(bytes, kind, limits) {
  const { data, height, width } = await decodeHere(bytes, `image/${kind.toLowerCase()}`);
  let aspect = 1;
  if (kind === "JPEG" && starts(bytes, "JFIF\0", 6) && bytes[13] > 0) {
    const across = (bytes[14] << 8) | bytes[15];
    const down = (bytes[16] << 8) | bytes[17];
    aspect = across > 0 && down > 0 ? across / down : 1;
  }
  return { ...greyOf(data, 4, 8, height, width, limits), height, width, aspect };
}

function checkedAspect(film, limits) {
  const { aspect } = film;
  const stretch = Number.isFinite(aspect) && aspect > 0 ? Math.max(aspect, 1 / aspect) : 1;
  if (stretch <= limits.SQUARE) return { ...film, aspect: 1 };
  const sides = `the pixels are ${aspect.toPrecision(3)} times as high as they are wide`;
  const odd = stretch > limits.ODD_ASPECT;
  const message = odd ? `the file says that ${sides}, which no X-ray is; they are taken for square` : sides;
  const threshold = odd ? limits.ODD_ASPECT : limits.SQUARE;
  const note = { name: "pixel_aspect", value: stretch, threshold, message, corrected: !odd };
  return { ...film, aspect: odd ? 1 : aspect, notes: [...film.notes, note] };
}

function greyLevels({ pixels, height, width }) {
  const step = Math.max(1, Math.floor(Math.min(height, width) / 256));
  const levels = new Set();
  for (let row = 0; row < height; row += step) {
    for (let column = 0; column < width; column += step) levels.add(pixels[row * width + column]);
  }
  return levels.size;
}

function extremes(pixels) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of pixels) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// The limits are those of page.json, which the library writes.
export async function readFilm(bytes, limits) {
  const kind = formatOf(bytes);
  if (kind === null) throw new FilmError("found no PNG, JPEG, BMP, WebP or DICOM file; save the film as one of these");
  let film;
  try {
    if (kind === "PNG") film = readPng(bytes, limits);
    else if (kind === "DICOM") film = await readDicom(bytes);
    else film = await readBitmap(bytes, kind, limits);
  } catch (error) {
    if (error instanceof FilmError) throw error;
    throw new FilmError(`found a ${kind} that cannot be decoded (${error.message ?? error}); it is truncated, damaged or of an unusual kind`);
  }
  film = checkedAspect(film, limits);
  const [low, high] = extremes(film.pixels);
  if (low === high) {
    throw new FilmError(`found a constant image (${film.height} x ${film.width} pixels), expected an X-ray; check how it was exported`);
  }
  if (high - low < limits.NARROW) {
    const levels = greyLevels(film);
    const corrected = levels >= limits.ENOUGH_LEVELS;
    const filled = `the grey values fill ${(100 * (high - low)).toFixed(1)}% of the range that their type allows`;
    const message = corrected ? `${filled} and were spread` : `${filled}, in ${levels} steps`;
    film.notes.push({ name: "narrow_range", value: high - low, threshold: limits.NARROW, message, corrected });
  }
  return film;
}
