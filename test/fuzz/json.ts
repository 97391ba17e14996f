// JSON texts, right and wrong, and the canonical decoder in this process: it takes what JSON is and
// says the same when it is asked again, or refuses with the one error; nothing else may be thrown.

import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { hugeNumbers, mutated, nested, type Dice } from "./dice.ts";
import type { Said, Target, Tried } from "./target.ts";

const names = ["a", "status", "__proto__", "constructor", "", "10", "\ue000", "😀", "\ud800", "\0"];

const rightNames = names.filter((name) => name.isWellFormed());

/** `right`: what every decoder must take, with each member once. */
export function jsonText(dice: Dice, depth = 3, { right = false } = {}): string {
  const inner = (): string => jsonText(dice, depth - 1, { right });
  const many = (make: () => string): string =>
    Array.from({ length: dice.below(5) }, make).join(",");
  const numbers = !right && dice.chance(0.3);
  switch (dice.below(depth > 0 ? 8 : 4)) {
    case 0:
      return numbers ? dice.pick(hugeNumbers) : String(dice.below(2 ** 31) / 1000);
    case 1:
      return JSON.stringify(right ? dice.text(12).toWellFormed() : dice.text(12));
    case 2:
      return dice.pick(["true", "false", "null", '""', "{}", "[]", "-0.0", "1E5"]);
    case 3:
      return JSON.stringify(dice.pick(right ? rightNames : names));
    case 4:
    case 5:
      return `[${many(inner)}]`;
    default:
      if (right) return `{${JSON.stringify(dice.pick(rightNames))}:${inner()}}`;
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

function judge(text: string): Tried {
  const shown = JSON.stringify(text.slice(0, 300));
  let canonical: string;
  try {
    canonical = canonicalize(text);
  } catch (thrown) {
    const said: Said[] = [{ word: "invalid_argument", kind: "refused" }];
    if (thrown instanceof DbxError && thrown.code === "invalid_argument")
      return { said, faults: [] };
    return { said: [], faults: [`threw ${String(thrown)} for ${shown}`] };
  }
  const settled = isJson(canonical) && canonicalize(canonical) === canonical;
  return {
    said: [{ word: "taken", kind: "answered" }],
    faults: [
      ...(isJson(text) ? [] : [`took what is no JSON: ${shown}`]),
      ...(settled ? [] : [`made what is no JSON, or is not settled, of ${shown}`]),
    ],
  };
}

/** Many at a time: one takes microseconds. */
const texts_each = 20;

export const json: Target = {
  name: "json",
  place: "shared",
  async attempt(_, dice) {
    const judged = Array.from({ length: texts_each }, () => judge(jsonBytes(dice).toString()));
    return {
      said: judged.flatMap(({ said }) => said),
      faults: judged.flatMap(({ faults }) => faults),
    };
  },
};
