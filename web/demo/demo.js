// Runs programs on photos, and compares the SHA-256 of what they make with Python's (make.py).
import { load } from "../index.js";

const of = (id) => document.getElementById(id);
const programs = new Map();
let golden, image, current;

async function sha256(bytes) {
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Pixels as they are in the file, without color management.
async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = of("before");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const colors = new Uint8Array(width * height * 3);
  for (let at = 0, to = 0; at < data.length; at += 4) colors.set(data.subarray(at, at + 3), (to += 3) - 3);
  return { pixels: data, width, height, digest: await sha256(colors) };
}

// Values as levels to show: floats from their least to their largest.
function show({ data, width, height, channels, layout }) {
  const canvas = of("after"), levels = new Uint8ClampedArray(width * height * 4).fill(255);
  let low = 0, scale = 1;
  if (data instanceof Float32Array) {
    const [least, most] = data.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    low = least, scale = 255 / (most - least || 1);
  }
  for (let at = 0; at < width * height; ++at)
    for (let c = 0; c < 3; ++c) {
      const from = channels === 1 ? 0 : c;
      levels[4 * at + c] = (data[layout === "HWC" ? at * channels + from : from * width * height + at] - low) * scale;
    }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(levels, width, height), 0, 0);
}

function drawn() {
  const outcome = [...of("coins").querySelectorAll("input")].reduce((sum, box, n) => sum + (box.checked ? 2 ** n : 0), 0);
  const sides = of("sides").value.split(",").map((one) => Number(one.trim()));
  return { outcome, window: current.program.windowed ? sides : null };
}

function known(draw) {
  const photo = golden.photos[image.digest], answers = photo ? golden.programs[current.name].python[photo] : [];
  const same = (one) => one.outcome === draw.outcome && JSON.stringify(one.window) === JSON.stringify(draw.window);
  return answers.find(same)?.sha256;
}

async function run() {
  if (!image || !current) return;
  const draw = drawn();
  of("equal").className = "";
  try {
    const begin = performance.now();
    const made = current.program.run(image.pixels, image.width, image.height, 4, draw);
    of("time").textContent = `${(performance.now() - begin).toFixed(2)} ms`;
    show(made);
    const here = await sha256(made.data.buffer), there = known(draw);
    of("afterSize").textContent = `${made.dtype} ${made.channels} x ${made.height} x ${made.width}`;
    of("here").textContent = here;
    of("there").textContent = there ?? "not known for this photo and draw";
    of("equal").textContent = there === undefined ? "" : here === there ? "yes, all values" : "NO";
    of("equal").className = here === there ? "good" : "bad";
  } catch (error) {
    of("here").textContent = of("there").textContent = of("time").textContent = "";
    of("equal").textContent = String(error.message);
    of("equal").className = "bad";
  }
}

// Draws that Python made for this photo, to choose from; the first of them is set.
function offer() {
  const { python } = golden.programs[current.name], photo = golden.photos[image?.digest];
  const answers = photo ? python[photo] : [], { program } = current, chooser = of("draws");
  of("coins").replaceChildren(...program.coins.map((name) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.onchange = run;
    label.append(box, ` ${name} `);
    return label;
  }));
  of("window").hidden = !program.windowed;
  chooser.hidden = program.coins.length === 0 && !program.windowed;
  chooser.replaceChildren(...answers.map((one, n) => new Option(`what Python drew with seed ${n}`, String(n))));
  const set = (answer) => {
    of("coins").querySelectorAll("input").forEach((box, n) => (box.checked = Boolean((answer.outcome >> n) & 1)));
    of("sides").value = (answer.window ?? []).join(", ");
  };
  chooser.onchange = () => (set(answers[Number(chooser.value)]), run());
  set(answers[0] ?? { outcome: 0, window: image && [0, 0, image.height, image.width] });
}

async function choose(name) {
  if (!programs.has(name)) {
    const bytes = await (await fetch(`files/${name}.ltp`)).arrayBuffer();
    programs.set(name, await load(bytes));
  }
  current = { name, program: programs.get(name) };
  of("words").textContent = golden.programs[name].words;
  of("steps").replaceChildren(...golden.programs[name].transforms.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  of("digest").textContent = current.program.about("digest");
  offer();
  await run();
}

async function take(blob) {
  try {
    image = await decode(blob);
  } catch (error) {
    of("equal").textContent = `No image: ${error.message}`;
    of("equal").className = "bad";
    return;
  }
  of("beforeSize").textContent = `uint8 3 x ${image.height} x ${image.width}`;
  offer();
  await run();
}

golden = await (await fetch("files/golden.json")).json();
of("program").replaceChildren(...Object.keys(golden.programs).map((name) => new Option(name, name)));
of("program").onchange = () => choose(of("program").value);
of("sides").onchange = run;
of("file").onchange = () => of("file").files.length && take(of("file").files[0]);
of("drop").ondragover = (event) => (event.preventDefault(), of("drop").classList.add("over"));
of("drop").ondragleave = () => of("drop").classList.remove("over");
of("drop").ondrop = (event) => {
  event.preventDefault();
  of("drop").classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
};
for (const photo of Object.values(golden.photos)) {
  const button = document.createElement("button");
  button.textContent = photo;
  button.onclick = async () => take(await (await fetch(`files/${photo}.png`)).blob());
  of("photos").append(button, " ");
}
const wanted = new URLSearchParams(location.search);
const first = wanted.get("program");
of("program").value = first in golden.programs ? first : Object.keys(golden.programs)[0];
await choose(of("program").value);
const photo = wanted.get("photo") ?? Object.values(golden.photos)[0];
await take(await (await fetch(`files/${photo}.png`)).blob());
document.body.dataset.ready = "yes";
