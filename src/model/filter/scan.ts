// The characters of a filter, taken from the left, and the error that points at one of them. What
// follows what is parse.ts's question.

import { canonicalize, type Canonical } from "../canonical.ts";
import { DbxError, invalidArgument } from "../error.ts";

export interface Scanner {
  /** The offset of the next character that is no blank. */
  readonly offset: () => number;
  /** The text of `pattern`, which MUST be sticky, if it stands right here; then it is behind us. */
  readonly take: (pattern: RegExp) => string | undefined;
  /** The same, blanks before it passed over. */
  readonly next: (pattern: RegExp) => string | undefined;
  /** A string in either quotes, as its canonical token. Throws for one that is none. */
  readonly string: () => Canonical | undefined;
  /** The error that says what was expected, and what stands there; at `offset` or right here. */
  readonly fail: (expected: string, offset?: number) => DbxError;
}

const blanks = /[ \t\r\n]*/y;
const quoted = /"(?:[^"\\\u0000-\u001f]|\\[^])*"|'(?:[^'\\\u0000-\u001f]|\\[^])*'/y;
const quote = /["']/y;
const excerptLength = 20;

export function scannerOf(text: string): Scanner {
  let offset = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = offset;
    const found = pattern.exec(text)?.[0];
    offset += found?.length ?? 0;
    return found;
  };
  const next = (pattern: RegExp) => {
    take(blanks);
    return take(pattern);
  };
  const fail = (expected: string, at = offset): DbxError => {
    const rest = [...text.slice(at, at + 2 * excerptLength)];
    const more = at + rest.slice(0, excerptLength).join("").length < text.length ? "…" : "";
    const excerpt = `${JSON.stringify(rest.slice(0, excerptLength).join(""))}${more}`;
    const found = at < text.length ? excerpt : "its end";
    const character = [...text.slice(0, at)].length + 1;
    return invalidArgument(
      `filter at character ${character}: expected ${expected}, found ${found}`,
      {
        path: "/filter",
        offset: at,
      },
    );
  };
  return {
    offset: () => {
      take(blanks);
      return offset;
    },
    take,
    next,
    fail,
    string() {
      const start = offset;
      const token = take(quoted);
      if (token === undefined) {
        if (take(quote) === undefined) return undefined;
        throw fail("a string with its closing quote", start);
      }
      try {
        return canonicalize(token.startsWith("'") ? inDoubleQuotes(token) : token);
      } catch (error) {
        if (!(error instanceof DbxError)) throw error;
        throw fail("a string with the escapes of JSON", start);
      }
    },
  };
}

/** `'it\'s "x"'` as JSON writes it: `"it's \"x\""`. */
const inDoubleQuotes = (token: string): string =>
  `"${token
    .slice(1, -1)
    .replaceAll(/\\[^]|"/g, (part) => (part === "\\'" ? "'" : part === '"' ? '\\"' : part))}"`;
