// Messages are cut out of a stream wherever its pieces end, and a table that lies is refused before
// anything is kept for it.

import { describe, expect, test } from "bun:test";
import { createFrameReader } from "../../src/wire/frame.ts";
import { framed, wide, words } from "../support/capnp.ts";

const one = words(1n, 2n, 3n);
const messages = [
  framed(one),
  framed(words(4n), words(), words(5n, 6n)),
  framed(words(7n), ...Array.from({ length: 510 }, () => words())),
];
const stream = new Uint8Array(Buffer.concat(messages));

function segmentsOf(reader: ReturnType<typeof createFrameReader>): number[][] {
  const found: number[][] = [];
  for (let frame = reader.next(); frame !== null; frame = reader.next()) {
    found.push(frame.segments.map(({ length }) => length));
  }
  return found;
}

const wanted = [[24], [8, 0, 16], [8, ...Array.from({ length: 510 }, () => 0)]];

describe("messages one after the other", () => {
  test("come whole and in order, cut at every byte", () => {
    for (let at = 0; at <= stream.length; at++) {
      const reader = createFrameReader(wide);
      reader.push(stream.subarray(0, at));
      const before = segmentsOf(reader);
      reader.push(stream.subarray(at));
      expect([...before, ...segmentsOf(reader)]).toEqual(wanted);
      expect([reader.held(), reader.announced()]).toEqual([0, 0]);
    }
  });

  test("come whole byte by byte", () => {
    const reader = createFrameReader(wide);
    const found = [...stream].flatMap((byte) => {
      reader.push(Uint8Array.of(byte));
      return segmentsOf(reader);
    });
    expect(found).toEqual(wanted);
  });

  test("keep their bytes when the stream goes on", () => {
    const reader = createFrameReader(wide);
    reader.push(stream);
    const frame = reader.next();
    reader.push(new Uint8Array(stream.length).fill(255));
    expect(Buffer.concat([...(frame?.segments ?? [])])).toEqual(Buffer.from(one));
  });

  test("tell how long they are once their table is there", () => {
    const reader = createFrameReader(wide);
    reader.push(framed(one).subarray(0, 7));
    expect([reader.next(), reader.announced()]).toEqual([null, 0]);
    reader.push(framed(one).subarray(7, 8));
    expect([reader.next(), reader.announced(), reader.held()]).toEqual([null, 32, 8]);
  });
});

const bounds = { segments_max: 511, bytes_max: 64 };
const table = (...values: readonly number[]) => new Uint8Array(new Uint32Array(values).buffer);

test.each<[string, Uint8Array, string]>([
  ["a count that makes a process die", table(0x7ffffffe), "invalid_argument"],
  ["no segments", table(0xffffffff), "invalid_argument"],
  ["512 segments", table(511), "invalid_argument"],
  ["one byte more than is taken", table(0, 9), "too_large"],
  ["segments that are too much together", table(2, 4, 4, 1), "too_large"],
  ["a length beyond all memory", table(1, 0xffffffff, 0xffffffff, 0), "too_large"],
])("%s is refused by the table alone", (_, bytes, code) => {
  const reader = createFrameReader(bounds);
  reader.push(bytes);
  expect(() => reader.next()).toThrow(expect.objectContaining({ code }));
});

test("as many segments and bytes as are taken, are taken", () => {
  const reader = createFrameReader(bounds);
  reader.push(framed(...Array.from({ length: 511 }, (_, at) => words(...(at < 8 ? [1n] : [])))));
  expect(reader.next()?.segments.length).toBe(511);
});

test("pieces without end are held once, however many they are", () => {
  const reader = createFrameReader(wide);
  const size = 1 << 20;
  reader.push(table(0, size / 8));
  const before = process.memoryUsage().arrayBuffers;
  for (let sent = 0; sent < size; sent += 16) reader.push(new Uint8Array(16));
  expect(reader.held()).toBe(8 + size);
  // Twice what is held, and what the garbage collector has not looked at yet would be gigabytes.
  Bun.gc(true);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * size);
});
