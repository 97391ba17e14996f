// Completions for bash, from 3.2 on (which macOS has) and without the package of common functions.

import type { TreeRow } from "../tree.ts";
import template from "./dbx.bash" with { type: "text" };
import { placeOf, quoted, specOf } from "./spec.ts";

export function bashScript(rows: readonly TreeRow[]): string {
  const cases = rows.map((row) => {
    const commands = quoted(row.commands.map(({ name }) => name));
    const slots = quoted(row.words.map(({ flag }) => flag));
    const flags = quoted(row.flags.map(specOf));
    return `'${placeOf(row)}') commands=${commands} slots=${slots}\n      flags=${flags} ;;`;
  });
  return template.replace("#places", () => cases.join("\n    "));
}
