// Patterns that users write. They are matched in linear time (RE2), because a pattern that
// backtracks could stop the server with one text. The only file that knows the engine.

import { RE2JS } from "re2js";
import { tooLarge } from "../error.ts";
import { limits } from "../limits.ts";
import type { PatternBudget } from "./budget.ts";
import { schemaFault, shown } from "./fault.ts";

export interface Patterns {
  /**
   * What is wrong with the text, in words that follow the field's name; null if nothing. Throws
   * `too_large` where the transaction has nothing left to pay for it.
   */
  readonly fault: (text: string, budget: PatternBudget) => string | null;
}

/**
 * In: patterns in RE2 syntax; each is looked for anywhere in the text. Throws `invalid_argument`
 * for one that is none (look-around and back-references among them) and for more than can be
 * matched in bounded time.
 */
export function compilePatterns(sources: readonly string[], field: string): Patterns {
  const compiled = sources.map((source) => ({ source, pattern: compile(source, field) }));
  const size = compiled.reduce((sum, { pattern }) => sum + pattern.programSize(), 0);
  if (size > limits.pattern_size_max) {
    throw schemaFault(
      `field ${field} has patterns of ${size} steps, more than ${limits.pattern_size_max}`,
      { field, size },
    );
  }
  // At worst every character is held against every step.
  const chars_max = Math.floor(limits.pattern_work_max / Math.max(1, size));
  return {
    fault: (text, budget) => {
      if (text.length > chars_max) return `must have at most ${chars_max} characters to be matched`;
      const work = size * text.length;
      if (work > budget.left) throw tooMuchWork(field);
      budget.left -= work;
      const unmet = compiled.find(({ pattern }) => !pattern.test(text));
      return unmet === undefined ? null : `must match pattern ${unmet.source}`;
    },
  };
}

const tooMuchWork = (field: string) =>
  tooLarge(
    `matching the patterns of field ${field} would take more work than one transaction may; ` +
      "append fewer events at a time, or give the schema simpler patterns",
    { field, limit: limits.pattern_work_max },
  );

function compile(source: string, field: string): RE2JS {
  const refuse = (why: string, cause?: unknown) =>
    schemaFault(
      `field ${field} has invalid regex '${shown(source)}': ${why}`,
      { field },
      { cause },
    );
  try {
    return RE2JS.compile(source);
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    // What follows the words is the pattern again, or a part of it.
    throw refuse(cause.message.replace(/^error parsing regexp: /, ""), cause);
  }
}
