// Times a program of an ImageNet evaluation on photos of 640x427 against JavaScript resizers, which only resize:
// node bench.mjs PROGRAM, where npm install pica @jsquash/resize was run in this folder. tools/wasm builds the module.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { load } from "../index.js";

const WIDTH = 640, HEIGHT = 427, TO_WIDTH = 383, TO_HEIGHT = 256, TIMES = 41;
const require = createRequire(import.meta.url);
const pixels = Uint8ClampedArray.from({ length: WIDTH * HEIGHT * 4 }, (_, at) => (at % 4 === 3 ? 255 : Math.imul(at, 2654435761) >>> 19));

const program = await load(await readFile(process.argv[2]));
const ways = { "learned_transforms: resize, crop, normalize": () => program.run(pixels, WIDTH, HEIGHT, 4) };

function optional(name, add) {
  try {
    return add(require(name));
  } catch (error) {
    console.log(`${name}: not run (${error.code ?? error.message})`);
  }
}

optional("pica", (pica) => {
  const sizes = { width: WIDTH, height: HEIGHT, toWidth: TO_WIDTH, toHeight: TO_HEIGHT };
  for (const feature of ["js", "wasm"]) {
    const resizer = pica({ features: [feature] });
    ways[`pica (${feature}): resize`] = () => resizer.resizeBuffer({ ...sizes, src: new Uint8Array(pixels.buffer), filter: "hamming" });
  }
});

try {
  const folder = new URL("./node_modules/@jsquash/resize/", import.meta.url);
  const made = await import(new URL("lib/resize/pkg/squoosh_resize.js", folder));
  await made.default(await readFile(new URL("lib/resize/pkg/squoosh_resize_bg.wasm", folder)));
  const image = new Uint8Array(pixels.buffer);
  ways["@jsquash/resize (triangle): resize"] = () => made.resize(image, WIDTH, HEIGHT, TO_WIDTH, TO_HEIGHT, 0, false, false);
} catch (error) {
  console.log(`@jsquash/resize: not run (${error.code ?? error.message})`);
}

// One after the other, so that all see the same machine.
const times = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
for (let round = 0; round < TIMES; ++round)
  for (const [name, run] of Object.entries(ways)) {
    const begin = performance.now();
    await run();
    times[name].push(performance.now() - begin);
  }
const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];
const own = median(Object.values(times)[0]);
for (const [name, all] of Object.entries(times))
  console.log(`${name}: ${median(all).toFixed(2)} ms, ${(median(all) / own).toFixed(1)}x`);
