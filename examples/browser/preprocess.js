// From an image file to the pixels that the encoder takes: resized and cropped as vistok does it with Pillow.

const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
  lanczos: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function cubic(x) {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Return {data, width, height}: RGB bytes of the whole image, upright, transparency on `background`. */
export async function readImage(file, background) {
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = `rgb(${background.join(" ")})`;
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const data = new Uint8ClampedArray((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { data, width: bitmap.width, height: bitmap.height };
}

/** Resize the short side to `size` with a named filter, and return the square in the middle, as RGB bytes. */
export function centreSquare(image, size, filter) {
  const short = Math.min(image.width, image.height);
  const width = Math.max(size, Math.round((image.width * size) / short));
  const height = Math.max(size, Math.round((image.height * size) / short));
  const resized = resize(image, width, height, FILTERS[filter]);
  const left = Math.floor((width - size) / 2);
  const top = Math.floor((height - size) / 2);
  const square = new Uint8ClampedArray(size * size * 3);
  for (let y = 0; y < size; y++) {
    const start = ((y + top) * width + left) * 3;
    square.set(resized.data.subarray(start, start + size * 3), y * size * 3);
  }
  return { data: square, width: size, height: size };
}

function resize(image, width, height, filter) {
  const rows = along(image.data, image.width, image.height, width, filter, 3, image.width * 3, width * 3);
  const data = along(rows, image.height, width, height, filter, width * 3, 3, 3);
  return { data, width, height };
}

/** Resample lines of `from` pixels to `to`: `step` is from pixel to pixel, `line` and `newLine` from line to line. */
function along(data, from, lines, to, filter, step, line, newLine) {
  if (from === to) return data;
  const scale = from / to;
  const stretch = Math.max(scale, 1); // a filter is as wide as what it averages
  const result = new Uint8ClampedArray(lines * to * 3);
  for (let target = 0; target < to; target++) {
    const centre = (target + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - filter.support * stretch + 0.5));
    const last = Math.min(from, Math.floor(centre + filter.support * stretch + 0.5));
    const weights = [];
    for (let source = first; source < last; source++) weights.push(filter.weight((source - centre + 0.5) / stretch));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    for (let index = 0; index < lines; index++) {
      for (let colour = 0; colour < 3; colour++) {
        let value = 0;
        let at = index * line + first * step + colour;
        for (const weight of weights) {
          value += weight * data[at];
          at += step;
        }
        result[index * newLine + target * step + colour] = value / sum; // which rounds and clamps
      }
    }
  }
  return result;
}
