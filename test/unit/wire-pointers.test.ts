// No message passes whose pointers lead out of it, in circles, to more than it holds, or to another
// kind of thing than its reader takes for granted.

import { describe, expect, test } from "bun:test";
import { checkMessage, rootOf, type Shape, type StructShape } from "../../src/wire/pointers.ts";
import { far, list, short, struct, words } from "../support/capnp.ts";

const text: Shape = { kind: "text" };
const shapeOf = (...pointers: Shape[]): StructShape => ({ kind: "struct", pointers });
const bounds = { words_max: 1_000, pointers_max: 100, depth_max: 64 };

const check = (segments: readonly Uint8Array[], shape = shapeOf(text)) =>
  checkMessage(segments, { shape, bounds });

const texts: Shape = { kind: "list", of: text };
const structs: Shape = { kind: "list", of: shapeOf(text) };

/** A row with its name before it: rows that leave out their end would get a callback there. */
const named = <Row extends readonly [string, ...unknown[]]>(rows: readonly Row[]) =>
  rows.map((row) => [row[0], row] as const);

describe("passes", () => {
  test.each(
    named<[string, Uint8Array[], StructShape?]>([
      ["a null root", [words(0n)]],
      ["a struct of nothing, where its pointer is", [words(struct(-1, 0, 0))]],
      ["an older struct without pointers", [words(struct(0, 1, 0), 7n)]],
      ["a null pointer for any shape", [words(struct(0, 0, 1), 0n)], shapeOf(texts)],
      ["a text", [words(struct(0, 0, 1), list(0, 2, 3), short("ok"))]],
      ["a text before its pointer", [words(struct(1, 0, 1), short("ok"), list(-2, 2, 3))]],
      [
        "a newer struct with pointers nobody knows",
        [words(struct(0, 1, 3), 7n, 0n, list(1, 5, 1), 0n, 9n)],
      ],
      [
        "a list of texts",
        [
          words(
            struct(0, 0, 1),
            list(0, 6, 2),
            list(1, 2, 2),
            list(1, 2, 2),
            short("a"),
            short("b"),
          ),
        ],
        shapeOf(texts),
      ],
      [
        "a list of structs",
        [words(struct(0, 0, 1), list(0, 7, 2), struct(1, 1, 1), 7n, list(0, 2, 2), short("a"))],
        shapeOf(structs),
      ],
      ["a far pointer", [words(far(1, 1)), words(9n, struct(0, 0, 1), list(0, 2, 2), short("a"))]],
      [
        "a double far pointer",
        [
          words(far(1, 0, "double")),
          words(far(2, 1), struct(0, 0, 1)),
          words(9n, list(0, 2, 2), short("a")),
        ],
      ],
      [
        "far pointers back and forth",
        [words(far(1, 0), list(0, 2, 2), short("a")), words(struct(0, 0, 1), far(0, 1))],
      ],
    ]),
  )("%s", (_, [, segments, shape]) => {
    expect(() => check(segments, shape)).not.toThrow();
  });
});

describe("is refused", () => {
  test.each(
    named<[string, Uint8Array[], string, StructShape?]>([
      ["a first segment without root", [words()], "no root"],
      ["a root that is a list", [words(list(0, 2, 0))], "a struct belongs"],
      ["a capability", [words(3n)], "no capabilities"],
      ["a struct behind the end", [words(struct(0, 1, 0))], "out of its segment"],
      ["a struct before the beginning", [words(struct(-2, 0, 0))], "out of its segment"],
      ["a list behind the end", [words(struct(0, 0, 1), list(0, 2, 9), 0n)], "out of its segment"],
      ["a text without its end", [words(struct(0, 0, 1), list(0, 2, 2), short("ab"))], "zero byte"],
      ["a text of no bytes", [words(struct(0, 0, 1), list(0, 2, 0))], "zero byte"],
      ["a text that is not UTF-8", [words(struct(0, 0, 1), list(0, 2, 2), 0xffn)], "UTF-8"],
      ["half a surrogate pair", [words(struct(0, 0, 1), list(0, 2, 4), 0x80a0edn)], "UTF-8"],
      ["numbers for a text", [words(struct(0, 0, 1), list(0, 5, 1), 0n)], "text belongs"],
      ["a struct for a text", [words(struct(0, 0, 1), struct(-1, 0, 0))], "text belongs"],
      [
        "bytes for structs, whose first would be taken for their number",
        [words(struct(0, 0, 1), list(0, 2, 8), 0x7fffffffn)],
        "stands for a list",
        shapeOf(structs),
      ],
      [
        "numbers for texts",
        [words(struct(0, 0, 1), list(0, 5, 1), 0n)],
        "stands for a list",
        shapeOf(texts),
      ],
      [
        "a tag that counts more structs than there are",
        [words(struct(0, 0, 1), list(0, 7, 1), struct(2, 0, 1), 0n)],
        "does not fit",
        shapeOf(structs),
      ],
      [
        "a tag that is none",
        [words(struct(0, 0, 1), list(0, 7, 1), list(1, 0, 1), 0n)],
        "does not fit",
        shapeOf(structs),
      ],
      [
        "millions of structs of nothing",
        [words(struct(0, 0, 1), list(0, 7, 0), struct(30_000_000, 0, 0))],
        "more than a message may hold",
        shapeOf(structs),
      ],
      [
        "millions of nothing",
        [words(struct(0, 0, 1), list(0, 0, 30_000_000))],
        "more than a message may hold",
        shapeOf({ kind: "any" }),
      ],
      ["a far pointer to itself", [words(far(0, 0))], "leads to another"],
      ["a far pointer to no segment", [words(far(9, 0))], "not there"],
      ["a far pointer behind the end", [words(far(0, 1))], "out of its segment"],
      ["a landing pad cut in half", [words(far(1, 0, "double")), words(far(0, 0))], "out of its"],
      [
        "a double far pointer to a double one",
        [words(far(1, 0, "double")), words(far(1, 0, "double"), struct(0, 0, 0))],
        "landing pad",
      ],
      ["a double far pointer to itself", [words(far(0, 0, "double"), 0n)], "landing pad"],
      [
        "a circle",
        [words(struct(0, 0, 1), struct(-1, 0, 1))],
        "deeper than 64 levels",
        shapeOf({ kind: "any" }),
      ],
      [
        "circles that double at each level",
        [words(struct(0, 0, 2), struct(-1, 0, 2), struct(-2, 0, 2))],
        "deeper than 64 levels",
        shapeOf({ kind: "any" }),
      ],
      [
        "a thousand pointers to the same bytes",
        [
          words(
            ...[struct(0, 0, 1), list(0, 6, 400)],
            ...Array.from({ length: 400 }, (_, at) => list(399 - at, 5, 100)),
            ...Array.from({ length: 100 }, () => 0n),
          ),
        ],
        "more than a message may hold",
        shapeOf({ kind: "any" }),
      ],
    ]),
  )("%s", (_, [, segments, why, shape]) => {
    expect(() => check(segments, shape)).toThrow(
      expect.objectContaining({ code: "invalid_argument", message: expect.stringContaining(why) }),
    );
  });
});

describe("the bounds", () => {
  const nested = (levels: number) =>
    words(
      ...Array.from({ length: levels }, (_, at) =>
        at + 1 < levels ? struct(0, 0, 1) : struct(-1, 0, 0),
      ),
    );

  test("hold at the level where they begin", () => {
    const shape = shapeOf({ kind: "any" });
    expect(() => check([nested(64)], shape)).not.toThrow();
    expect(() => check([nested(65)], shape)).toThrow("deeper");
  });

  test("hold at the word where they begin", () => {
    const numbers = (count: number) =>
      words(struct(0, 0, 1), list(0, 5, count), ...Array.from({ length: count }, () => 0n));
    const shape = shapeOf({ kind: "any" });
    expect(() => check([numbers(999)], shape)).not.toThrow();
    expect(() => check([numbers(1_000)], shape)).toThrow("more than a message may hold");
  });

  test("hold at the pointer where they begin; null ones do not count", () => {
    const empty = struct(-1, 0, 0);
    const leading = (count: number) => {
      const pointers = [...Array.from({ length: count }, () => empty), 0n, 0n, 0n];
      return words(struct(0, 0, 1), list(0, 6, pointers.length), ...pointers);
    };
    const shape = shapeOf({ kind: "any" });
    expect(() => check([leading(98)], shape)).not.toThrow();
    expect(() => check([leading(99)], shape)).toThrow("more than 100 pointers");
  });

  test("end circles of a hundred pointers before they take long", () => {
    const circle = Array.from({ length: 100 }, (_, at) => struct(-1 - at, 0, 100));
    expect(() => check([words(struct(0, 0, 100), ...circle)], shapeOf())).toThrow();
  });
});

test("of a message that nobody knows, the root and its first pointer are told", () => {
  const tell = (...segments: Uint8Array[]) => rootOf(segments, bounds);
  expect(tell(words(0n))).toEqual({ data_words: 0, first: "null" });
  expect(tell(words(struct(0, 2, 0), 0n, 0n))).toEqual({ data_words: 2, first: "null" });
  expect(tell(words(struct(0, 1, 1), 0n, 0n))).toEqual({ data_words: 1, first: "null" });
  expect(tell(words(struct(0, 0, 1), struct(-1, 0, 0)))).toEqual({
    data_words: 0,
    first: "struct",
  });
  expect(tell(words(struct(0, 0, 1), list(0, 2, 0)))).toEqual({ data_words: 0, first: 2 });
  expect(tell(words(far(1, 0), struct(-1, 0, 0)), words(struct(0, 0, 1), far(0, 1)))).toEqual({
    data_words: 0,
    first: "struct",
  });
  expect(() => tell(words(list(0, 2, 0)))).toThrow("the root is no struct");
});
