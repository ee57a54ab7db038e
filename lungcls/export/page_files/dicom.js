// DICOM to one grey film, as lungcls.dicom and lungcls.dicomgrey give it: rescale, VOI LUT or window, padding.

import dicomParser from "dicom-parser";
import { Decoder as LosslessDecoder } from "jpeg-lossless-decoder-js";
import { FilmError, checkSize, decodeHere } from "./picture.js";

const CLIPPED = 0.75;
const LITTLE = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"];
const BIG = "1.2.840.10008.1.2.2";
const JPEG_BASELINE = "1.2.840.10008.1.2.4.50";
const JPEG_LOSSLESS = ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];

const TAGS = {
  frames: "x00280008",
  samples: "x00280002",
  photometric: "x00280004",
  rows: "x00280010",
  columns: "x00280011",
  aspectRatio: "x00280034",
  spacing: "x00280030",
  imagerSpacing: "x00181164",
  allocated: "x00280100",
  stored: "x00280101",
  highBit: "x00280102",
  sign: "x00280103",
  padding: "x00280120",
  paddingLimit: "x00280121",
  centre: "x00281050",
  width: "x00281051",
  intercept: "x00281052",
  slope: "x00281053",
  voiFunction: "x00281056",
  modalityLut: "x00283000",
  voiLut: "x00283010",
  descriptor: "x00283002",
  lutData: "x00283006",
  pixels: "x7fe00010",
};

function pair(data, tag) {
  const values = [data.floatString(tag, 0), data.floatString(tag, 1)];
  return values.every((value) => value > 0 && value < Infinity) ? values : null;
}

// Stored codes as signed or unsigned numbers of `bits` bits.
async function storedCodes(data, header) {
  const element = data.elements[TAGS.pixels];
  const { count, allocated, bits, signed, syntax } = header;
  let values;
  if (LITTLE.includes(syntax) || syntax === BIG) {
    const need = (count * allocated) / 8;
    if (element.length < need) throw new FilmError(`found ${element.length} bytes of pixels, expected ${need}; the file is truncated`);
    const start = data.byteArray.byteOffset + element.dataOffset;
    const view = new DataView(data.byteArray.buffer, start, need);
    const little = syntax !== BIG;
    values = Int32Array.from({ length: count }, (_, place) =>
      allocated === 8 ? view.getUint8(place) : view.getUint16(2 * place, little),
    );
  } else {
    const frame = encapsulated(data, element);
    if (syntax === JPEG_BASELINE && bits === 8) {
      const picture = await decodeHere(frame, "image/jpeg");
      if (picture.data.length !== 4 * count) throw new FilmError("found JPEG pixels of another size than the header says");
      values = Int32Array.from({ length: count }, (_, place) => picture.data[4 * place]);
    } else if (JPEG_LOSSLESS.includes(syntax)) {
      const exact = frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.byteLength);
      const buffer = new LosslessDecoder().decompress(exact, 0, exact.byteLength);
      values = Int32Array.from(allocated === 8 ? new Uint8Array(buffer) : new Uint16Array(buffer));
      if (values.length !== count) throw new FilmError("found JPEG pixels of another size than the header says");
    } else {
      throw new FilmError(
        `found DICOM pixels in the transfer syntax ${syntax}, expected uncompressed ones, baseline JPEG of 8 bits or ` +
          "lossless JPEG; convert it, for example with gdcmconv --raw, or use `lungcls predict`, which reads more",
      );
    }
  }
  const spare = 32 - bits;
  return signed ? values.map((value) => (value << spare) >> spare) : values.map((value) => (value << spare) >>> spare);
}

function encapsulated(data, element) {
  if (!element.encapsulatedPixelData) throw new FilmError("found compressed DICOM pixels without their frame; the file is damaged");
  const fragments = element.fragments.length;
  return dicomParser.readEncapsulatedPixelDataFromFragments(data, element, 0, fragments);
}

// The first lookup table of a sequence: what a value becomes, and its stated bits.
function lookup(data, tag) {
  const item = data.elements[tag]?.items?.[0]?.dataSet;
  const table = item?.elements[TAGS.lutData];
  if (!item?.elements[TAGS.descriptor] || !table) return null;
  const entries = item.uint16(TAGS.descriptor, 0) || 65536;
  const signed = data.uint16(TAGS.sign) === 1;
  const start = signed ? item.int16(TAGS.descriptor, 1) : item.uint16(TAGS.descriptor, 1);
  const bits = item.uint16(TAGS.descriptor, 2);
  const wide = table.length >= 2 * entries;
  const values = Array.from({ length: entries }, (_, place) =>
    wide ? item.uint16(TAGS.lutData, place) : item.byteArray[table.dataOffset + place],
  );
  const at = (value) => values[Math.min(Math.max(value - start, 0), entries - 1)];
  return { at, bits };
}

// The value of white: of the stated bits, or of those that the entries need where it is far fewer.
function whiteOf(table, bits, notes) {
  const highest = table.reduce((most, value) => Math.max(most, value), 0);
  const needed = Math.max(1, highest.toString(2).length);
  if (needed > bits - 2) return 2 ** bits - 1;
  const message = `the lookup table states ${bits} bits an entry and uses ${needed}; it is read as one of ${needed}`;
  notes.push({ name: "lut_bits", value: needed, threshold: bits - 1, message, corrected: true });
  return 2 ** needed - 1;
}

const halfToEven = (value) => {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
};

function windowed(values, data) {
  const centre = data.floatString(TAGS.centre, 0);
  const width = data.floatString(TAGS.width, 0);
  const kind = data.string(TAGS.voiFunction)?.trim().toUpperCase() || "LINEAR";
  if (!["LINEAR", "LINEAR_EXACT", "SIGMOID"].includes(kind) || !(width > 0) || (kind === "LINEAR" && width < 1)) {
    throw new FilmError(`found a window that cannot be applied (${kind}, width ${width}); correct its tags`);
  }
  const by = `a window of width ${width} at ${centre}`;
  if (kind === "SIGMOID") return { table: values.map((value) => 1 / (1 + Math.exp((-4 * (value - centre)) / width))), by };
  const [middle, reach] = kind === "LINEAR" ? [centre - 0.5, width - 1] : [centre, width];
  const shown = (value) => {
    if (value <= middle - reach / 2) return 0;
    return value > middle + reach / 2 ? 1 : (value - middle) / reach + 0.5;
  };
  return { table: values.map(shown), by };
}

// What each code becomes, in [0, 1] before MONOCHROME1 is turned round.
function display(data, codes, notes) {
  const modality = lookup(data, TAGS.modalityLut);
  const slope = data.floatString(TAGS.slope) ?? 1;
  const intercept = data.floatString(TAGS.intercept) ?? 0;
  const values = codes.map((code) => (modality ? modality.at(code) : code * slope + intercept));
  const voi = lookup(data, TAGS.voiLut);
  if (voi) {
    const table = values.map((value) => voi.at(halfToEven(value)));
    const white = whiteOf(table, voi.bits, notes);
    return { table: table.map((value) => value / white), by: "a VOI LUT" };
  }
  if (data.floatString(TAGS.centre, 0) !== undefined && data.floatString(TAGS.width, 0) !== undefined) {
    return windowed(values, data);
  }
  if (modality) {
    const white = whiteOf(values, modality.bits, notes);
    return { table: values.map((value) => value / white), by: "a modality LUT" };
  }
  const low = Math.min(values[0], values[values.length - 1]);
  const high = Math.max(values[0], values[values.length - 1]);
  if (!(high > low)) throw new FilmError("found a rescale that maps all stored values to one; check RescaleSlope");
  return { table: values.map((value) => (value - low) / (high - low)), by: "" };
}

function paddingOf(data, codes, signed) {
  const number = (tag) => (data.elements[tag]?.length ? (signed ? data.int16(tag) : data.uint16(tag)) : undefined);
  const first = number(TAGS.padding);
  if (first === undefined) return () => false;
  const last = number(TAGS.paddingLimit) ?? first;
  const [low, high] = [Math.min(first, last), Math.max(first, last)];
  return (place) => codes[place] >= low && codes[place] <= high;
}

function headerOf(data) {
  const photometric = data.string(TAGS.photometric);
  const samples = data.uint16(TAGS.samples) || 1;
  if (!["MONOCHROME1", "MONOCHROME2"].includes(photometric) || samples !== 1) {
    throw new FilmError(`found a DICOM image with PhotometricInterpretation ${photometric} and ${samples} sample(s) per pixel, expected a grey X-ray`);
  }
  const frames = data.intString(TAGS.frames) || 1;
  if (frames !== 1) throw new FilmError(`found a DICOM file with ${frames} frames, expected one`);
  const [height, width, allocated, bits] = ["rows", "columns", "allocated", "stored"].map((name) => data.uint16(TAGS[name]));
  const highest = data.uint16(TAGS.highBit) ?? bits - 1;
  if (!height || !width) throw new FilmError("found no Rows or Columns in the DICOM header; the file is damaged or incomplete");
  if (![8, 16].includes(allocated) || !(bits >= 1 && bits <= allocated) || highest !== bits - 1) {
    throw new FilmError(`found BitsAllocated ${allocated}, BitsStored ${bits}, HighBit ${highest}, expected up to 16 bits in the low end of 8 or 16`);
  }
  checkSize(height, width);
  return {
    height,
    width,
    allocated,
    bits,
    count: height * width,
    signed: data.uint16(TAGS.sign) === 1,
    mirrored: photometric === "MONOCHROME1",
    syntax: data.string("x00020010"),
  };
}

export async function readDicom(bytes) {
  const data = dicomParser.parseDicom(bytes);
  if (!data.elements[TAGS.pixels]) throw new FilmError("found a DICOM file without pixel data, expected an image");
  const header = headerOf(data);
  const notes = [];
  const { bits, signed, mirrored } = header;
  const first = signed ? -(2 ** (bits - 1)) : 0;
  const codes = Array.from({ length: 2 ** bits }, (_, place) => first + place);
  const stored = await storedCodes(data, header);
  const { table, by } = display(data, codes, notes);
  const unit = Float32Array.from(table, (value) => Math.min(Math.max(mirrored ? 1 - value : value, 0), 1));
  const counts = new Float64Array(codes.length);
  for (const code of stored) counts[code - first] += 1;
  let padded = paddingOf(data, codes, signed);
  if (!counts.some((count, place) => count > 0 && !padded(place))) padded = () => false;
  let clipped = 0;
  let seen = 0;
  let changed = 0;
  counts.forEach((count, place) => {
    if (padded(place)) {
      if (unit[place] > 0) changed += count;
      return;
    }
    seen += count;
    if (unit[place] <= 0 || unit[place] >= 1) clipped += count;
  });
  if (by && clipped / seen > CLIPPED) {
    const message = `${by} makes ${((100 * clipped) / seen).toFixed(1)}% of the pixels black or white`;
    notes.push({ name: "clipped", value: clipped / seen, threshold: CLIPPED, message, corrected: false });
  }
  if (changed) {
    const share = changed / header.count;
    const message = `${(100 * share).toFixed(1)}% of the pixels are padding (PixelPaddingValue); they are taken as black`;
    notes.push({ name: "padding", value: share, threshold: 0, message, corrected: true });
  }
  codes.forEach((_, place) => {
    if (padded(place)) unit[place] = 0;
  });
  const [down, across] = pair(data, TAGS.spacing) ?? pair(data, TAGS.imagerSpacing) ?? pair(data, TAGS.aspectRatio) ?? [1, 1];
  return {
    pixels: Float32Array.from(stored, (code) => unit[code - first]),
    height: header.height,
    width: header.width,
    aspect: down / across,
    notes,
  };
}
