// JSON that must leave as it came. Payloads and states travel through the executor as texts in a
// wrapper, and are joined with the rest of an answer here, byte for byte.

const mark = Symbol("exact JSON");

/** Canonical JSON text of a value of the scalar `JSON`. Nothing that came from JSON looks like it. */
export interface Exact {
  readonly [mark]: string;
  /** How errors of the executor show it. */
  readonly toJSON: () => string;
}

export const exactly = (text: string): Exact => ({ [mark]: text, toJSON: () => text });

export const isExact = (value: unknown): value is Exact =>
  typeof value === "object" && value !== null && mark in value;

const textOf = (value: Exact): string => value[mark];

/** In: what the executor made, no deeper than a document may be. Out: its JSON. */
export function writeJson(value: unknown): string {
  if (isExact(value)) return textOf(value);
  if (Array.isArray(value)) return `[${value.map(writeJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).map(
    ([name, inner]) => `${JSON.stringify(name)}:${writeJson(inner)}`,
  );
  return `{${members.join(",")}}`;
}

/**
 * In: the arguments of a field. Out: the same without what is null: clients send null for an
 * argument they leave out. Within an input null stays, for the gate to judge as it does on REST: a
 * version that is null by mistake must not append without a condition.
 */
export const givenOf = (args: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(args).filter(([, value]) => value !== null));

/** What the gate takes: exact members as text. */
export function plain(value: unknown): unknown {
  if (isExact(value)) return textOf(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

/** Characters of all texts within: what an answer takes in memory, or what a request brings. */
export function charsOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (isExact(value)) return textOf(value).length;
  if (typeof value !== "object" || value === null) return 0;
  let chars = 0;
  for (const inner of Object.values(value)) chars += charsOf(inner);
  return chars;
}
