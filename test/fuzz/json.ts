// JSON texts, right and wrong, and the canonical decoder in this process: it takes what JSON is and
// says the same when it is asked again, or refuses with the one error; nothing else may be thrown.

import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { hugeNumbers, mutated, nested, type Dice } from "./dice.ts";
import type { Target } from "./target.ts";

const names = ["a", "status", "__proto__", "constructor", "", "10", "\ue000", "😀", "\ud800", "\0"];

export function jsonText(dice: Dice, depth = 3): string {
  const inner = (): string => jsonText(dice, depth - 1);
  const many = (make: () => string): string =>
    Array.from({ length: dice.below(5) }, make).join(",");
  switch (dice.below(depth > 0 ? 8 : 4)) {
    case 0:
      return dice.chance(0.3) ? dice.pick(hugeNumbers) : String(dice.below(2 ** 31) / 1000);
    case 1:
      return JSON.stringify(dice.text(12));
    case 2:
      return dice.pick(["true", "false", "null", '""', "{}", "[]", "-0.0", "1E5"]);
    case 3:
      return JSON.stringify(dice.pick(names));
    case 4:
    case 5:
      return `[${many(inner)}]`;
    default:
      return `{${many(() => `${JSON.stringify(dice.pick(names))} : ${inner()}`)}}`;
  }
}

/** JSON as it may arrive: mostly right, or too deep, or with something wrong in it. */
export function jsonBytes(dice: Dice): Buffer {
  if (!dice.chance(0.04)) return mutated(dice, jsonText(dice, 4));
  const pairs = [["[", "", "]"] as const, ['{"a":', "1", "}"] as const, ["[", "", ""] as const];
  return Buffer.from(nested(dice.pick([126, 127, 128, 129, 5_000, 100_000]), dice.pick(pairs)));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function judge(text: string): string[] {
  const said = JSON.stringify(text.slice(0, 300));
  let canonical: string;
  try {
    canonical = canonicalize(text);
  } catch (thrown) {
    if (thrown instanceof DbxError && thrown.code === "invalid_argument") return [];
    return [`threw ${String(thrown)} for ${said}`];
  }
  if (!isJson(text)) return [`took what is no JSON: ${said}`];
  if (!isJson(canonical)) return [`made what is no JSON of ${said}`];
  return canonicalize(canonical) === canonical ? [] : [`is not settled: ${said}`];
}

/** Many at a time: one takes microseconds. */
const texts_each = 20;

export const json: Target = {
  name: "json",
  attempt: async (_, dice) =>
    Array.from({ length: texts_each }).flatMap(() => judge(jsonBytes(dice).toString())),
};
