// The pointers of a message, all of them, before capnp-es sees one. It follows cycles, takes counts
// for true that nothing stands behind, reads lists of one kind as those of another and puts U+FFFD
// for what is no UTF-8; so each message is held against the shape that its reader expects.

import { isUtf8 } from "node:buffer";
import { invalidArgument } from "../model/error.ts";

/** What a pointer leads to. A null pointer fits every shape. */
export type Shape =
  | { readonly kind: "any" }
  | { readonly kind: "text" }
  | { readonly kind: "data" }
  | { readonly kind: "list"; readonly of: Shape }
  | StructShape;

export interface StructShape {
  readonly kind: "struct";
  /** In the order of the schema. What a newer schema has beyond them may be anything. */
  readonly pointers: readonly Shape[];
}

export interface PointerBounds {
  /** Words that following all pointers may touch: those of a list that holds nothing count, too. */
  readonly words_max: number;
  /** Pointers that are followed; a word with nothing behind it is cheaper to send than to follow. */
  readonly pointers_max: number;
  /** Structs and lists within each other. */
  readonly depth_max: number;
}

type Target =
  | {
      readonly kind: "struct";
      readonly segment: number;
      readonly start: number;
      readonly data_words: number;
      readonly pointers: number;
    }
  | {
      readonly kind: "list";
      readonly segment: number;
      readonly start: number;
      /** As the encoding numbers them: 2 bytes, 6 pointers, 7 structs. */
      readonly code: number;
      readonly count: number;
      /** Of each struct in it. */
      readonly data_words: number;
      readonly pointers: number;
    };

/** What can be told of a message whose schema is not known yet. */
export interface Root {
  readonly data_words: number;
  /** What the first pointer leads to; the code of its elements where that is a list. */
  readonly first: "null" | "struct" | number;
}

interface Walk {
  readonly views: readonly DataView[];
  readonly bounds: PointerBounds;
  words_left: number;
  pointers_left: number;
}

interface Place {
  readonly segment: number;
  readonly at: number;
}

const word = 8;
const structs = 7;

/** Throws `invalid_argument` unless every pointer leads to what the shape says, within the bounds. */
export function checkMessage(
  segments: readonly Uint8Array[],
  { shape, bounds }: { readonly shape: StructShape; readonly bounds: PointerBounds },
): void {
  const walk = walkOf(segments, bounds);
  visit(walk, { place: { segment: 0, at: 0 }, shape, depth: 1 });
}

/** Looks at the root and its first pointer only. Throws `invalid_argument` where they lead nowhere. */
export function rootOf(segments: readonly Uint8Array[], bounds: PointerBounds): Root {
  const walk = walkOf(segments, bounds);
  const root = targetOf(walk, { segment: 0, at: 0 });
  if (root === null) return { data_words: 0, first: "null" };
  if (root.kind !== "struct") throw broken("the root is no struct");
  const { segment, start, data_words, pointers } = root;
  if (pointers === 0) return { data_words, first: "null" };
  const first = targetOf(walk, { segment, at: start + data_words * word });
  if (first === null) return { data_words, first: "null" };
  return { data_words, first: first.kind === "struct" ? "struct" : first.code };
}

function walkOf(segments: readonly Uint8Array[], bounds: PointerBounds): Walk {
  const views = segments.map(
    ({ buffer, byteOffset, length }) => new DataView(buffer, byteOffset, length),
  );
  if ((views[0]?.byteLength ?? 0) < word) throw broken("there is no root");
  const { words_max, pointers_max } = bounds;
  return { views, bounds, words_left: words_max, pointers_left: pointers_max };
}

/** Returns at a null pointer; else goes through all that hangs on it. */
function visit(
  walk: Walk,
  { place, shape, depth }: { place: Place; shape: Shape; depth: number },
): void {
  const target = targetOf(walk, place);
  if (target === null) return;
  const { depth_max } = walk.bounds;
  if (depth > depth_max) throw broken(`it nests deeper than ${depth_max} levels`);
  requireShape(walk, target, shape);
  const { segment, start } = target;
  const view = viewOf(walk, segment);
  const below = (at: number, of: Shape) => {
    // Half a million of them fit into a message, so not even a place is made for one.
    const isNull = view.getUint32(at, true) === 0 && view.getUint32(at + 4, true) === 0;
    if (!isNull) visit(walk, { place: { segment, at }, shape: of, depth: depth + 1 });
  };
  const members = shape.kind === "list" ? shape.of : shape;
  const shapes = members.kind === "struct" ? members.pointers : [];
  if (target.kind === "list" && target.code === pointerList) {
    for (let index = 0; index < target.count; index++) {
      below(start + index * word, shape.kind === "list" ? shape.of : anything);
    }
    return;
  }
  const { data_words, pointers } = target;
  // A list of nothing but data has no pointers, however long it is.
  const elements = target.kind === "struct" ? 1 : pointers === 0 ? 0 : target.count;
  for (let element = 0; element < elements; element++) {
    const first = start + (element * (data_words + pointers) + data_words) * word;
    for (let index = 0; index < pointers; index++) {
      below(first + index * word, shapes[index] ?? anything);
    }
  }
}

const anything: Shape = { kind: "any" };
const byteList = 2;
const pointerList = 6;

function requireShape(walk: Walk, target: Target, shape: Shape): void {
  const code = target.kind === "list" ? target.code : null;
  switch (shape.kind) {
    case "any":
      return;
    case "struct":
      if (code !== null) throw broken("a list stands where a struct belongs");
      return;
    case "list": {
      const wanted = shape.of.kind === "struct" ? structs : pointerList;
      if (code !== wanted) throw broken("a list of another kind, or none, stands for a list");
      return;
    }
    case "text":
    case "data":
      if (target.kind !== "list" || code !== byteList) {
        throw broken(`something else stands where ${shape.kind} belongs`);
      }
      if (shape.kind === "text") requireText(walk, target);
  }
}

function requireText(walk: Walk, { segment, start, count }: Target & { kind: "list" }): void {
  const { buffer, byteOffset } = viewOf(walk, segment);
  const bytes = new Uint8Array(buffer, byteOffset + start, count);
  if (bytes.at(-1) !== 0) throw broken("a text does not end with a zero byte");
  if (!isUtf8(bytes.subarray(0, -1))) throw broken("a text is not UTF-8");
}

/** Where a pointer leads, across far pointers; null where it is null. Charges for what is there. */
function targetOf(walk: Walk, place: Place): Target | null {
  const { low, high } = wordAt(walk, place);
  if (low === 0 && high === 0) return null;
  const { pointers_max } = walk.bounds;
  if (--walk.pointers_left < 0) throw broken(`it has more than ${pointers_max} pointers`);
  if ((low & 3) !== far) {
    return contentOf(walk, { low, high }, place.segment, place.at + word + (low >> 2) * word);
  }
  const isDouble = (low & 4) !== 0;
  const pad: Place = { segment: high, at: (low >>> 3) * word };
  charge(walk, isDouble ? 2 : 1);
  const first = wordAt(walk, pad);
  if (!isDouble) {
    if ((first.low & 3) === far) throw broken("a far pointer leads to another");
    return contentOf(walk, first, pad.segment, pad.at + word + (first.low >> 2) * word);
  }
  const tag = wordAt(walk, { segment: pad.segment, at: pad.at + word });
  if ((first.low & 7) !== far || (tag.low & 3) === far) {
    throw broken("the landing pad of a far pointer is none");
  }
  return contentOf(walk, tag, first.high, (first.low >>> 3) * word);
}

const far = 2;

interface Word {
  readonly low: number;
  readonly high: number;
}

/** In: a struct or list pointer and where its content starts. */
function contentOf(walk: Walk, { low, high }: Word, segment: number, start: number): Target {
  if ((low & 3) > 1) throw broken("there are no capabilities here");
  if ((low & 3) === 0) {
    const data_words = high & 0xffff;
    const pointers = high >>> 16;
    requireRoom(walk, { segment, at: start }, data_words + pointers);
    return { kind: "struct", segment, start, data_words, pointers };
  }
  const code = high & 7;
  const count = high >>> 3;
  if (code === structs) return structsOf(walk, { segment, at: start }, count);
  requireRoom(walk, { segment, at: start }, Math.ceil((count * (bitsOf[code] ?? 0)) / 64));
  // Nothing stands behind the elements of such a list, but whoever reads it counts them.
  if (code === 0) charge(walk, count);
  return { kind: "list", segment, start, code, count, data_words: 0, pointers: 0 };
}

/** Bits of an element by the code of its list. */
const bitsOf = [0, 1, 8, 16, 32, 64, 64];

/** In: where the tag before the structs is, and how many words follow it. */
function structsOf(walk: Walk, { segment, at }: Place, words: number): Target {
  requireRoom(walk, { segment, at }, words + 1);
  const tag = wordAt(walk, { segment, at });
  const count = tag.low >>> 2;
  const data_words = tag.high & 0xffff;
  const pointers = tag.high >>> 16;
  const size = data_words + pointers;
  if ((tag.low & 3) !== 0 || count * size > words) throw broken("a list of structs does not fit");
  if (size === 0) charge(walk, count);
  return { kind: "list", segment, start: at + word, code: structs, count, data_words, pointers };
}

function requireRoom(walk: Walk, { segment, at }: Place, words: number): void {
  const { byteLength } = viewOf(walk, segment);
  if (at < 0 || at + words * word > byteLength) throw broken("a pointer leads out of its segment");
  charge(walk, words);
}

function charge(walk: Walk, words: number): void {
  walk.words_left -= words;
  if (walk.words_left < 0) throw broken("its pointers lead to more than a message may hold");
}

function wordAt(walk: Walk, { segment, at }: Place): Word {
  const view = viewOf(walk, segment);
  if (at < 0 || at + word > view.byteLength) throw broken("a pointer leads out of its segment");
  return { low: view.getUint32(at, true), high: view.getUint32(at + 4, true) };
}

function viewOf(walk: Walk, segment: number): DataView {
  const view = walk.views[segment];
  if (view === undefined) throw broken("a pointer leads to a segment that is not there");
  return view;
}

const broken = (why: string) => invalidArgument(`the message is broken: ${why}`);
