// What every reader needs: the error that a user sees, the largest film, and the browser's own decoder.

export class FilmError extends Error {}

const MAX_PIXELS = 64e6;

export function checkSize(height, width) {
  if (height * width > MAX_PIXELS) {
    throw new FilmError(`found ${height} x ${width} pixels, expected at most ${MAX_PIXELS / 1e6} megapixels; make it smaller`);
  }
}

// It turns a picture upright by its EXIF entry.
export async function decodeHere(bytes, type) {
  const blob = new Blob([bytes], { type });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  checkSize(bitmap.height, bitmap.width);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return { data, height: bitmap.height, width: bitmap.width };
}
