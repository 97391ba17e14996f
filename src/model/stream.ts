// The names of things in the log: which stream, how far it is, and what a client believes about it.

import { Type, type Static } from "@sinclair/typebox";
import { Text } from "./kinds.ts";
import { limits } from "./limits.ts";

/** Ordinal of an event in its stream: 1, 2, 3, without gaps. 0 means "no event yet". */
export type Version = number;
/** Ordinal of an event in this node's log: 1, 2, 3, without gaps. 0 means "before the first". */
export type Position = number;

/** 1 to 256 code points, no control character, no blank at either end. */
const name = (description: string, examples: readonly string[]) =>
  Text({ description, examples, minLength: 1, maxLength: limits.name_chars_max, name: true });

export const AggregateType = name("The kind of aggregate.", ["patient"]);
export const AggregateId = name("The aggregate's id, unique within its type.", ["p-001"]);
export const EventType = name("What happened. Types that begin with `$` belong to dbx.", [
  "patient-added",
]);

export const StreamKey = Type.Object(
  { aggregate_type: AggregateType, aggregate_id: AggregateId },
  { additionalProperties: false },
);
export type StreamKey = Static<typeof StreamKey>;

/** How a stream is written in messages: `patient/p-001`. */
export const showKey = (key: StreamKey): string => `${key.aggregate_type}/${key.aggregate_id}`;

/** One string per stream, for maps. The separator is a control character, which no name may contain. */
export const keyText = (key: StreamKey): string => `${key.aggregate_type}\u0000${key.aggregate_id}`;

/** Orders by type, then id, as UTF-8 bytes: the order of every list on every storage. */
export const compareKeys = (left: StreamKey, right: StreamKey): number =>
  compareUtf8(left.aggregate_type, right.aggregate_type) ||
  compareUtf8(left.aggregate_id, right.aggregate_id);

/**
 * UTF-16 order differs from UTF-8 order only where a surrogate meets a unit from U+E000 up, so
 * the first differing unit decides once surrogates are moved above everything else.
 */
export function compareUtf8(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index++) {
    const a = left.charCodeAt(index);
    const b = right.charCodeAt(index);
    if (a !== b) return rank(a) - rank(b);
  }
  return left.length - right.length;
}

const rank = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);

export const ExpectedVersion = Type.Union(
  [
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    Type.Literal("any"),
    Type.Literal("no_stream"),
    Type.Literal("stream_exists"),
  ],
  { description: "What the aggregate's version must be before this event; `any` when missing." },
);
export type ExpectedVersion = Static<typeof ExpectedVersion>;

/** Whether a stream at `actual` is what the client expected. */
export function meets(expected: ExpectedVersion, actual: Version): boolean {
  if (expected === "any") return true;
  if (expected === "no_stream") return actual === 0;
  if (expected === "stream_exists") return actual >= 1;
  return actual === expected;
}
