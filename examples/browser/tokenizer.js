// Pixels to tokens and back, with the ONNX files that `export-tokenizer --format onnx` writes.

import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.proxy = true; // in a worker, so that the page stays responsive
ort.env.logLevel = "error";

export class Tokenizer {
  /** Load vistok.json and the two ONNX files of a folder. */
  static async load(folder) {
    const facts = await (await fetch(`${folder}/vistok.json`)).json();
    const encoder = await ort.InferenceSession.create(`${folder}/${facts.files.encoder}`);
    const decoder = await ort.InferenceSession.create(`${folder}/${facts.files.decoder}`);
    return new Tokenizer(facts, encoder, decoder);
  }

  constructor(facts, encoder, decoder) {
    this.facts = facts;
    this.encoder = encoder;
    this.decoder = decoder;
  }

  /** Return {tokens, grid} of an RGB image {data, width, height}: a BigInt64Array, and its shape [1, q, y, x]. */
  async encode({ data, width, height }) {
    const plane = width * height;
    const pixels = new Float32Array(3 * plane);
    for (let index = 0; index < plane; index++) {
      for (let colour = 0; colour < 3; colour++) pixels[colour * plane + index] = data[3 * index + colour] / 255;
    }
    const { tokens } = await this.encoder.run({ pixels: new ort.Tensor("float32", pixels, [1, 3, height, width]) });
    return { tokens: tokens.data, grid: tokens.dims };
  }

  /** Return the ImageData of tokens. */
  async decode({ tokens, grid }) {
    const { pixels } = await this.decoder.run({ tokens: new ort.Tensor("int64", tokens.slice(), grid) });
    const [, , height, width] = pixels.dims;
    const image = new ImageData(width, height);
    for (let index = 0; index < width * height; index++) {
      for (let colour = 0; colour < 3; colour++) {
        image.data[4 * index + colour] = pixels.data[colour * width * height + index] * 255; // which rounds and clamps
      }
      image.data[4 * index + 3] = 255;
    }
    return image;
  }
}
