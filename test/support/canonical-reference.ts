// Canonical JSON done slowly and plainly, to compare the real one with: a recursive reader that
// keeps number tokens, and a writer. It shares no code and no technique with src/model: strings
// are decoded unit by unit, and numbers are compared as whole numbers of a power of ten.

type Node =
  | { readonly kind: "word" | "number"; readonly token: string }
  | { readonly kind: "string"; readonly text: string }
  | { readonly kind: "array"; readonly elements: readonly Node[] }
  | { readonly kind: "object"; readonly members: ReadonlyMap<string, Node> };

const depthMax = 128;
const numberBytesMax = 1_100;

/** The canonical text of a JSON text, or null where it must be refused. */
export function referenceCanonical(text: string): string | null {
  try {
    const reader = { text, at: 0 };
    const node = readValue(reader, 0);
    skip(reader);
    if (reader.at !== text.length) throw new Refused();
    return write(node);
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

class Refused extends Error {}

interface Reader {
  readonly text: string;
  at: number;
}

/** What `pattern` (sticky) finds here, if anything. */
function take(reader: Reader, pattern: RegExp): string | null {
  pattern.lastIndex = reader.at;
  const found = pattern.exec(reader.text)?.[0] ?? null;
  if (found !== null) reader.at += found.length;
  return found;
}

const skip = (reader: Reader): string | null => take(reader, /[ \t\r\n]*/y);

function readValue(reader: Reader, depth: number): Node {
  skip(reader);
  const word = take(reader, /true|false|null/y);
  if (word !== null) return { kind: "word", token: word };
  const number = take(reader, /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y);
  if (number !== null) {
    if (number.length > numberBytesMax) throw new Refused();
    return { kind: "number", token: number };
  }
  if (reader.text[reader.at] === '"') return { kind: "string", text: readString(reader) };
  const open = take(reader, /[[{]/y);
  if (open === null || depth === depthMax) throw new Refused();
  return open === "[" ? readArray(reader, depth + 1) : readObject(reader, depth + 1);
}

function readArray(reader: Reader, depth: number): Node {
  const elements: Node[] = [];
  skip(reader);
  if (take(reader, /\]/y) !== null) return { kind: "array", elements };
  for (;;) {
    elements.push(readValue(reader, depth));
    skip(reader);
    if (take(reader, /\]/y) !== null) return { kind: "array", elements };
    if (take(reader, /,/y) === null) throw new Refused();
  }
}

function readObject(reader: Reader, depth: number): Node {
  const members = new Map<string, Node>();
  skip(reader);
  if (take(reader, /\}/y) !== null) return { kind: "object", members };
  for (;;) {
    skip(reader);
    const key = readString(reader);
    if (members.has(key)) throw new Refused();
    skip(reader);
    if (take(reader, /:/y) === null) throw new Refused();
    members.set(key, readValue(reader, depth));
    skip(reader);
    if (take(reader, /\}/y) !== null) return { kind: "object", members };
    if (take(reader, /,/y) === null) throw new Refused();
  }
}

const meanings = new Map(Object.entries({ b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }));

function readString(reader: Reader): string {
  if (take(reader, /"/y) === null) throw new Refused();
  let decoded = "";
  for (;;) {
    const unit = take(reader, /[^]/y);
    if (unit === null || unit < " ") throw new Refused();
    if (unit === '"') break;
    if (unit !== "\\") {
      decoded += unit;
      continue;
    }
    const escape = take(reader, /["\\/bfnrt]|u[0-9a-fA-F]{4}/y);
    if (escape === null) throw new Refused();
    if (escape.startsWith("u")) decoded += String.fromCharCode(parseInt(escape.slice(1), 16));
    else decoded += meanings.get(escape) ?? escape;
  }
  if (/\p{Surrogate}/u.test(decoded)) throw new Refused();
  return decoded;
}

function write(node: Node): string {
  switch (node.kind) {
    case "word":
      return node.token;
    case "number":
      return writeNumber(node.token);
    case "string":
      return writeString(node.text);
    case "array":
      return `[${node.elements.map(write).join(",")}]`;
    case "object": {
      const keys = [...node.members.keys()].sort(byUnits);
      const members = keys.map((key) => {
        const inner = node.members.get(key);
        return `${writeString(key)}:${inner === undefined ? "" : write(inner)}`;
      });
      return `{${members.join(",")}}`;
    }
  }
}

/** UTF-16 code units, spelled out. */
function byUnits(left: string, right: string): number {
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const difference = left.charCodeAt(index) - right.charCodeAt(index);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

function writeString(text: string): string {
  let written = '"';
  for (const unit of text) {
    const short = [...meanings].find(([, meaning]) => meaning === unit)?.[0];
    if (short !== undefined) written += `\\${short}`;
    else if (unit === '"' || unit === "\\") written += `\\${unit}`;
    else if (unit < " ") written += `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
    else written += unit;
  }
  return `${written}"`;
}

/** The three rules for numbers, over exact values. */
function writeNumber(token: string): string {
  const exact = exactly(token);
  if (exact.mantissa === 0n) return "0";
  const double = Number(token);
  if (!Number.isFinite(double) || double === 0) return token;
  const shortest = exactly(String(double));
  const same = shortest.mantissa === exact.mantissa && shortest.power === exact.power;
  return same ? String(double) : token;
}

/** mantissa × 10^power, the mantissa without zeros at its end. */
function exactly(token: string): { mantissa: bigint; power: bigint } {
  const [, digits = "", fraction = "", exponent = "0"] =
    /^(-?[0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(token) ?? [];
  let mantissa = BigInt(digits + fraction);
  let power = BigInt(exponent.replace("+", "")) - BigInt(fraction.length);
  while (mantissa !== 0n && mantissa % 10n === 0n) {
    mantissa /= 10n;
    power += 1n;
  }
  return { mantissa, power };
}
