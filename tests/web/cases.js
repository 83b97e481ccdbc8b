// Cases of tests/runtime_cases.py, run by the package in web/: how many differ from what Python made.

const NUMBERS = 13;

function* read(buffer) {
  const view = new DataView(buffer);
  let at = 0;
  const number = () => Number(view.getBigInt64((at += 8) - 8, true));
  const blob = () => {
    const size = number();
    return new Uint8Array(buffer, (at += size) - size, size);
  };
  while (at < buffer.byteLength) {
    const [height, width, row, pixel, channel, offset, outcome, windowed, ...rest] = Array.from({ length: NUMBERS }, number);
    const program = blob(), memory = blob(), result = blob();
    const window = windowed ? rest.slice(0, 4) : null;
    yield { height, width, row, pixel, channel, offset, outcome, window, layout: ["", "HWC", "CHW"][rest[4]], program, memory, result };
  }
}

// Pixels without gaps: 3 to a pixel, or 4.
function packed({ height, width, row, pixel, channel, offset, memory }) {
  const channels = pixel === 4 ? 4 : 3, made = new Uint8Array(height * width * channels);
  for (let y = 0; y < height; ++y)
    for (let x = 0; x < width; ++x)
      for (let c = 0; c < 3; ++c) made[(y * width + x) * channels + c] = memory[offset + y * row + x * pixel + c * channel];
  return { pixels: made, channels };
}

export async function differing(buffer, load, engine) {
  let cases = 0;
  const bad = [];
  for (const one of read(buffer)) {
    const program = await load(one.program, engine);
    const { pixels, channels } = packed(one);
    for (let again = 0; again < 2; ++again) {
      const { data } = program.run(pixels, one.width, one.height, channels, one);
      const bytes = new Uint8Array(data.buffer);
      const same = bytes.length === one.result.length && bytes.every((value, at) => value === one.result[at]);
      if (!same) bad.push(cases);
    }
    program.free();
    ++cases;
  }
  return { cases, bad };
}

// Mistakes that must throw a ProgramError, by what they are; those that do not are returned.
export async function mistakes(buffer, load, ProgramError) {
  const { program: bytes } = read(buffer).next().value, found = [];
  const fails = async (name, work) => {
    try {
      await work();
      found.push(`${name}: nothing is thrown`);
    } catch (error) {
      if (!(error instanceof ProgramError) || !error.message) found.push(`${name}: ${error}`);
    }
  };
  await fails("no bytes", () => load(new Uint8Array(0)));
  await fails("half of it", () => load(bytes.slice(0, bytes.length / 2)));
  for (let at = 0; at < bytes.length; at += 97)
    await fails(`byte ${at}`, () => load(bytes.map((value, place) => (place === at ? value ^ 1 : value))));
  const program = await load(bytes), pixels = new Uint8Array(48);
  await fails("too few pixels", () => program.run(pixels, 5, 4));
  await fails("too few channels", () => program.run(pixels, 6, 8, 1));
  await fails("no pixels", () => program.run([1, 2, 3], 1, 1));
  await fails("an empty image", () => program.run(new Uint8Array(0), 0, 4));
  await fails("an outcome", () => program.run(pixels, 4, 4, 3, { outcome: 2 ** program.coins.length }));
  await fails("a layout", () => program.run(pixels, 4, 4, 3, { layout: "WHC" }));
  await fails("a window", () => program.run(pixels, 4, 4, 3, { window: program.windowed ? null : [0, 0, 2, 2] }));
  program.free();
  await fails("freed", () => program.run(pixels, 4, 4));
  return found;
}
