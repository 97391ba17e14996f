/**
 * The icon of dbx, drawn here: a column of three rounded blocks, each resting on the one before,
 * as events do. Made of arithmetic, so that there is no binary file to keep and it is sharp at
 * every size.
 */

const sizes = [16, 32, 48, 256] as const;
type Colour = readonly [red: number, green: number, blue: number];
const ground: Colour = [22, 32, 56];
const blocks: readonly Colour[] = [
  [94, 234, 212],
  [56, 189, 248],
  [129, 140, 248],
];
/** Points that are looked at in each direction of a pixel, so that edges are smooth. */
const samples = 4;

/** A `.ico` file with every size as uncompressed 32-bit pixels. */
export function drawIcon(): Buffer {
  const images = sizes.map(bitmap);
  const header = Buffer.alloc(6 + 16 * images.length);
  header.writeUInt16LE(1, 2);
  header.writeUInt16LE(images.length, 4);
  let offset = header.length;
  for (const [index, image] of images.entries()) {
    const at = 6 + 16 * index;
    const size = sizes[index] ?? 0;
    // 256 does not fit into a byte and is written as 0.
    header.writeUInt8(size % 256, at);
    header.writeUInt8(size % 256, at + 1);
    header.writeUInt16LE(1, at + 4);
    header.writeUInt16LE(32, at + 6);
    header.writeUInt32LE(image.length, at + 8);
    header.writeUInt32LE(offset, at + 12);
    offset += image.length;
  }
  return Buffer.concat([header, ...images]);
}

/** A BITMAPINFOHEADER, the pixels from the bottom up, and a mask that nobody needs but Windows. */
function bitmap(size: number): Buffer {
  const head = Buffer.alloc(40);
  head.writeUInt32LE(40, 0);
  head.writeInt32LE(size, 4);
  head.writeInt32LE(size * 2, 8);
  head.writeUInt16LE(1, 12);
  head.writeUInt16LE(32, 14);
  const pixels = Buffer.alloc(size * size * 4);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      pixels.set(pixel({ x, y, size }), ((size - 1 - y) * size + x) * 4);
    }
  }
  const mask = Buffer.alloc(Math.ceil(size / 32) * 4 * size);
  return Buffer.concat([head, pixels, mask]);
}

/** Blue, green, red and opacity, averaged over the points of the pixel. */
function pixel({ x, y, size }: { x: number; y: number; size: number }): number[] {
  const sums = [0, 0, 0, 0];
  for (let each = 0; each < samples ** 2; each++) {
    const u = (x + ((each % samples) + 0.5) / samples) / size;
    const v = (y + (Math.floor(each / samples) + 0.5) / samples) / size;
    const colour = colourAt(u, v);
    if (colour === null) continue;
    const [red, green, blue] = colour;
    for (const [channel, value] of [blue, green, red, 255].entries()) {
      sums[channel] = (sums[channel] ?? 0) + value;
    }
  }
  const hits = (sums[3] ?? 0) / 255;
  return sums.map((sum, channel) => Math.round(sum / (channel === 3 ? samples ** 2 : hits || 1)));
}

/** Of a point between 0 and 1 from the upper left; null outside the icon. */
function colourAt(u: number, v: number): Colour | null {
  if (!inside({ u, v, left: 0.02, top: 0.02, width: 0.96, height: 0.96, radius: 0.2 })) return null;
  for (const [index, colour] of blocks.entries()) {
    const top = 0.16 + index * 0.24;
    if (inside({ u, v, left: 0.2, top, width: 0.6, height: 0.19, radius: 0.07 })) return colour;
  }
  return ground;
}

interface Rounded {
  readonly u: number;
  readonly v: number;
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly radius: number;
}

function inside({ u, v, left, top, width, height, radius }: Rounded): boolean {
  const beyond = (value: number, from: number, length: number) =>
    Math.max(Math.abs(value - from - length / 2) - (length / 2 - radius), 0);
  return Math.hypot(beyond(u, left, width), beyond(v, top, height)) <= radius;
}
