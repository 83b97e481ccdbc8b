// Program files of learned_transforms, run by its native code as WebAssembly. index.d.ts tells of types, and
// learned_transforms/kernels/native/c/lt_runtime.h of what is called here.

const LAYOUTS = { HWC: 1, CHW: 2 };
const DTYPES = ["uint8", "float32", "float16", "bfloat16"];
const ARRAYS = [Uint8Array, Float32Array, Uint16Array, Uint16Array];
// Bytes of structs, in the memory of WebAssembly.
const IMAGE = 48, DRAW = 8, WINDOW = 32, OUTPUT = 40;
const BAD_ARGUMENT = 3, NO_MEMORY = 5;

export class ProgramError extends Error {
  constructor(status, message) {
    super(message);
    this.name = "ProgramError";
    this.status = status;
  }
}

let shared;

// The next call tries again.
function again(error) {
  shared = undefined;
  throw error;
}

async function bytesBeside() {
  const url = new URL("./learned_transforms.wasm", import.meta.url);
  if (url.protocol === "file:" && typeof process !== "undefined") {
    const { readFile } = await import("node:fs/promises");
    return readFile(url);
  }
  const answer = await fetch(url);
  if (!answer.ok) throw new ProgramError(1, `${url} cannot be read: ${answer.status}`);
  return answer.arrayBuffer();
}

// What C libraries ask a system for, none of which is needed: files and a clock.
function imports(module) {
  const made = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    made[from] ??= {};
    made[from][name] = () => 52; // there is no such function
  }
  return made;
}

async function start(engine) {
  const module = engine instanceof WebAssembly.Module ? engine : await WebAssembly.compile(engine ?? (await bytesBeside()));
  const { exports } = await WebAssembly.instantiate(module, imports(module));
  exports._initialize?.();
  return exports;
}

// Memory for as long as a function runs.
class Scratch {
  constructor(engine) {
    this.engine = engine;
    this.taken = [];
  }
  take(bytes) {
    const place = this.engine.malloc(bytes) >>> 0;
    if (place === 0) throw new ProgramError(NO_MEMORY, "there is not enough memory");
    this.taken.push(place);
    return place;
  }
  put(bytes) {
    const place = this.take(Math.max(bytes.length, 1));
    new Uint8Array(this.engine.memory.buffer).set(bytes, place);
    return place;
  }
  text(word) {
    return this.put(new TextEncoder().encode(`${word}\0`));
  }
  view(place, bytes) {
    return new DataView(this.engine.memory.buffer, place, bytes);
  }
  free() {
    for (const place of this.taken) this.engine.free(place);
  }
}

function within(engine, use) {
  const scratch = new Scratch(engine);
  try {
    return use(scratch);
  } finally {
    scratch.free();
  }
}

function textAt(engine, place) {
  const bytes = new Uint8Array(engine.memory.buffer, place >>> 0);
  return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
}

function check(engine, status) {
  if (status !== 0) throw new ProgramError(status, textAt(engine, engine.lt_message()));
}

function demand(holds, message) {
  if (!holds) throw new ProgramError(BAD_ARGUMENT, message);
}

const whole = (value) => Number.isSafeInteger(value) && value >= 0;

export class Program {
  #engine;
  #handle;

  constructor(engine, handle) {
    this.#engine = engine;
    this.#handle = handle;
    this.channels = Number(engine.lt_channels(handle));
    this.windowed = engine.lt_windowed(handle) !== 0;
    this.coins = Array.from({ length: engine.lt_coins(handle) }, (_, n) => textAt(engine, engine.lt_coin(handle, n)));
  }

  about(name) {
    return within(this.#engine, (scratch) => {
      const place = this.#engine.lt_about(this.#handle, scratch.text(name));
      return place === 0 ? undefined : textAt(this.#engine, place);
    });
  }

  run(pixels, width, height, channels = this.channels, { window = null, outcome = 0, layout } = {}) {
    const engine = this.#engine, handle = this.#handle;
    demand(handle !== 0, "this program was freed");
    demand(pixels instanceof Uint8Array || pixels instanceof Uint8ClampedArray, "pixels are no Uint8Array");
    demand([width, height, channels].every(whole) && channels >= this.channels,
      `expected width, height and at least ${this.channels} channels, got ${width}, ${height}, ${channels}`);
    demand(pixels.length === width * height * channels,
      `expected ${width * height * channels} bytes of pixels, got ${pixels.length}`);
    demand(Number.isInteger(outcome) && outcome >= 0 && outcome < 2 ** this.coins.length,
      `expected an outcome of ${this.coins.length} coins, got ${outcome}`);
    demand(layout === undefined || layout in LAYOUTS, `expected a layout of HWC or CHW, got ${layout}`);
    demand(window === null || (window.length === 4 && [...window].every(Number.isSafeInteger)),
      `expected a window (top, left, height, width), got ${window}`);
    return within(engine, (scratch) => {
      const order = LAYOUTS[layout] ?? 0;
      const image = scratch.take(IMAGE), draw = scratch.take(DRAW), sides = scratch.take(WINDOW), output = scratch.take(OUTPUT);
      const data = scratch.put(pixels);
      let view = scratch.view(image, IMAGE);
      view.setUint32(0, data, true);
      [height, width, width * channels, channels, 1].forEach((n, at) => view.setBigInt64(8 + 8 * at, BigInt(n), true));
      view = scratch.view(sides, WINDOW);
      (window ?? []).forEach((n, at) => view.setBigInt64(8 * at, BigInt(n), true));
      view = scratch.view(draw, DRAW);
      view.setUint32(0, outcome, true);
      view.setUint32(4, window === null ? 0 : sides, true);
      check(engine, engine.lt_describe(handle, BigInt(height), BigInt(width), draw, order, output));
      view = scratch.view(output, OUTPUT);
      const [deep, high, wide] = [0, 8, 16].map((at) => Number(view.getBigInt64(at, true)));
      const dtype = view.getInt32(24, true), found = view.getInt32(28, true), bytes = view.getUint32(32, true);
      const target = scratch.take(bytes);
      check(engine, engine.lt_run(handle, image, draw, order, target, bytes));
      const made = new ARRAYS[dtype](engine.memory.buffer.slice(target, target + bytes));
      const named = found === LAYOUTS.HWC ? "HWC" : "CHW";
      return { data: made, dtype: DTYPES[dtype], layout: named, channels: deep, height: high, width: wide };
    });
  }

  free() {
    this.#engine.lt_free(this.#handle);
    this.#handle = 0;
  }
}

export async function load(bytes, engine) {
  shared ??= engine === undefined ? start().catch(again) : undefined;
  const exports = await (engine === undefined ? shared : start(engine));
  return within(exports, (scratch) => {
    const content = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
    const place = scratch.take(4);
    const from = scratch.put(content);
    check(exports, exports.lt_read(from, content.length, place));
    return new Program(exports, scratch.view(place, 4).getUint32(0, true));
  });
}
