// node cases.mjs FILE: the cases of a file in Node; prints what differs as JSON.
import { readFile } from "node:fs/promises";

import { load, ProgramError } from "../../web/index.js";
import { differing, mistakes } from "./cases.js";

const { buffer, byteOffset, byteLength } = await readFile(process.argv[2]);
const cases = buffer.slice(byteOffset, byteOffset + byteLength);
console.log(JSON.stringify({ ...(await differing(cases, load)), mistakes: await mistakes(cases, load, ProgramError) }));
