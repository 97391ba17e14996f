/**
 * Rules about the text of one file: sizes, names, banned calls, words that must not leave the
 * house. They read code with comments and strings blanked where these would mislead.
 */
import { leaksIn } from "../../scripts/leaks.ts";
import { withoutComments } from "../../scripts/sources.ts";
import type { SourceFile } from "./graph.ts";

/** Code with the insides of comments, strings and regular expressions blanked; lines stay. */
export function codeOnly(text: string): string {
  const token =
    /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|(?<=[=(,:;!&|?{}[\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g;
  return withoutComments(text).replaceAll(token, (found) => {
    const quote = found.charAt(0);
    // What stands between ${ and } in a template is code.
    if (quote === "`") return found.replaceAll(/(^|\})[^$}]*?(?=\$\{|`$)/g, "$1 ");
    return quote + found.slice(1, -1).replaceAll(/[^\n]/g, " ") + (quote === "/" ? "/" : quote);
  });
}

const lineAt = (text: string, index: number) => text.slice(0, index).split("\n").length;

export interface Ban {
  readonly pattern: RegExp;
  /** What to do instead; shown with the fault. */
  readonly instead: string;
  /** Files or folders where it is allowed, because they are the one place for it. */
  readonly except?: readonly string[];
  /** `code` has strings blanked, `strings` has only comments blanked, `text` is everything. */
  readonly in?: "code" | "strings" | "text";
}

const importClause = /^[ \t]*(?:import|export)\s+(?:type\s+)?[*{][^;]*?\bfrom\b/gm;
const blank = (found: string) => found.replaceAll(/[^\n]/g, " ");

export function checkBans(files: readonly SourceFile[], bans: readonly Ban[]): string[] {
  return files.flatMap(({ path, text }) => {
    // Import clauses say `as` and name what is banned, but call nothing.
    const code = codeOnly(text).replaceAll(importClause, blank);
    const strings = withoutComments(text);
    return bans.flatMap((ban) => {
      if (ban.except?.some((place) => path === place || path.startsWith(`${place}/`))) return [];
      const searched = { code, strings, text }[ban.in ?? "code"];
      return [...searched.matchAll(ban.pattern)].map(
        (match) =>
          `${path}:${lineAt(searched, match.index)}: ${match[0].trim().slice(0, 40)} — ${ban.instead}`,
      );
    });
  });
}

/** Files over the bound, unless listed with their present length, which may only shrink. */
export function checkFileLengths(
  files: readonly SourceFile[],
  options: { lines_max: number; ratchet: Readonly<Record<string, number>> },
): string[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.trimEnd().split("\n").length;
    const allowed = options.ratchet[path];
    if (allowed === undefined) {
      return lines > options.lines_max
        ? [`${path}: ${lines} lines, at most ${options.lines_max}`]
        : [];
    }
    if (lines > allowed) return [`${path}: grew from ${allowed} to ${lines} lines`];
    return lines < allowed ? [`${path}: shrank to ${lines} lines, lower its ratchet`] : [];
  });
}

/**
 * Functions over the bound, functions inside them not counted: a factory is as long as what it does
 * itself. Formatted code ends a block on a line of the indentation on which it opened, so no
 * parser is needed. `describe` only groups tests and is no function here.
 */
export function checkFunctionLengths(files: readonly SourceFile[], lines_max: number): string[] {
  return files.flatMap(({ path, text }) => {
    const blocks = functionBlocks(codeOnly(text).split("\n"));
    return blocks.flatMap((block) => {
      const within = blocks.filter((other) => other.start > block.start && other.end <= block.end);
      const direct = within.filter(
        (other) => !within.some((outer) => outer.start < other.start && other.end <= outer.end),
      );
      const own = lengthOf(block) - direct.reduce((sum, inner) => sum + lengthOf(inner) - 1, 0);
      return own > lines_max
        ? [`${path}:${block.start + 1}: a function of ${own} lines, at most ${lines_max}`]
        : [];
    });
  });
}

const lengthOf = ({ start, end }: Block) => end - start + 1;

interface Block {
  readonly start: number;
  readonly end: number;
}

function functionBlocks(lines: readonly string[]): Block[] {
  return lines.flatMap((line, start) => {
    if (!opensFunction(line)) return [];
    const indent = /^ */.exec(line)?.[0] ?? "";
    const length = lines.slice(start + 1).findIndex((next) => next.startsWith(`${indent}}`));
    return [{ start, end: start + 1 + Math.max(length, 0) }];
  });
}

function opensFunction(line: string): boolean {
  if (/^\s*(?:\} )?(?:if|for|while|switch|catch|else|do|with)\b/.test(line)) return false;
  if (/\bdescribe(?:\.\w+)*\(/.test(line)) return false;
  return line.endsWith("=> {") || /\)(?:: .+)? \{$/.test(line);
}

/** Lines over the bound that would be short enough but for one literal or address. */
export function checkLineLengths(files: readonly SourceFile[], columns_max: number): string[] {
  return files.flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, index) => {
      const rest = line
        .replaceAll(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|https?:\/\/\S+/g, "")
        // A regular expression can be broken no more than a string can.
        .replaceAll(/\/(?:\\.|[^/\\])+\/[dgimsuvy]*/g, "");
      const literal = rest.length <= columns_max / 2;
      return line.length > columns_max && !literal
        ? [`${path}:${index + 1}: ${line.length} columns, at most ${columns_max}`]
        : [];
    }),
  );
}

/** Each file opens by saying, in one to five lines, what it is for. */
export function checkHeaders(files: readonly SourceFile[], lines_max: number): string[] {
  return files.flatMap(({ path, text }) => {
    const block = /^(?:#![^\n]*\n)?(?:\/\*\*?([\s\S]*?)\*\/|((?:\/\/[^\n]*\n)+))/.exec(text);
    const words = (block?.[1] ?? block?.[2] ?? "")
      .split("\n")
      .map((line) => line.replace(/^\s*(?:\*|\/\/)?\s*/, ""))
      .filter((line) => line !== "");
    if (words.length === 0)
      return [`${path}: does not open with a comment that says what it is for`];
    return words.length > lines_max
      ? [`${path}: opens with ${words.length} lines of comment, at most ${lines_max}`]
      : [];
  });
}

const emptyNames = /^(?:utils?|helpers?|common|misc|shared|lib|index|types|constants|manager)$/;

/** Names of folders and files are lower-case nouns that mean something. */
export function checkNames(paths: readonly string[]): string[] {
  return paths.flatMap((path) =>
    path.split("/").flatMap((part) => {
      const stem = part.replace(/(?:\.test)?\.\w+$/, "");
      if (emptyNames.test(stem)) return [`${path}: ${stem} says nothing, name what it owns`];
      return /^[a-z0-9.-]+$/.test(stem) || /^[A-Z]+$/.test(stem) ? [] : [`${path}: lower case`];
    }),
  );
}

/** `Event` is also a global of Bun: without the import the wrong type compiles. */
export function checkUnimportedEvent(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const code = codeOnly(text);
    const uses = /(?<![\w.$])Event(?![\w$]|\s*:)/.test(code.replaceAll(/^\s*import\b[^;]*;/gm, ""));
    const owns = /\b(?:const|interface|type|class)\s+Event\b/.test(code);
    const imports = /^\s*import\b[^;]*?[{,]\s*(?:type\s+)?Event\b[^;]*;/m.test(code);
    return uses && !owns && !imports ? [`${path}: uses Event without importing it`] : [];
  });
}

/** Tests that can be skipped name their reason in brackets; scripts/test prints it. */
export function checkSkipReasons(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const code = withoutComments(text);
    const pattern = /\b(?:test|it|describe)\.(?:skip|skipIf|todo|todoIf|if)\(/g;
    return [...code.matchAll(pattern)].flatMap((match) => {
      const rest = code.slice(match.index, match.index + 400);
      return /\[[^\]\n]+\]["'`]\s*,/.test(rest)
        ? []
        : [`${path}:${lineAt(code, match.index)}: end the name with its reason, "… [needs x]"`];
    });
  });
}

/** Things of one machine that no reader elsewhere can use, or that tell where it was made. */
export function checkLeaks(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) =>
    leaksIn(text).map(({ found, line }) => `${path}:${line}: ${found} belongs to one machine`),
  );
}

/** SQL, which is written in upper case here, in a string outside the places that own it. */
export function checkSql(files: readonly SourceFile[], homes: readonly string[]): string[] {
  const pattern =
    /\b(?:SELECT\s+[\w*(]|INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(?:TABLE|UNIQUE|INDEX|TRIGGER)|PRAGMA\s|BEGIN\s+IMMEDIATE)/g;
  return files.flatMap(({ path, text }) => {
    if (homes.some((home) => path.startsWith(`${home}/`))) return [];
    const strings = withoutComments(text).matchAll(/"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g);
    return [...strings].flatMap((match) =>
      [...match[0].matchAll(pattern)].map(
        ([sql]) => `${path}:${lineAt(text, match.index)}: ${sql} belongs under ${homes.join(", ")}`,
      ),
    );
  });
}
