// Reads the text of a filter, once for each request. Recursive descent over this grammar, in which
// keywords may be written in either case:
//   any = all { OR all }   all = one { AND one }   one = NOT one | "(" any ")" | EXISTS path
//   | path (= != < <= > >= | CONTAINS) value | path IN "(" value { "," value } ")"

import { canonicalOf } from "../canonical.ts";
import { decimalOf } from "../decimal.ts";
import { limits } from "../limits.ts";
import type { Condition, Filter, Literal, Operator, Path } from "./filter.ts";
import { scannerOf, type Scanner } from "./scan.ts";

/** What is being read, and how much of it there is. */
interface Reader extends Scanner {
  comparisons: number;
  values: number;
  /** Parentheses and NOTs around what is being read. */
  depth: number;
}

/**
 * Paths are written `status`, `address.city`, `tags[0]`, `"odd key".x`; strings as in JSON, in
 * double or single quotes. Throws `invalid_argument` with `details.path` and `details.offset`
 * (UTF-16 units) for what is no filter, and for one with too much in it. How long the text may be
 * is the gate's to say.
 */
export function parseFilter(text: string): Filter {
  const reader = { ...scannerOf(text), comparisons: 0, values: 0, depth: 0 };
  const condition = readAny(reader);
  if (reader.offset() < text.length) throw reader.fail("AND, OR or its end");
  return { condition, comparisons: reader.comparisons, values: reader.values };
}

const words = {
  and: /AND(?![\p{L}\p{M}\p{N}_$-])/iuy,
  or: /OR(?![\p{L}\p{M}\p{N}_$-])/iuy,
  not: /NOT(?![\p{L}\p{M}\p{N}_$-])/iuy,
  exists: /EXISTS(?![\p{L}\p{M}\p{N}_$-])/iuy,
  in: /IN(?![\p{L}\p{M}\p{N}_$-])/iuy,
  contains: /CONTAINS(?![\p{L}\p{M}\p{N}_$-])/iuy,
} as const;
const operator = /<=|>=|!=|=|<|>/y;
const name = /[\p{L}_$][\p{L}\p{M}\p{N}_$-]*/uy;
/** Behind a dot nothing but a member can stand, not even a number. */
const innerName = /[\p{L}\p{N}_$][\p{L}\p{M}\p{N}_$-]*/uy;
const keyword = /^(?:AND|OR|NOT|EXISTS|IN|CONTAINS|TRUE|FALSE|NULL)$/i;
const index = /\[(?:0|[1-9]\d{0,9})\]/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\p{L}\p{N}_$.])/uy;
const symbol = { open: /\(/y, close: /\)/y, comma: /,/y, dot: /\./y, bracket: /\[/y };

function readAny(reader: Reader): Condition {
  const first = readAll(reader);
  const parts = [first];
  while (reader.next(words.or) !== undefined) parts.push(readAll(reader));
  return parts.length === 1 ? first : { kind: "or", parts };
}

function readAll(reader: Reader): Condition {
  const first = readOne(reader);
  const parts = [first];
  while (reader.next(words.and) !== undefined) parts.push(readOne(reader));
  return parts.length === 1 ? first : { kind: "and", parts };
}

function readOne(reader: Reader): Condition {
  const start = reader.offset();
  if (reader.next(words.not) !== undefined) {
    return inside(reader, start, () => ({ kind: "not", part: readOne(reader) }));
  }
  if (reader.next(symbol.open) !== undefined) {
    return inside(reader, start, () => {
      const inner = readAny(reader);
      if (reader.next(symbol.close) === undefined) throw reader.fail("AND, OR or )");
      return inner;
    });
  }
  if (++reader.comparisons > limits.filter_comparisons_max) {
    throw reader.fail(`at most ${limits.filter_comparisons_max} comparisons`, start);
  }
  if (reader.next(words.exists) !== undefined)
    return { kind: "exists", path: readPath(reader, "a path") };
  return readComparison(reader, readPath(reader, "a path, NOT, EXISTS or ("));
}

/** One level further in. Depth is bounded, because reading and asking go into it by recursion. */
function inside(reader: Reader, start: number, read: () => Condition): Condition {
  if (++reader.depth > limits.filter_depth_max) {
    throw reader.fail(`at most ${limits.filter_depth_max} levels of ( and NOT`, start);
  }
  const condition = read();
  reader.depth--;
  return condition;
}

function readComparison(reader: Reader, path: Path): Condition {
  const start = reader.offset();
  const sign = reader.next(operator);
  if (sign !== undefined && isOperator(sign)) {
    const at = reader.offset();
    const value = readValue(reader);
    const ordered = value.kind === "number" || value.kind === "string";
    if (ordered || sign === "=" || sign === "!=") return { kind: sign, path, value };
    throw reader.fail(`a number or a string behind ${sign}`, at);
  }
  if (reader.next(words.contains) !== undefined) {
    return { kind: "contains", path, value: readValue(reader) };
  }
  if (reader.next(words.in) === undefined) {
    throw reader.fail("=, !=, <, <=, >, >=, IN or CONTAINS", start);
  }
  if (reader.next(symbol.open) === undefined) throw reader.fail("( and a list of values");
  const values: Literal[] = [];
  do values.push(readValue(reader));
  while (reader.next(symbol.comma) !== undefined);
  if (reader.next(symbol.close) === undefined) throw reader.fail("a comma or )");
  return { kind: "in", path, values };
}

const isOperator = (text: string): text is Operator =>
  ["=", "!=", "<", "<=", ">", ">="].includes(text);

function readPath(reader: Reader, expected: string): Path {
  const path: (string | number)[] = [readFirst(reader, expected)];
  for (;;) {
    const element = reader.take(index);
    if (element !== undefined) path.push(Number(element.slice(1, -1)));
    else if (reader.take(symbol.bracket) !== undefined)
      throw reader.fail("an index such as 0 and ]");
    else if (reader.take(symbol.dot) === undefined) return path;
    else path.push(readMember(reader));
  }
}

function readFirst(reader: Reader, expected: string): string {
  const start = reader.offset();
  const quoted = reader.string();
  if (quoted !== undefined) return quoted;
  const member = reader.take(name);
  if (member === undefined) throw reader.fail(expected);
  if (!keyword.test(member)) return canonicalOf(member);
  throw reader.fail(`a path (a member of this name is written "${member}")`, start);
}

function readMember(reader: Reader): string {
  const quoted = reader.string();
  if (quoted !== undefined) return quoted;
  const member = reader.take(innerName);
  if (member === undefined) throw reader.fail("the name of a member");
  return canonicalOf(member);
}

function readValue(reader: Reader): Literal {
  const start = reader.offset();
  if (++reader.values > limits.filter_values_max) {
    throw reader.fail(`at most ${limits.filter_values_max} values`, start);
  }
  const token = reader.string();
  if (token !== undefined) return { kind: "string", token, text: String(JSON.parse(token)) };
  const written = reader.take(number);
  if (written !== undefined) {
    if (written.length <= limits.json_number_chars_max)
      return { kind: "number", value: decimalOf(written) };
    throw reader.fail(`a number of at most ${limits.json_number_chars_max} characters`, start);
  }
  const word = reader.take(name)?.toLowerCase();
  if (word === "true" || word === "false") return { kind: "boolean", word };
  if (word === "null") return { kind: "null" };
  const hint = word === undefined ? "" : "; strings stand in quotes";
  throw reader.fail(`a string, a number, true, false or null${hint}`, start);
}
