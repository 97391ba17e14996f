// Instants as people and programs write them, and what is none.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DbxError } from "../../src/model/error.ts";
import { parseInstant } from "../../src/model/instant.ts";
import { runs } from "../support/json-texts.ts";

const parse = (text: string) => parseInstant(text, { path: "/at" });

const taken: readonly [string, string][] = [
  ["2024-12-01T17:22:43.512345Z", "2024-12-01T17:22:43.512345Z"],
  ["2024-12-01T17:22:43Z", "2024-12-01T17:22:43.000000Z"],
  ["2024-12-01t17:22:43.5z", "2024-12-01T17:22:43.500000Z"],
  ["2024-12-01T17:22:43.5123459999Z", "2024-12-01T17:22:43.512345Z"],
  [`2024-12-01T17:22:43.${"9".repeat(500)}Z`, "2024-12-01T17:22:43.999999Z"],
  ["2024-12-01T18:22:43.512345+01:00", "2024-12-01T17:22:43.512345Z"],
  ["2024-12-01T00:00:00-23:59", "2024-12-01T23:59:00.000000Z"],
  ["2024-12-31T23:30:00-00:30", "2025-01-01T00:00:00.000000Z"],
  ["2024-03-01T00:30:00+05:45", "2024-02-29T18:45:00.000000Z"],
  ["2024-12-01T17:22:43-00:00", "2024-12-01T17:22:43.000000Z"],
  ["2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"],
  ["2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z"],
  ["0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"],
  ["0099-01-01T00:00:00Z", "0099-01-01T00:00:00.000000Z"],
  ["9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"],
  // Leap seconds are instants, between the seconds beside them.
  ["1990-12-31T23:59:60Z", "1990-12-31T23:59:60.000000Z"],
  ["1990-12-31T15:59:60.25-08:00", "1990-12-31T23:59:60.250000Z"],
];

const refused = [
  ...["", "now", "2024-12-01", "2024-12-01T17:22:43", "2024-12-01 17:22:43Z", "20241201T172243Z"],
  ...[
    "2023-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2024-02-30T00:00:00Z",
    "2024-04-31T00:00:00Z",
  ],
  ...[
    "2024-13-01T00:00:00Z",
    "2024-00-01T00:00:00Z",
    "2024-01-00T00:00:00Z",
    "2024-01-32T00:00:00Z",
  ],
  ...[
    "2024-01-01T24:00:00Z",
    "2024-01-01T00:60:00Z",
    "2024-01-01T00:00:61Z",
    "2024-01-01T00:00:60Z",
  ],
  ...["2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+00:60", "2024-01-01T00:00:00+0100"],
  ...[
    "2024-01-01T00:00:00.Z",
    "2024-01-01T00:00:00,5Z",
    "2024-01-01T00:00:00.5",
    "12024-01-01T00:00:00Z",
  ],
  ...[
    "-024-01-01T00:00:00Z",
    "2024-1-1T00:00:00Z",
    " 2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00Z\n",
  ],
  ...["0000-01-01T00:00:00+00:01", "9999-12-31T23:59:00-00:01", "２024-01-01T00:00:00Z"],
];

describe("an instant", () => {
  test.each(taken)("%s is %s", (text, instant) => expect(parse(text)).toBe(instant));

  test.each(refused)("%j is none", (text) => {
    try {
      parse(text);
    } catch (error) {
      if (!(error instanceof DbxError)) throw error;
      expect(error.code).toBe("invalid_argument");
      expect(error.message).toStartWith("at must ");
      expect(error.details).toEqual({ path: "/at" });
      return;
    }
    throw new Error(`${text} was taken`);
  });

  test("a plus that a query made a blank is explained", () => {
    expect(() => parse("2024-12-01T17:22:43 01:00")).toThrow("in a URL, + is written %2B");
  });

  test("of every instant is the same in every zone", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("0001-01-02"), max: new Date("9999-12-30"), noInvalidDate: true }),
        fc.integer({ min: -1439, max: 1439 }),
        (date, offset) => {
          const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, -1);
          const minutes = Math.abs(offset) % 60;
          const hours = (Math.abs(offset) - minutes) / 60;
          const zone = [hours, minutes].map((part) => String(part).padStart(2, "0")).join(":");
          const text = `${local}${offset < 0 ? "-" : "+"}${zone}`;
          expect(parse(text)).toBe(date.toISOString().replace("Z", "000Z"));
        },
      ),
      runs(1_000),
    );
  });
});
