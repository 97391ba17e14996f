// JSON texts as arbitrary clients might send them: white space anywhere, every kind of escape,
// numbers of all shapes, keys that sort differently in UTF-8 and UTF-16, integer-like keys, keys
// met twice.

import fc from "fast-check";

const blank = fc.oneof(
  { weight: 6, arbitrary: fc.constant("") },
  { weight: 2, arbitrary: fc.constant(" ") },
  { weight: 1, arbitrary: fc.constantFrom("\n  ", "\t", "\r\n", "  ") },
);

const units = fc.constantFrom(
  ...["a", "b", "z", "A", "0", " ", "!", "/", "\\", '"', "\n", "\t", "\u0000", "\u001f", "\u007f"],
  ...["é", "\u0080", "€", "\ud7ff", "\ue000", "\ufb33", "\uffff", "😀", "𐀀", "\u{10ffff}"],
);

const strings = fc.oneof(
  fc.constantFrom("10", "9", "1", "__proto__", "constructor", "", "a", "b", "\ue000", "😀"),
  fc.string({ unit: units, maxLength: 8 }),
  // Long enough for the search that is used on long strings.
  fc.string({ unit: units, minLength: 70, maxLength: 200 }),
  fc.nat({ max: 300 }).map((length) => "x".repeat(length)),
  fc.string({ unit: "binary", maxLength: 12 }),
);

/** One character of a string token, in one of the ways JSON allows. */
function spelled(character: string, way: number): string {
  const escaped = (hexCase: (hex: string) => string) =>
    character
      .split("")
      .map((unit) => `\\u${hexCase(unit.charCodeAt(0).toString(16).padStart(4, "0"))}`)
      .join("");
  if (way === 0) return escaped((hex) => hex);
  if (way === 1) return escaped((hex) => hex.toUpperCase());
  if (way === 2 && character === "/") return "\\/";
  return JSON.stringify(character).slice(1, -1);
}

/** A string token. Most strings are written as JSON.stringify does. */
const stringTokens = fc
  .tuple(strings, fc.option(fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 5 })))
  .map(([text, ways]) => {
    if (ways === null) return JSON.stringify(text);
    const written = [...text].map((character, index) =>
      spelled(character, ways[index % ways.length] ?? 3),
    );
    return `"${written.join("")}"`;
  });

const numberTokens = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.double({ min: -1_000, max: 1_000, noNaN: true }).map((double) => double.toFixed(4)),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((double) => double.toPrecision(17)),
  fc.stringMatching(/^-?(?:0|[1-9][0-9]{0,20})(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?$/),
  fc.stringMatching(/^-?0\.0{0,9}[0-9]{1,9}$/),
  fc.constantFrom("-0", "-0.0", "0e5", "1E5", "1e21", "1e23", "1e400", "2e-324", "5e-324", "1.0"),
  fc.constantFrom("9007199254740993", "18446744073709551616", "1.0000000000000000001"),
);

const wordTokens = fc.constantFrom("true", "false", "null");

/** An object of these members, with white space between its parts. Few have a key twice. */
const objects = (members: fc.Arbitrary<string>, maxLength: number): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.array(fc.tuple(blank, stringTokens, blank, blank, members, blank), {
        maxLength,
        size: "max",
      }),
      fc.nat({ max: 7 }),
    )
    .map(([list, dice]) => {
      const isFirst = (key: string, index: number) =>
        list.findIndex((other) => other[1] === key) === index;
      const kept = list.filter(([, key], index) => dice === 0 || isFirst(key, index));
      const written = kept.map(([a, key, b, c, inner, d]) => `${a}${key}${b}:${c}${inner}${d}`);
      return `{${written.join(",")}}`;
    });

const arrays = (elements: fc.Arbitrary<string>, maxLength: number): fc.Arbitrary<string> =>
  fc
    .array(fc.tuple(blank, elements, blank), { maxLength, size: "max" })
    .map((list) => `[${list.map((parts) => parts.join("")).join(",")}]`);

const scalars = fc.oneof(stringTokens, numberTokens, wordTokens);
const shallow = fc.oneof(scalars, arrays(scalars, 4), objects(scalars, 4));
const deep = fc.oneof(arrays(shallow, 4), objects(shallow, 5));

export const jsonTexts: fc.Arbitrary<string> = fc.oneof(
  scalars,
  shallow,
  deep,
  objects(deep, 3),
  // More members than are sorted by insertion.
  objects(numberTokens, 60),
);

/** The settings of every property here: the seed is printed by fast-check when one fails. */
export const runs = (numRuns: number): fc.Parameters<unknown> => {
  const seed = Number(Bun.env["SEED"]);
  return { numRuns, ...(Number.isInteger(seed) && Bun.env["SEED"] !== undefined ? { seed } : {}) };
};

/** A busy machine may take ten times as long as a quiet one, which needs two seconds at most. */
export const runs_ms_max = 60_000;
