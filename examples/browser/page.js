// The page: a photo is dropped, its tokens lie over it, and tokens are changed by hand.

import { centreSquare, readImage } from "./preprocess.js";

const find = (id) => document.getElementById(id);
const canvases = ["photo-grid", "drawn-grid"].map(find);
const status = find("status");

/** What the page shows; `import("./page.js")` in the console gives it. */
export const state = { tokenizer: null, tokens: null, encoded: null, grid: null, row: 0, column: 0 };

function say(text, isProblem = false) {
  status.textContent = text;
  status.classList.toggle("problem", isProblem);
}

// --- Photos

async function start() {
  if (typeof WebAssembly === "undefined") {
    say("This page needs WebAssembly, which your browser does not have or does not allow: use a current browser.", true);
    return;
  }
  try {
    const { Tokenizer } = await import("./tokenizer.js");
    state.tokenizer = await Tokenizer.load("model");
  } catch (error) {
    say(`The tokenizer could not be loaded (${error.message}): see docs/export.md for the files that belong beside this page.`, true);
    return;
  }
  const { size } = state.tokenizer.facts.preprocessing;
  if (typeof size !== "number") {
    say("This tokenizer keeps the size of images, and this page takes squares: export one with a size.", true);
    return;
  }
  find("code").max = state.tokenizer.facts.vocab_size - 1;
  find("file").disabled = false;
  say(`Ready: ${size} × ${size} pixels, ${state.tokenizer.facts.vocab_size.toLocaleString("en")} codes.`);
}

async function show(file) {
  const { preprocessing } = state.tokenizer.facts;
  say("Encoding …");
  let image;
  try {
    const whole = await readImage(file, preprocessing.background);
    image = centreSquare(whole, preprocessing.size, preprocessing.resampling);
  } catch {
    say(`${file.name} is no image that your browser can read: choose another.`, true);
    return;
  }
  const begin = performance.now();
  const { tokens, grid } = await state.tokenizer.encode(image);
  state.seconds = (performance.now() - begin) / 1000;
  Object.assign(state, { tokens: tokens.slice(), encoded: tokens.slice(), grid, row: 0, column: 0 });
  drawPhoto(image);
  find("work").hidden = false;
  await redraw();
}

function drawPhoto({ data, width, height }) {
  const image = new ImageData(width, height);
  for (let index = 0; index < width * height; index++) {
    image.data.set(data.subarray(3 * index, 3 * index + 3), 4 * index);
    image.data[4 * index + 3] = 255;
  }
  put(find("photo"), image);
}

function put(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// --- Tokens

const at = (row, column) => row * state.grid[3] + column;
const changes = () => state.tokens.reduce((count, token, index) => count + (token !== state.encoded[index]), 0);
let isDecoding = false;
let isOutdated = false;

/** Show the grid at once, and draw the image from the tokens as they are when the decoder is free. */
async function redraw() {
  drawGrids();
  isOutdated = true;
  if (isDecoding) return;
  isDecoding = true;
  while (isOutdated) {
    isOutdated = false;
    say("Drawing …");
    const begin = performance.now();
    put(find("drawn"), await state.tokenizer.decode(state));
    const drawn = (performance.now() - begin) / 1000;
    const [, , rows, columns] = state.grid;
    say(
      `${rows} × ${columns} tokens, ${changes()} changed. ` +
        `Encoded in ${state.seconds.toFixed(1)} s, drawn in ${drawn.toFixed(1)} s.`,
    );
  }
  isDecoding = false;
}

function setCode(code) {
  const { vocab_size } = state.tokenizer.facts;
  const index = at(state.row, state.column);
  const valid = Number.isInteger(code) && code >= 0 && code < vocab_size;
  if (!valid) {
    say(`Codes are whole numbers from 0 to ${vocab_size - 1}.`, true);
  } else if (state.tokens[index] !== BigInt(code)) {
    state.tokens[index] = BigInt(code);
    redraw();
  }
}

function select(row, column) {
  const [, , rows, columns] = state.grid;
  state.row = Math.min(Math.max(row, 0), rows - 1);
  state.column = Math.min(Math.max(column, 0), columns - 1);
  drawGrids();
}

function drawGrids() {
  const [, , rows, columns] = state.grid;
  const showsLines = find("lines").checked;
  for (const canvas of canvases) {
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    const context = canvas.getContext("2d");
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    const square = (row, column) => [column * width, row * height, width, height];
    if (showsLines) {
      context.fillStyle = "rgb(255 255 255 / 35%)";
      for (let column = 1; column < columns; column++) context.fillRect(Math.round(column * width), 0, 1, canvas.height);
      for (let row = 1; row < rows; row++) context.fillRect(0, Math.round(row * height), canvas.width, 1);
    }
    context.strokeStyle = "#ff8f00";
    context.lineWidth = 1.5 * scale;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        if (state.tokens[at(row, column)] !== state.encoded[at(row, column)]) context.strokeRect(...square(row, column));
      }
    }
    context.lineWidth = 3 * scale;
    context.strokeStyle = "#fff";
    context.strokeRect(...square(state.row, state.column));
    context.lineWidth = 1.5 * scale;
    context.strokeStyle = "#00796b";
    context.strokeRect(...square(state.row, state.column));
  }
  const index = at(state.row, state.column);
  find("where").textContent = `row ${state.row + 1}, column ${state.column + 1}`;
  find("code").value = state.tokens[index];
  find("undo").disabled = state.tokens[index] === state.encoded[index];
  find("undo-all").disabled = changes() === 0;
}

// --- What users do

const drop = find("drop");
find("file").addEventListener("change", (event) => event.target.files.length && show(event.target.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault(); // the browser would open the file
    drop.classList.toggle("over", kind === "dragover");
    const files = event.dataTransfer?.files;
    if (kind !== "drop" || !files?.length || !state.tokenizer) return;
    find("file").files = files; // so that the picker names it, too
    show(files[0]);
  });
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
for (const canvas of canvases) {
  const selectUnder = (event) => {
    const code = state.tokens[at(state.row, state.column)];
    const box = canvas.getBoundingClientRect();
    const [, , rows, columns] = state.grid;
    const position = [((event.clientY - box.top) / box.height) * rows, ((event.clientX - box.left) / box.width) * columns];
    select(...position.map(Math.floor));
    return code;
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!find("paint").checked) return void selectUnder(event);
    canvas.setPointerCapture(event.pointerId);
    setCode(Number(selectUnder(event)));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (find("paint").checked && event.buttons) setCode(Number(selectUnder(event)));
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key in STEPS) {
      event.preventDefault();
      const [down, right] = STEPS[event.key];
      select(state.row + down, state.column + right);
    } else if (event.key === "Enter" || /^[0-9]$/.test(event.key)) {
      event.preventDefault();
      find("code").focus();
      if (event.key === "Enter") find("code").select();
      else find("code").value = event.key;
    }
  });
}

find("code").addEventListener("change", (event) => setCode(event.target.valueAsNumber));
find("token").addEventListener("submit", (event) => event.preventDefault()); // Enter has changed the code already
find("random").addEventListener("click", () => setCode(Math.floor(Math.random() * state.tokenizer.facts.vocab_size)));
find("undo").addEventListener("click", () => setCode(Number(state.encoded[at(state.row, state.column)])));
find("undo-all").addEventListener("click", () => {
  state.tokens = state.encoded.slice();
  redraw();
});
find("lines").addEventListener("change", drawGrids);
find("paint").addEventListener("change", (event) => find("images").classList.toggle("painting", event.target.checked));
window.addEventListener("resize", () => state.tokens && drawGrids());

start();
