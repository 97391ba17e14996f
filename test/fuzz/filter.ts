// Filters of lists: sentences of the grammar, sentences that are nearly right, and nests. What a
// server parses in a query of an URL.

import { judge } from "./answer.ts";
import { hugeNumbers, mutatedText, nested, type Dice } from "./dice.ts";
import { after, exchange, requestBytes, type Target } from "./target.ts";

const members = ["status", "address.city", "tags[0]", '"odd key".x', "__proto__.a", "a[99999999]"];

function value(dice: Dice): string {
  const text = (): string => JSON.stringify(dice.text(6));
  return dice.pick(["true", "null", "-1.5", '"open"', dice.pick(hugeNumbers), text()]);
}

export function filterText(dice: Dice, depth = 3): string {
  const inner = (): string => filterText(dice, depth - 1);
  const member = dice.pick(members);
  switch (dice.below(depth > 0 ? 7 : 4)) {
    case 0:
      return `${member} ${dice.pick(["=", "!=", "<", "<=", ">", ">="])} ${value(dice)}`;
    case 1:
      return `${member} IN (${Array.from({ length: dice.below(6) }, () => value(dice)).join(", ")})`;
    case 2:
      return `EXISTS ${member}`;
    case 3:
      return `${member} CONTAINS ${value(dice)}`;
    case 4:
      return `NOT ${inner()}`;
    case 5:
      return `(${inner()} ${dice.pick(["AND", "OR"])} ${inner()})`;
    default:
      return `${inner()} ${dice.pick(["AND", "OR", "and"])} ${inner()}`;
  }
}

/** A filter of the grammar that no bound forbids. */
export function rightFilter(dice: Dice): string {
  const one = (): string => {
    const value = dice.pick(['"open"', "3", "-1.5", "true", "null", '"Oslo"']);
    return dice.pick([
      `status ${dice.pick(["=", "!=", "<", ">="])} ${value}`,
      `address.city IN ("Oslo", ${value})`,
      "EXISTS tags[0]",
      'tags CONTAINS "x"',
      `"odd key".x = ${value}`,
    ]);
  };
  const two = (): string => `${one()} ${dice.pick(["AND", "OR"])} ${one()}`;
  return dice.pick([one, two, () => `NOT (${two()})`, () => `(${two()}) AND ${one()}`])();
}

function filterCase(dice: Dice): string {
  if (dice.chance(0.45)) return rightFilter(dice);
  if (dice.chance(0.3)) return mutatedText(dice, rightFilter(dice));
  if (dice.chance(0.9)) return mutatedText(dice, filterText(dice, 4));
  const pairs = [["(", "a = 1", ")"] as const, ["NOT ", "a = 1", ""] as const];
  return nested(dice.pick([63, 64, 65, 600]), dice.pick(pairs));
}

export const filter: Target = {
  name: "filter",
  place: "shared",
  async attempt(goal, dice) {
    const text = filterCase(dice).toWellFormed();
    const path = `/v1/aggregates?take=3&filter=${encodeURIComponent(text)}`;
    const fields = [`Authorization: Bearer ${goal.token}`];
    const bytes = requestBytes({ method: "GET", path, body: Buffer.alloc(0) }, fields);
    const tried = judge(goal, await exchange(goal, [bytes]));
    return after(tried, `the filter ${JSON.stringify(text)}`);
  },
};
