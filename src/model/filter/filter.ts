// A filter: a condition on the state of an aggregate. What its parts are; parse.ts makes it of
// text, match.ts asks it.

import type { Decimal } from "../decimal.ts";

export interface Filter {
  readonly condition: Condition;
  /**
   * How many comparisons it is made of, and of how many values: a state costs no more than being
   * read so many times, and what is found in it being compared so many times.
   */
  readonly comparisons: number;
  readonly values: number;
}

export type Condition =
  | { readonly kind: "and" | "or"; readonly parts: readonly Condition[] }
  | { readonly kind: "not"; readonly part: Condition }
  | { readonly kind: "exists"; readonly path: Path }
  | { readonly kind: Operator; readonly path: Path; readonly value: Literal }
  | { readonly kind: "in"; readonly path: Path; readonly values: readonly Literal[] }
  | { readonly kind: "contains"; readonly path: Path; readonly value: Literal };

export type Operator = "=" | "!=" | "<" | "<=" | ">" | ">=";

/** From the outside in: a member by its key, as a canonical string token, or an element by index. */
export type Path = readonly (string | number)[];

export type Literal =
  /** `token` is the canonical one, quotes included; `text` what it means. */
  | { readonly kind: "string"; readonly token: string; readonly text: string }
  | { readonly kind: "number"; readonly value: Decimal }
  | { readonly kind: "boolean"; readonly word: "true" | "false" }
  | { readonly kind: "null" };
