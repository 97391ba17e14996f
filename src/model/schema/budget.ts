// What matching patterns may cost one transaction, whose events are all checked at once while
// everybody else waits.

import { limits } from "../limits.ts";

/** Spent by the checks of one transaction, and by no other. */
export interface PatternBudget {
  /** Steps of a pattern times characters of a text. */
  left: number;
}

export const patternBudget = (): PatternBudget => ({ left: limits.pattern_work_max });
