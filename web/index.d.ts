/** How values lie in memory: those of a pixel side by side, or those of a channel. */
export type Layout = "HWC" | "CHW";

export type Dtype = "uint8" | "float32" | "float16" | "bfloat16";

export interface RunOptions {
  /** (top, left, height, width) of the part to use, for programs that take one. */
  window?: readonly [number, number, number, number] | null;
  /** Bit n says whether coin n is applied, see {@link Program.coins}. Default: 0. */
  outcome?: number;
  /** Of the result. Default: as the pipeline leaves it in Python. */
  layout?: Layout;
}

export interface Result {
  /** uint8, float32, or words of 16 bits of the other dtypes. */
  data: Uint8Array | Float32Array | Uint16Array;
  dtype: Dtype;
  layout: Layout;
  channels: number;
  height: number;
  width: number;
}

/** Why a program cannot be read, or run. */
export declare class ProgramError extends Error {
  /** An lt_status of lt_runtime.h. */
  readonly status: number;
}

export declare class Program {
  private constructor();
  /** Channels of its images that it uses. */
  readonly channels: number;
  /** Whether each image comes with a window. */
  readonly windowed: boolean;
  /** The transforms that are applied or not, in order. */
  readonly coins: readonly string[];
  /** A text of the file: "pipeline" and "certificates" are JSON, "digest" is a hash of it. */
  about(name: string): string | undefined;
  /**
   * Runs on an image, row by row from the top, its channels side by side.
   * @param pixels of `height * width * channels` bytes
   * @param channels of a pixel in memory: those of the program, or more, such as the 4 of ImageData
   */
  run(pixels: Uint8Array | Uint8ClampedArray, width: number, height: number, channels?: number, options?: RunOptions): Result;
  /** Gives its memory back. It cannot be used any more. */
  free(): void;
}

/**
 * Reads a program file, which learned_transforms.export.program of Python writes.
 * @param bytes of the file
 * @param engine the WebAssembly module, or its bytes; default: learned_transforms.wasm beside this file
 */
export declare function load(
  bytes: ArrayBuffer | Uint8Array,
  engine?: ArrayBuffer | Uint8Array | WebAssembly.Module,
): Promise<Program>;
