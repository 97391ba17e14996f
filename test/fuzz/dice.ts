// Where every choice of a fuzzing run comes from: a generator that is seeded, so that a case can be
// had again, and the ways in which something right is made wrong.

export interface Dice {
  /** A whole number from 0 to `below` - 1. */
  readonly below: (below: number) => number;
  readonly chance: (part: number) => boolean;
  readonly pick: <T>(list: readonly T[]) => T;
  readonly bytes: (most: number) => Buffer;
  /** Text of any code units, lone surrogates included. */
  readonly text: (most: number) => string;
}

/** mulberry32: small, and the same on every machine. */
export function createDice(seed: number): Dice {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number): number => Math.floor(next() * end);
  return {
    below,
    chance: (part) => next() < part,
    pick<T>(list: readonly T[]): T {
      const [first, ...rest] = list;
      if (first === undefined) throw new Error("nothing to pick from");
      const at = below(list.length);
      return at === 0 ? first : (rest[at - 1] ?? first);
    },
    bytes: (most) => Buffer.from(Array.from({ length: below(most + 1) }, () => below(256))),
    text: (most) =>
      Array.from({ length: below(most + 1) }, () => {
        const unit = below(4);
        if (unit === 0) return String.fromCharCode(below(0x20));
        return unit === 3 ? String.fromCharCode(below(0x1_0000)) : String.fromCharCode(below(0x7f));
      }).join(""),
  };
}

/** What breaks decoders: NUL, overlong forms, surrogates, numbers that do not fit, a BOM. */
const badBytes: readonly Buffer[] = [
  Buffer.from([0]),
  Buffer.from([0xc0, 0xaf]),
  Buffer.from([0xe0, 0x80, 0xaf]),
  Buffer.from([0xf0, 0x80, 0x80, 0xaf]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xf4, 0x90, 0x80, 0x80]),
  Buffer.from([0xef, 0xbb, 0xbf]),
  Buffer.from([0xff, 0xfe]),
  Buffer.alloc(10, 0xff),
  Buffer.from("\\ud800"),
  Buffer.from("\r\n\r\n"),
  Buffer.from("%00%ff%"),
];

export const hugeNumbers: readonly string[] = [
  ...["9007199254740993", "18446744073709551616", "-9223372036854775809", "1e400", "-1e-400"],
  ...["-0", "00", "0x10", "NaN", "1e", "9".repeat(400), `0.${"0".repeat(400)}1`, "4294967296"],
];

export const nested = (depth: number, [open, inner, close]: readonly [string, string, string]) =>
  open.repeat(depth) + inner + close.repeat(depth);

/** One change: a flipped bit, a cut, a repetition, something foreign, another number. */
function changed(dice: Dice, right: Buffer): Buffer {
  const at = dice.below(right.length + 1);
  const end = Math.min(right.length, at + dice.below(dice.chance(0.8) ? 9 : right.length + 1));
  const [before, between, after] = [
    right.subarray(0, at),
    right.subarray(at, end),
    right.subarray(end),
  ];
  switch (dice.below(6)) {
    case 0: {
      const bytes = Buffer.from(right);
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.below(8));
      return bytes;
    }
    case 1:
      return Buffer.concat([before, after]);
    case 2:
      return Buffer.concat([before, between, between, after]);
    case 3:
      return Buffer.concat([before, dice.pick(badBytes), dice.chance(0.5) ? between : after]);
    case 4: {
      const text = right.toString("latin1");
      return Buffer.from(
        text.replace(/\d+/g, (digits) => (dice.chance(0.3) ? dice.pick(hugeNumbers) : digits)),
        "latin1",
      );
    }
    default:
      return Buffer.concat([before, dice.bytes(8), after]);
  }
}

/** Something right with none, one or a few changes. */
export function mutated(dice: Dice, right: Buffer | string): Buffer {
  let bytes: Buffer = Buffer.from(right);
  for (let times = dice.pick([0, 1, 1, 1, 2, 4]); times > 0; times--) bytes = changed(dice, bytes);
  return bytes;
}

/** The same as text, with what is no UTF-8 replaced. */
export const mutatedText = (dice: Dice, right: string): string => mutated(dice, right).toString();
